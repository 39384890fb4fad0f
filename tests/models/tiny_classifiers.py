"""Tiny random sequence classifiers of transformers' architectures, beside a byte-level tokenizer."""

from pathlib import Path
from typing import Any

import torch

from tests.models.architectures.tiny import small_settings

OTHERS: dict[str, dict[str, Any]] = {
    "funnel": {"block_sizes": [2, 2], "block_repeats": [1, 1], "num_decoder_layers": 1, "d_inner": 64},
    "esmc": {"num_key_value_heads": 4},
    "longformer": {"attention_window": 8},
    "mobilebert": {"hidden_size": 32, "true_hidden_size": 32, "intra_bottleneck_size": 32},
    "falcon": {"num_kv_heads": 1},
}
"""Settings of models that are no causal language models, or that need others as classifiers."""


def config_of(kind: str, **settings: Any) -> Any:
    """A small configuration of a model type with one output."""
    from transformers import CONFIG_MAPPING

    made = CONFIG_MAPPING[kind](**small_settings(kind) | OTHERS.get(kind, {}))
    made.num_labels = 1
    if made.is_encoder_decoder and getattr(made, "decoder_start_token_id", None) is None:
        made.decoder_start_token_id = 0
    for name, value in settings.items():
        setattr(made, name, value)
    return made


def classifier_of(config: Any) -> Any:
    """A random classifier (eval mode, float32), whose scores differ between texts."""
    from transformers import AutoModelForSequenceClassification

    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = AutoModelForSequenceClassification.from_config(config)
        for parameter in model.parameters():
            if parameter.dim() > 1:
                torch.nn.init.normal_(parameter, std=0.2)
    return model.float().eval()


def byte_tokenizer(pad: str | None = "<pad>", eos: str = "</s>", end: bool = False) -> Any:
    """A tokenizer of bytes; `end` appends the end token to every text."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    specials = ["<pad>", "<s>", "</s>", "<unk>"]
    letters = {letter: number + 4 for number, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    vocabulary = {token: number for number, token in enumerate(specials)} | letters
    raw = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    raw.pre_tokenizer, raw.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    raw.add_special_tokens([token for token in specials if token not in ("<pad>", "<unk>") or token == pad])
    if end:
        ids = [("</s>", 2)]
        raw.post_processor = processors.TemplateProcessing(single="$A </s>", pair="$A </s> $B </s>", special_tokens=ids)
    names = ["input_ids", "attention_mask"]
    return PreTrainedTokenizerFast(tokenizer_object=raw, pad_token=pad, eos_token=eos, model_input_names=names)


def write_classifier(folder: Path, kind: str = "llama", tokenizer: Any = None, **settings: Any) -> Path:
    """A classifier and its tokenizer as a folder."""
    classifier_of(config_of(kind, **settings)).save_pretrained(folder)
    (tokenizer or byte_tokenizer()).save_pretrained(folder)
    return folder
