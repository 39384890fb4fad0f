"""Which texts a reward cannot read in full."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline_core.plugin.registry import load_registry
from pipeline_core.rewards.layout import facts_of, maker_of, part_folders

if TYPE_CHECKING:
    from pipeline_core.plugin.types import SpecSource
    from pipeline_core.rewards.scored_text import ScoredText


AT_ONCE = 1000
"""Texts whose tokens are held at a time."""


def cut_by_tokens(folder: Path, prompts: Sequence[str], completions: Sequence[str]) -> list[int]:
    """Numbers of the texts of more tokens than the `max_length` that an encoder's artifact was made with."""
    from pipeline_core.models.encoder import tokenizer_of
    from pipeline_core.models.tokens.encoding import cut_rows, encode

    facts = facts_of(folder)
    tokenizer, most, reads = tokenizer_of(folder), facts["max_length"], facts["reads"]
    cut: list[int] = []
    for start in range(0, len(prompts), AT_ONCE):
        some, answers = (texts[start : start + AT_ONCE] for texts in (prompts, completions))
        encoded = encode(tokenizer, some, answers, most, reads)
        cut += [start + row for row in cut_rows(tokenizer, some, answers, encoded, most, reads)]
    return cut


def held_out_truncated(folder: Path, text: ScoredText) -> dict[str, float]:
    """The metric `held_out/truncated` of an encoder's artifact; none where nothing is held out."""
    cut = cut_by_tokens(folder, text.prompts, text.completions)
    return {"held_out/truncated": float(len(cut))} if len(text) else {}


def cut_texts(
    folder: Path, registry: SpecSource | None, prompts: Sequence[str], completions: Sequence[str]
) -> list[int] | None:
    """Numbers of the texts that a reward artifact, or one within it, says it cannot read in full.

    None where none of their plugins says: those of words read any length.
    """
    known = registry or load_registry()
    cut = maker_of(folder, known).cut
    told = [cut(folder, prompts, completions)] if cut else []
    within = [cut_texts(part, known, prompts, completions) for part in part_folders(folder)]
    told += [found for found in within if found is not None]
    return sorted(set().union(*told)) if told else None
