"""Language models whose preferences are known beforehand, as real folders: the next word hangs on the last alone."""

from __future__ import annotations

import torch

SPECIAL = ("<pad>", "<s>", "</s>", "<unk>", "[MASK]")
LIKELY = 8.0
"""Natural logarithm by which a wanted word stands above all others."""


def words_of(texts):
    """Words in the order in which they first come; a word is what stands between spaces."""
    return list(dict.fromkeys(word for text in texts for word in text.split()))


def _tokenizer(words):
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: index for index, word in enumerate([*SPECIAL, *words])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        mask_token="[MASK]",
    )


def word_model(folder, texts, favours=None, follows=None):
    """A causal model over the words of `texts`: words are likely by `favours` (log-odds), or after others by `follows`.

    `follows` maps a word to the one that comes next (`</s>` ends). A model without preferences finds all texts of one
    length equally likely. It is a Llama whose layers add nothing and whose embeddings are one-hot.
    """
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = _tokenizer(words_of(texts))
    size = len(tokenizer) + len(tokenizer) % 2
    config = LlamaConfig(
        vocab_size=size,
        hidden_size=size,
        intermediate_size=2,
        num_hidden_layers=1,
        num_attention_heads=1,
        max_position_embeddings=256,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
        tie_word_embeddings=False,
    )
    model = LlamaForCausalLM(config)
    ids = tokenizer.get_vocab()
    after = torch.zeros(size, size)
    for word, likely in (favours or {}).items():
        after[ids[word]] += likely
    for word, following in (follows or {}).items():
        after[ids[following], ids[word]] += LIKELY
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "layers" in name:
                weight.zero_()
        model.model.embed_tokens.weight.copy_(torch.eye(size))
        model.lm_head.weight.copy_(after / size**0.5)  # the norm makes a one-hot vector sqrt(size) long
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def masked_model(folder, texts, seed=0):
    """A random masked model over the words of `texts`; its attention sees both sides."""
    from transformers import BertConfig, BertForMaskedLM

    tokenizer = _tokenizer(words_of(texts))
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=32,
        pad_token_id=0,
        initializer_range=0.5,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        BertForMaskedLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
