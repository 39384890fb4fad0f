"""How a reward orders preference pairs: accuracy by groups, calibration, and what length has to do with it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pipeline_core.evaluation.units import Units
from pipeline_core.plugin.figures import Measure, Relation, Score
from pipeline_core.rewards.measured_text import Axis, halves, scores_of, text_scores, texts_of
from pipeline_core.stats import platt

if TYPE_CHECKING:
    from datasets import Dataset

    from pipeline_core.plugin.types import RewardFn


def pair_scores(rows: Dataset, reward: RewardFn, units: Units) -> Iterator[Score]:
    """Scores of the texts (items `id/chosen` and `id/rejected`, see `text_scores`) and of the pairs (items `id`).

    Of a pair: `margin`, `right` (1, 1/2 tied, 0 wrong), `confidence` (`platt.confidences`, fitted on the pairs
    of other units; absent where every pair is tied), `longer` (how many characters more the chosen text has), `tie` and
    `longer_higher` (of pairs of different length: whether the longer text scores higher). The cluster is the
    pair's unit.
    """
    pairs, texts = rows.to_list(), texts_of(rows, units)
    score_N = scores_of(reward, texts)
    margin_P = score_N[0::2] - score_N[1::2]
    yield from text_scores(texts, score_N)
    names = units.names
    confidence_P = platt.confidences(margin_P, halves(names)) if margin_P.any() and len(set(names)) > 1 else None
    for index, (row, unit) in enumerate(zip(pairs, names, strict=True)):
        about: dict[str, Any] = {"group": row["group"], "domain": row["domain"], "cluster": unit}
        longer = len(row["chosen"]) - len(row["rejected"])
        outcome = order(margin_P[index])
        values = {"margin": margin_P[index], "right": outcome, "tie": margin_P[index] == 0, "longer": longer}
        if confidence_P is not None:
            values["confidence"] = confidence_P[index]
        if longer:
            values["longer_higher"] = order(margin_P[index] * longer)
        yield from (Score(row["id"], name, float(value), **about) for name, value in values.items())


def order(margin: float) -> float:
    """1 for a positive margin, 1/2 for none, 0 for a negative one."""
    return 0.5 if margin == 0 else float(margin > 0)


def pair_measures(suite: str, axis: Axis | None) -> list[Measure | Relation]:
    """The figures, by `axis`; lengths are in characters where nothing else is said."""
    by_group: dict[str, Any] = {"group_by": axis, "summary_rows": ("worst_group", "gap", "mean"), "chance": 50.0}
    groups = by_group if axis else {}
    further: dict[str, Any] = {"better": "neither", "headline": False}
    return [
        Measure(f"{suite}/accuracy", "right", "share", "higher", "%", **groups),
        Relation(f"{suite}/calibration_error", "confidence", "right", "calibration_error", "lower", "pp"),
        Relation(f"{suite}/length_correlation", "score", "characters", "spearman", "neither"),
        Measure(f"{suite}/longer_preferred", "longer_higher", "share", "neither", "%", headline=False),
        Measure(f"{suite}/ties", "tie", "share", "lower", "%", headline=False),
        Relation(f"{suite}/word_count_correlation", "score", "words", "spearman", **further),
        Relation(f"{suite}/margin_length_correlation", "margin", "longer", "spearman", **further),
    ]
