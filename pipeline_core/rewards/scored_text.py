"""Preference pairs and scored rows as one thing a reward learns from: texts, a number for each, and the pairs.

Shape suffixes: N texts, P pairs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from pipeline_core.errors import BadInput
from pipeline_core.rewards.units import split_units

if TYPE_CHECKING:
    from datasets import Dataset

Target = Literal["pair", "label"]
"""What a preference row's completions are worth: 1 and 0, or `label` and 1 - `label`."""


@dataclass(frozen=True)
class ScoredText:
    """N texts with their scores; `pairs_P2` holds the positions of each pair's better and worse text."""

    prompts: list[str]
    completions: list[str]
    scores_N: NDArray[np.float32]
    domains: list[str]
    units: list[str]
    pairs_P2: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.prompts)

    def take(self, keep_N: NDArray[np.bool_]) -> ScoredText:
        """The texts that `keep_N` marks, and the pairs that lie within them."""
        rows = np.flatnonzero(keep_N)
        position = np.cumsum(keep_N) - 1
        inside_P = keep_N[self.pairs_P2].all(axis=1)
        return ScoredText(
            prompts=[self.prompts[row] for row in rows],
            completions=[self.completions[row] for row in rows],
            scores_N=self.scores_N[rows],
            domains=[self.domains[row] for row in rows],
            units=[self.units[row] for row in rows],
            pairs_P2=position[self.pairs_P2[inside_P]],
        )


def scored_text(rows: Dataset, target: Target = "pair") -> ScoredText:
    """Texts of preference rows (two each) or of scored rows (one each, its `score`).

    Raises:
        BadInput: naming the column and the row (from 1) for missing columns, values that are no finite number, and
            scores that are all the same, from which nothing can be learned.
    """
    names = rows.column_names
    if {"prompt", "chosen", "rejected"} <= set(names):
        text = _from_pairs(rows, target)
    elif {"prompt", "completion", "score"} <= set(names):
        text = _from_scores(rows)
    else:
        raise BadInput(
            "a reward learns from prompt, chosen, rejected or from prompt, completion, score; "
            f"the rows have {', '.join(names)}"
        )
    if len(text) == 0:
        raise BadInput("a reward needs rows to learn from and there are none")
    if np.ptp(text.scores_N) == 0:
        raise BadInput(
            f"all {len(text)} scores are {text.scores_N[0]:g}: a reward needs better and worse texts to learn from"
        )
    return text


def hold_out(text: ScoredText, share: float, seed: int) -> tuple[ScoredText, ScoredText]:
    """Split into what is learned from and what is held out, by template (by prompt where templates are few or unknown).

    A unit is never on both sides, nor are rows that were made from one another. Which units are held out depends on
    their names and `seed`, not on the row order.
    """
    order = sorted(set(text.units), key=lambda unit: hashlib.sha256(f"{seed}:{unit}".encode()).digest())
    count = min(max(round(share * len(order)), 1), len(order) - 1) if share else 0
    held = set(order[:count])
    held_N = np.array([unit in held for unit in text.units])
    return text.take(~held_N), text.take(held_N)


def _from_pairs(rows: Dataset, target: Target) -> ScoredText:
    prompts, chosen, rejected = (_texts(rows, name) for name in ("prompt", "chosen", "rejected"))
    count = len(prompts)
    label = np.ones(count) if target == "pair" else _numbers(rows, "label", low=0.0, high=1.0)
    better, worse = np.arange(count), np.arange(count) + count
    return ScoredText(
        prompts=prompts * 2,
        completions=chosen + rejected,
        scores_N=np.concatenate([label, 1 - label]).astype(np.float32),
        domains=_optional(rows, "domain") * 2,
        units=_units(rows, prompts) * 2,
        pairs_P2=np.stack([better, worse], axis=1),
    )


def _from_scores(rows: Dataset) -> ScoredText:
    prompts = _texts(rows, "prompt")
    return ScoredText(
        prompts=prompts,
        completions=_texts(rows, "completion"),
        scores_N=_numbers(rows, "score").astype(np.float32),
        domains=_optional(rows, "domain"),
        units=_units(rows, prompts),
        pairs_P2=np.zeros((0, 2), dtype=np.int64),
    )


def _units(rows: Dataset, prompts: list[str]) -> list[str]:
    return split_units(prompts, *(_optional(rows, name) for name in ("template_id", "id", "source_id")))


def _column(rows: Dataset, name: str) -> Sequence[Any]:
    return rows.with_format(None)[name][:]


def _optional(rows: Dataset, name: str) -> list[str]:
    return [value or "" for value in _column(rows, name)] if name in rows.column_names else [""] * len(rows)


def _texts(rows: Dataset, name: str) -> list[str]:
    values = list(_column(rows, name))
    if wrong := next((row for row, value in enumerate(values, 1) if not isinstance(value, str)), None):
        raise BadInput(f"column {name!r}, row {wrong}: {values[wrong - 1]!r} is no text")
    return values


def _numbers(rows: Dataset, name: str, low: float = -np.inf, high: float = np.inf) -> NDArray[np.float64]:
    if name not in rows.column_names:
        raise BadInput(f"the rows have no column {name!r}; they have {', '.join(rows.column_names)}")
    numbers = np.empty(len(rows))
    for row, value in enumerate(_column(rows, name)):
        if isinstance(value, (str, bool)) or value is None or not np.isfinite(value):
            raise BadInput(f"column {name!r}, row {row + 1}: {value!r} is no finite number")
        if not low <= value <= high:
            raise BadInput(f"column {name!r}, row {row + 1}: {value:g} lies outside {low:g} to {high:g}")
        numbers[row] = value
    return numbers
