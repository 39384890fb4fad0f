"""Base model source `tiny_lm`: trains a small Llama and its tokenizer from scratch on the sandbox corpus."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, model_validator

from pipeline_core.data.refs import DataRef
from pipeline_core.models.footprint import ModelShape
from pipeline_core.plugin.context import Inputs, StageContext
from pipeline_core.plugin.hooks import hookimpl
from pipeline_core.plugin.specs import BaseModelSource, PluginConfig
from pipeline_core.plugin.types import Metrics

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

EOS, PAD = "<eos>", "<pad>"
INIT_STD = 0.08
"""About 1 / sqrt(width); with the default 0.02 of transformers, attention starts flat and learns much more slowly."""
PIECES = r" ?\p{L}+|-\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+"
"""Pieces of text that tokens never cross. The suffix of `frost-born` is its own piece, as it marks the kind of word."""


class TinyLmConfig(PluginConfig):
    """Causal language model of about a million parameters, trained from scratch in about a minute on two cores."""

    name: Literal["tiny_lm"] = "tiny_lm"
    data: DataRef = DataRef(entry="sandbox_corpus")
    """Training texts."""
    vocab_size: int = Field(1536, ge=260)  # 256 bytes, two control tokens, two merges
    """Size of the byte-level BPE vocabulary (arXiv 1508.07909)."""
    hidden_size: int = Field(128, ge=8)
    """Model width; a multiple of twice the number of heads."""
    layers: int = Field(4, ge=1)
    """Number of transformer blocks."""
    heads: int = Field(4, ge=1)
    """Number of attention heads."""
    max_length: int = Field(256, ge=8)
    """Longest sequence in tokens."""
    epochs: float = Field(1.2, gt=0)
    """Number of passes over the texts."""
    steps: int | None = Field(None, ge=1)
    """Number of optimiser steps, instead of `epochs`."""
    batch_tokens: int = Field(768, ge=1)
    """Largest number of tokens in a batch, including padding."""
    learning_rate: float = Field(3e-3, gt=0)
    """Peak learning rate."""

    @model_validator(mode="after")
    def _heads_share_the_width(self) -> TinyLmConfig:
        if self.hidden_size % (2 * self.heads):  # rotary embeddings turn pairs of a head's units
            raise ValueError(f"hidden_size ({self.hidden_size}) must be a multiple of twice heads ({self.heads})")
        return self

    def shape(self) -> ModelShape:
        """Size of the model, for the estimate of memory."""
        a_layer = 13 * self.hidden_size**2 + 2 * self.hidden_size  # attention 4, feed-forward part 3 times 3
        parameters = self.vocab_size * self.hidden_size + self.layers * a_layer + self.hidden_size
        return ModelShape(parameters, self.hidden_size, 3 * self.hidden_size, self.layers, self.vocab_size)

    def arithmetic(self) -> str:
        """Description of the tokens per optimiser step."""
        return f"one step = at most {self.batch_tokens} tokens"


def run(config: TinyLmConfig, inputs: Inputs, out: Path, context: StageContext) -> Metrics:
    """Train tokenizer and model, and write them as a Hugging Face model folder."""
    from pipeline_core.models.loading import save_model
    from pipeline_core.training.settings import RowTrainingConfig
    from plugins.base.tiny_lm._train import train_language_model

    texts = inputs.data(config.data)["text"]
    tokenizer = train_tokenizer(texts, config)
    model: Any = new_model(config, tokenizer, context.seed)  # transformers' `to` has no usable type
    model = model.to(context.device)
    encoded = tokenizer(list(texts), add_special_tokens=False, return_attention_mask=False)["input_ids"]
    rows = [[*ids, tokenizer.eos_token_id][: config.max_length] for ids in encoded]
    settings = RowTrainingConfig(
        name="tiny_lm",
        epochs=config.epochs,
        steps=config.steps,
        learning_rate=config.learning_rate,
        schedule="cosine",
        warmup_ratio=0.05,
        weight_decay=0.01,
        adam_betas=(0.9, 0.98),
    )
    metrics = train_language_model(
        model, rows, settings, context, batch_tokens=config.batch_tokens, pad_id=tokenizer.pad_token_id
    )
    if context.is_main:
        save_model(model, tokenizer, out)
        context.events.write_history(out)
    return metrics | {"parameters": float(sum(parameter.numel() for parameter in model.parameters()))}


def train_tokenizer(texts: Sequence[str], config: TinyLmConfig) -> PreTrainedTokenizerFast:
    """Byte-level BPE tokenizer trained on `texts`; it encodes and decodes any text without loss."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PIECES), "isolated"),
            # GPT-2's own pattern would cut `-born` once more.
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=config.vocab_size,
        special_tokens=[EOS, PAD],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),  # another order in each process
        show_progress=False,
    )
    bpe.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe, eos_token=EOS, pad_token=PAD, model_max_length=config.max_length
    )


def new_model(config: TinyLmConfig, tokenizer: PreTrainedTokenizerFast, seed: int) -> LlamaForCausalLM:
    """Untrained model; its weights depend on `seed` alone."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    shape = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=config.hidden_size,
        intermediate_size=config.hidden_size * 3,
        num_hidden_layers=config.layers,
        num_attention_heads=config.heads,
        num_key_value_heads=config.heads,
        max_position_embeddings=config.max_length,
        tie_word_embeddings=True,
        initializer_range=INIT_STD,
        bos_token_id=None,  # the default, 1, is `<pad>` here
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return LlamaForCausalLM(shape)


@hookimpl
def register_base_models() -> Iterable[BaseModelSource]:
    """Register `tiny_lm`."""
    example = {
        "data": {"entry": "sandbox_corpus", "rows": 200},
        "vocab_size": 400,
        "hidden_size": 16,
        "layers": 1,
        "heads": 2,
        "steps": 2,
    }
    # Unlike other bases it is trained: a changed loop makes it again.
    return [BaseModelSource(TinyLmConfig, run, example=example, core=("models", "training"))]
