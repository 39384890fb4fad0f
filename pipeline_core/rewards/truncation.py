"""Finds the texts that a reward truncates."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pipeline_core.plugin.types import SpecSource
from pipeline_core.rewards.layout import facts_of, maker_of, part_folders
from pipeline_core.rewards.scored_text import ScoredText

AT_ONCE = 1000
"""Number of texts that are tokenised at a time, to bound memory."""


def cut_by_tokens(folder: Path, prompts: Sequence[str], completions: Sequence[str]) -> list[int]:
    """Indices of the texts with more tokens than the `max_length` of an encoder's artifact."""
    from pipeline_core.models.encoder import tokenizer_of
    from pipeline_core.models.tokens.encoding import cut_rows, encode

    facts = facts_of(folder)
    tokenizer, most, reads = tokenizer_of(folder), facts["max_length"], facts["reads"]
    cut: list[int] = []
    for start in range(0, len(prompts), AT_ONCE):
        questions, answers = (texts[start : start + AT_ONCE] for texts in (prompts, completions))
        encoded = encode(tokenizer, questions, answers, most, reads)
        cut += [start + row for row in cut_rows(tokenizer, questions, answers, encoded, most, reads)]
    return cut


def held_out_truncated(folder: Path, text: ScoredText) -> dict[str, float]:
    """Metric `held_out/truncated` of an encoder's artifact; empty if nothing is held out."""
    cut = cut_by_tokens(folder, text.prompts, text.completions)
    return {"held_out/truncated": float(len(cut))} if len(text) else {}


def cut_texts(
    folder: Path, registry: SpecSource, prompts: Sequence[str], completions: Sequence[str]
) -> list[int] | None:
    """Indices of the texts that a reward artifact, or a member of it, truncates.

    None if no plugin of these artifacts has `cut`; word-based plugins read texts of any length.
    """
    cut = maker_of(folder, registry).cut
    told = [cut(folder, prompts, completions)] if cut else []
    within = [cut_texts(part, registry, prompts, completions) for part in part_folders(folder)]
    told += [rows for rows in within if rows is not None]
    return sorted(set().union(*told)) if told else None
