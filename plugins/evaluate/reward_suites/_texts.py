"""Texts that a reward is measured on, with labels and groups, and their scores as rows of an evaluation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pipeline_core.data.refs import DataRef
from pipeline_core.data.words import WORD
from pipeline_core.errors import BadInput
from pipeline_core.evaluation.units import ResampleBy, units_of
from pipeline_core.files.digests import digest_of
from pipeline_core.plugin.context import Inputs
from pipeline_core.plugin.figures import Score

TextAxis = Literal["domain", "group"]


@dataclass(frozen=True)
class MeasuredText:
    """A text with its label (larger is better); texts of one `unit` are resampled and held out together."""

    id: str
    prompt: str
    completion: str
    label: float
    domain: str
    groups: tuple[str, ...]
    unit: str

    @property
    def about(self) -> dict[str, Any]:
        """Fields that all scores of the text share."""
        return {"item": self.id, "group": self.groups, "domain": self.domain, "cluster": self.unit}


def given_texts(inputs: Inputs, ref: DataRef, by: ResampleBy = "unit") -> tuple[list[MeasuredText], str]:
    """Texts of scored rows (one each) or of preference rows (two each, `id/chosen` and `id/rejected`, of labels 1 and
    0), and the noun for their units. Scores are mapped from their entry's declared range to 0 (worst) to 1 (best).
    """
    entry, rows = inputs.catalog.entry(ref.entry), inputs.data(ref).to_list()
    low, high = entry.score_range

    def label(score: float) -> float:
        share = (score - low) / (high - low)
        return share if entry.score_better == "higher" else 1 - share

    units = units_of(rows, by, entry.unit)
    return [text for row, unit in zip(rows, units.names, strict=True) for text in _texts(row, unit, label)], units.noun


def _texts(row: Mapping[str, Any], unit: str, label_of: Callable[[float], float]) -> Iterator[MeasuredText]:
    about = {"prompt": row["prompt"], "domain": row["domain"], "groups": tuple(row["group"]), "unit": unit}
    if "completion" in row:
        yield MeasuredText(id=row["id"], completion=row["completion"], label=label_of(row["score"]), **about)
        return
    for side, label in (("chosen", 1.0), ("rejected", 0.0)):
        yield MeasuredText(id=f"{row['id']}/{side}", completion=row[side], label=label, **about)


def text_scores(texts: Sequence[MeasuredText], score_N: NDArray[np.float64]) -> Iterator[Score]:
    """Scores of every text: `score`, `label` and length in `characters` and `words`; its unit is the cluster."""
    for text, score in zip(texts, score_N.tolist(), strict=True):
        yield Score(score="score", value=score, **text.about)
        yield Score(score="label", value=text.label, **text.about)
        yield Score(score="characters", value=float(len(text.completion)), **text.about)
        yield Score(score="words", value=float(len(WORD.findall(text.completion))), **text.about)


def halves(units: Sequence[str]) -> NDArray[np.bool_]:
    """Mask of the rows in the first half of the units, (N,), for any order of rows. A fit on one half is used on the
    other half.
    """
    # "half" makes this order independent of other orders by digest
    order = sorted(set(units), key=lambda unit: digest_of(["half", unit]))
    first = set(order[::2])
    return np.array([unit in first for unit in units], dtype=bool)


def without_axis(texts: Sequence[MeasuredText], axis: TextAxis, suite: str) -> dict[str, float]:
    """Metric that counts texts without a group or domain; they enter only the overall figures.

    Raises:
        BadInput: no text names any.
    """
    without = sum(not (text.groups if axis == "group" else text.domain) for text in texts)
    if without == len(texts):
        raise BadInput(f"{suite}: none of the {without} texts names a {axis}; take other data, or another `group_by`")
    return {f"{suite}/without_{axis}": float(without)}


def check_two_labels(texts: Sequence[MeasuredText], where: str) -> None:
    """Check that labels are 0 or 1 and that both occur.

    Raises:
        BadInput: a row has another label, or all have the same; names the row or the label.
    """
    wrong = next((text for text in texts if text.label not in (0.0, 1.0)), None)
    if wrong:
        raise BadInput(f"{where}: row {wrong.id!r} has the score {wrong.label:g}; 0 (bad) or 1 (good) is needed")
    if len({text.label for text in texts}) < 2:
        raise BadInput(f"{where}: all {len(texts)} texts have the score {texts[0].label:g}; both 0 and 1 are needed")
