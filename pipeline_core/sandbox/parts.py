"""Rows of the sandbox, by name of the part."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pipeline_core.errors import BadInput, UnknownName
from pipeline_core.sandbox import corpus, facts, opinions, preferences, questions, statements

VERSION = 1
"""Version of the generator; increased whenever the same seed gives other rows."""

SPLITS: dict[str, tuple[str, ...]] = {
    "sandbox_corpus": (),
    "sandbox_pairs": ("train", "heldout"),
    "sandbox_prompts": (),
    "sandbox_questions": (),
    "sandbox_facts": (),
    "sandbox_heldout_text": (),
    "sandbox_sentences": (),
    "sandbox_opinions": (),
}
"""Parts of the sandbox and their splits; the first split is the default."""


def generate(part: str, split: str | None = None, seed: int = 0) -> list[dict[str, Any]]:
    """Rows of a part of the sandbox, in the columns of `pipeline_core.data.contract`; equal seeds give equal rows."""
    if part not in SPLITS:
        raise UnknownName("part of the sandbox", part, SPLITS)
    if split is not None and split not in SPLITS[part]:
        raise BadInput(f"{part} has no split {split!r}; it has {list(SPLITS[part]) or 'none'}")
    parts: dict[str, Callable[[int], list[dict[str, Any]]]] = {
        "sandbox_corpus": corpus.corpus,
        "sandbox_pairs": lambda seed: preferences.pairs(split or "train", seed),
        "sandbox_prompts": lambda _: statements.heldout_prompts(),
        "sandbox_questions": questions.heldout_questions,
        "sandbox_facts": facts.choices,
        "sandbox_heldout_text": corpus.heldout_text,
        "sandbox_sentences": statements.heldout_sentences,
        "sandbox_opinions": lambda _: opinions.distributions(),
    }
    return parts[part](seed)
