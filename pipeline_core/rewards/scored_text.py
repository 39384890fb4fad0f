"""Common form of preference and scored rows for reward training: texts, a score of each, and pairs.

Shape suffixes: N texts, P pairs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from pipeline_core.errors import BadInput
from pipeline_core.rewards.columns import numbers, optional_texts, texts
from pipeline_core.rewards.splits import split_units, usable_templates

if TYPE_CHECKING:
    from datasets import Dataset

TrainingTarget = Literal["pair", "label"]
"""Scores of chosen and rejected in a preference row: `pair`: 1 and 0; `label`: `label` and 1 - `label`."""
ScoreDirection = Literal["higher", "lower"]


@dataclass(frozen=True)
class TextSource:
    """Preference or scored rows. `better`: direction of the scores; `limits`: their range; `name`: for messages."""

    rows: Dataset
    name: str = ""
    better: ScoreDirection = "higher"
    limits: tuple[float, float] = (0.0, 1.0)


@dataclass(frozen=True)
class ScoredText:
    """N texts with scores. `pairs_P2`: indices of each pair's better and worse text."""

    prompts: list[str]
    completions: list[str]
    scores_N: NDArray[np.float32]
    domains: list[str]
    units: list[str]
    pairs_P2: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.prompts)

    def take(self, chosen: NDArray[np.bool_ | np.integer]) -> ScoredText:
        """Texts chosen by a mask (N,) or by indices, in the order of the rows, and the pairs with both texts chosen."""
        keep_N = np.zeros(len(self), dtype=bool)
        keep_N[chosen] = True
        rows = np.flatnonzero(keep_N)
        position = np.cumsum(keep_N) - 1  # new place of every kept text, for the pairs
        inside_P = keep_N[self.pairs_P2].all(axis=1)
        return ScoredText(
            prompts=[self.prompts[row] for row in rows],
            completions=[self.completions[row] for row in rows],
            scores_N=self.scores_N[rows],
            domains=[self.domains[row] for row in rows],
            units=[self.units[row] for row in rows],
            pairs_P2=position[self.pairs_P2[inside_P]],
        )


def some_of(text: ScoredText, most: int, seed: int) -> ScoredText:
    """Random sample of at most `most` texts, drawn by `seed`, with the pairs whose two texts are drawn."""
    return text.take(np.random.default_rng(seed).permutation(len(text))[:most])


NOTHING = ScoredText([], [], np.zeros(0, np.float32), [], [], np.zeros((0, 2), np.int64))
"""Empty set of texts."""


def joined(sources: Sequence[TextSource], target: TrainingTarget = "pair") -> ScoredText:
    """Texts of preference rows (two each) and scored rows (one each), with scores from 0 (worst) to 1 (best).

    Scores of scored rows are mapped linearly from their source's `limits` to 0 to 1 and, if its `better` is `lower`,
    replaced by 1 minus the score. Units (see `split_units`) are found across sources.

    Raises:
        BadInput: a source has no rows or lacks a column, a value is not a finite number within its range (the message
            names source, column and row, from 1), or all scores are equal.
    """
    parts = [_part(source, target) for source in sources]
    text = _as_one(parts)
    if np.ptp(text.scores_N) == 0:
        raise BadInput(
            f"all {len(text)} scores are {text.scores_N[0]:g}: a reward needs better and worse texts to learn from"
        )
    return text


def hold_out(text: ScoredText, share: float, seed: int) -> tuple[ScoredText, ScoredText]:
    """Split into training and held-out texts by template, or by prompt if templates are few or unknown.

    A unit is never on both sides, nor are rows that were made from one another. The choice of units depends on their
    names and `seed`, not on the row order.
    """
    order = sorted(set(text.units), key=lambda unit: hashlib.sha256(f"{seed}:{unit}".encode()).digest())
    # neither side is empty if there are two units
    count = min(max(round(share * len(order)), 1), len(order) - 1) if share else 0
    held = set(order[:count])
    held_N = np.array([unit in held for unit in text.units])
    return text.take(~held_N), text.take(held_N)


@dataclass(frozen=True)
class _SourceTexts:
    """Texts of one source before units are found; `marks` are prompt, template, id and `source_id` of each text."""

    prompts: list[str]
    completions: list[str]
    scores_N: NDArray[np.float64]
    domains: list[str]
    marks: list[tuple[str, str, str, str]]
    pairs_P2: NDArray[np.int64]


def _as_one(parts: Sequence[_SourceTexts]) -> ScoredText:
    starts = np.cumsum([0, *(len(part.prompts) for part in parts)])
    return ScoredText(
        prompts=[prompt for part in parts for prompt in part.prompts],
        completions=[completion for part in parts for completion in part.completions],
        scores_N=np.concatenate([part.scores_N for part in parts]).astype(np.float32),
        domains=[domain for part in parts for domain in part.domains],
        units=split_units(*zip(*(mark for part in parts for mark in part.marks), strict=True)),
        # starts ends with the total
        pairs_P2=np.concatenate([part.pairs_P2 + start for part, start in zip(parts, starts, strict=False)]),
    )


def _part(source: TextSource, target: TrainingTarget) -> _SourceTexts:
    names = set(source.rows.column_names)
    with _named(source.name):
        if not len(source.rows):
            raise BadInput("a reward needs rows to learn from and there are none")
        if {"prompt", "chosen", "rejected"} <= names:
            return _from_pairs(source.rows, target)
        if {"prompt", "completion", "score"} <= names:
            return _from_scores(source)
        raise BadInput(
            "a reward learns from prompt, chosen, rejected or from prompt, completion, score; "
            f"the rows have {', '.join(source.rows.column_names)}"
        )


@contextmanager
def _named(source: str) -> Iterator[None]:
    try:
        yield
    except BadInput as error:
        raise (BadInput(f"{source}: {error}") if source else error) from None


def _from_pairs(rows: Dataset, target: TrainingTarget) -> _SourceTexts:
    prompts, chosen, rejected = (texts(rows, name) for name in ("prompt", "chosen", "rejected"))
    count = len(prompts)
    label = np.ones(count) if target == "pair" else numbers(rows, "label", (0.0, 1.0))
    return _SourceTexts(
        prompts=prompts * 2,
        completions=chosen + rejected,  # all chosen texts, then all rejected ones
        scores_N=np.concatenate([label, 1 - label]),
        domains=optional_texts(rows, "domain") * 2,
        marks=_marks(rows, prompts) * 2,
        pairs_P2=np.stack([np.arange(count), np.arange(count) + count], axis=1),
    )


def _from_scores(source: TextSource) -> _SourceTexts:
    rows, (low, high) = source.rows, source.limits
    prompts, completions = texts(rows, "prompt"), texts(rows, "completion")
    scores_N = (numbers(rows, "score", source.limits) - low) / (high - low)
    return _SourceTexts(
        prompts=prompts,
        completions=completions,
        scores_N=scores_N if source.better == "higher" else 1 - scores_N,
        domains=optional_texts(rows, "domain"),
        # Texts without a prompt must not all fall into one unit.
        marks=_marks(rows, [prompt or completion for prompt, completion in zip(prompts, completions, strict=True)]),
        pairs_P2=np.zeros((0, 2), dtype=np.int64),
    )


def _marks(rows: Dataset, prompts: list[str]) -> list[tuple[str, str, str, str]]:
    # by source: few templates of one must not hide the many of another
    templates = usable_templates(optional_texts(rows, "template_id"))
    return list(zip(prompts, templates, optional_texts(rows, "id"), optional_texts(rows, "source_id"), strict=True))
