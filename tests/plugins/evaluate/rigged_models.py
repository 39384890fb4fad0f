"""Language models whose preferences are known beforehand, as real folders: the next word hangs on the last alone."""

from __future__ import annotations

import torch

SPECIAL = ("<pad>", "<s>", "</s>", "<unk>", "[MASK]")
LIKELY = 8.0
"""Natural logarithm by which a wanted word stands above all others."""


def words_of(texts):
    """Words in the order in which they first come; a word is what stands between spaces."""
    return list(dict.fromkeys(word for text in texts for word in text.split()))


def _tokenizer(words, split="WhitespaceSplit"):
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: index for index, word in enumerate([*SPECIAL, *words])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = getattr(pre_tokenizers, split)()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        mask_token="[MASK]",
    )


def table_model(folder, words, after, always=None):
    """A causal model over words and marks: `after[one][other]` is the logit of `other` after `one`, else 0.

    `always` adds logits whatever stands before. It is a Llama of one layer that adds nothing, whose embeddings are
    one-hot: a model without preferences finds all texts of one length equally likely.
    """
    return _save(folder, _tokenizer(dict.fromkeys(words), "Whitespace"), after, always or {})


def word_model(folder, texts, favours=None, follows=None):
    """The same over the words of `texts`, marks included: words are likely by `favours` (log-odds), or after others.

    `follows` maps a word to the one that comes next (`</s>` ends).
    """
    after = {word: {following: LIKELY} for word, following in (follows or {}).items()}
    return _save(folder, _tokenizer(words_of(texts)), after, favours or {})


def _save(folder, tokenizer, after, always):
    from transformers import LlamaConfig, LlamaForCausalLM

    known = len(tokenizer)
    size = known + known % 2
    config = LlamaConfig(
        vocab_size=known,
        hidden_size=size,
        intermediate_size=2,
        num_hidden_layers=1,
        num_attention_heads=1,
        max_position_embeddings=512,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
        tie_word_embeddings=False,
    )
    model = LlamaForCausalLM(config)
    ids = tokenizer.get_vocab()
    logits_VH = torch.zeros(known, size)
    for word, logit in always.items():
        logits_VH[ids[word]] += logit
    for word, following in after.items():
        for other, logit in following.items():
            logits_VH[ids[other], ids[word]] += logit
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "layers" in name:
                weight.zero_()
        model.model.embed_tokens.weight.copy_(torch.eye(known, size))
        model.lm_head.weight.copy_(logits_VH / size**0.5)  # the norm makes a one-hot vector sqrt(size) long
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


def evaluate(plugin, settings, model, out):
    """Metrics and measures of an evaluation's `run` on a model folder."""
    import json

    from pipeline_core.data.catalog import Catalog
    from pipeline_core.plugin.checkpoints import Checkpoints
    from pipeline_core.plugin.context import Inputs, StageContext
    from pipeline_core.plugin.events import EventLog
    from pipeline_core.plugin.registry import load_registry
    from pipeline_core.rewards.reader import RewardArtifacts

    registry = load_registry()
    spec = registry.get("evaluate", plugin)
    config = spec.config.model_validate({"name": plugin, **settings})
    inputs = Inputs({"model": model}, Catalog.from_environment(), registry and RewardArtifacts(registry))
    context = StageContext(seed=0, device="cpu", events=EventLog(), checkpoints=Checkpoints(None))
    out.mkdir()
    metrics = spec.run(config, inputs, out, context)
    return metrics, json.loads((out / "measures.json").read_text())
