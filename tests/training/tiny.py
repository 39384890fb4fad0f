"""A tiny model, tiny data and the inputs of a stage, for tests of the loops."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset

WORDS = [
    "the",
    "nurse",
    "driver",
    "said",
    "that",
    "she",
    "he",
    "they",
    "was",
    "late",
    "early",
    "kind",
    "rude",
    "and",
    "went",
    "home",
]


def write_model(folder: Path, family: str = "llama") -> Path:
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    from tokenizers.decoders import ByteLevel
    from transformers import (
        AutoModelForCausalLM,
        CohereConfig,
        GPT2Config,
        GraniteConfig,
        LlamaConfig,
        MistralConfig,
        PreTrainedTokenizerFast,
    )

    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer, raw.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=330,
        special_tokens=["<end>", "<pad>"],
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    raw.train_from_iterator([" ".join(WORDS)] * 4, trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="<end>", pad_token="<pad>")
    ends = {"eos_token_id": 0, "pad_token_id": 1, "bos_token_id": 0}
    configs = {
        "llama": lambda: LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            **ends,
        ),
        "wide": lambda: LlamaConfig(**{**_small(len(tokenizer)), "head_dim": 32}, **ends),
        "gpt2": lambda: GPT2Config(vocab_size=len(tokenizer), n_embd=32, n_layer=2, n_head=4, n_positions=128, **ends),
        "mistral": lambda: MistralConfig(
            vocab_size=len(tokenizer),
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=8,
            sliding_window=3,
            **ends,
        ),
        "gemma2": lambda: _gemma2(len(tokenizer), ends),
        "granite": lambda: GraniteConfig(logits_scaling=4.0, **_small(len(tokenizer)), **ends),
        "cohere": lambda: CohereConfig(logit_scale=0.25, **_small(len(tokenizer)), **ends),
    }
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = AutoModelForCausalLM.from_config(configs[family]())
        for weight in model.parameters():  # far from uniform, so that a wrong position shows
            weight.data.mul_(3)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _small(vocabulary: int) -> dict[str, int]:
    return {
        "vocab_size": vocabulary,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
    }


def _gemma2(vocabulary: int, ends: dict[str, int]) -> Any:
    from transformers import Gemma2Config

    return Gemma2Config(
        vocab_size=vocabulary,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        head_dim=8,
        num_attention_heads=4,
        num_key_value_heads=2,
        sliding_window=8,
        final_logit_softcapping=5.0,
        **ends,
    )


def pairs(rows: int = 24) -> Dataset:
    def words(start: int, count: int) -> str:
        return " ".join(WORDS[(start * 7 + place * 5) % len(WORDS)] for place in range(count))

    return Dataset.from_list(
        [
            {
                "id": str(row),
                "prompt": words(row % 10, 2 + row % 4),
                "chosen": words(row + 1, 1 + row % 5),
                "rejected": words(row + 2, 1 + row % 3),
                "domain": ("age", "gender", "race")[row % 3],
                "group": ["a", "b"][: 1 + row % 2],
            }
            for row in range(rows)
        ]
    )


def reward(prompts, completions) -> torch.Tensor:
    """Share of the letter `e`: learnable, and different for nearly every completion."""
    return torch.tensor([text.count("e") / (1 + len(text)) for text in completions], dtype=torch.float32)


def shortness(prompts, completions) -> torch.Tensor:
    """Another reward, against the first: fewer letters are better."""
    return torch.tensor([-len(text) / 10 for text in completions], dtype=torch.float32)


REWARDS = {"e": reward, "short": shortness}


@dataclass
class TinyInputs:
    """What a policy plugin reads, without a store."""

    model: Path
    preferences: Dataset = field(default_factory=pairs)
    other_reference: Path | None = None

    @property
    def reference(self) -> Path:
        return self.other_reference or self.model

    def data(self, ref) -> Dataset:
        """Held-out pairs turned round: what is learned can only raise their loss."""
        return self.preferences.rename_columns({"chosen": "rejected", "rejected": "chosen"})

    def reward_fns(self, device: str, labels=(), *, skip=False):
        return [REWARDS[label] for label in labels] or [reward]


def file_bytes(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir())}
