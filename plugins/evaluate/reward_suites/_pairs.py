"""Order of preference pairs by a reward: accuracy by groups with the worst one, calibration, correlation with length.

A margin is no probability. A single factor turns margins into probabilities; it is fitted by maximum likelihood on half
of the prompts (of the templates, where rows name some) and used on the other half. The calibration error is the
distance between the share of right pairs and the probabilities of their margins (arXiv 1706.04599 for the error and its
curve). Its interval treats the two factors as fixed: resamples do not fit them again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline_core.plugin.figures import Measure, Relation, Score
from pipeline_core.stats import platt
from plugins.evaluate.reward_suites._texts import MeasuredText, TextAxis, halves, text_scores


def pair_scores(texts: Sequence[MeasuredText], score_N: NDArray[np.float64]) -> Iterator[Score]:
    """Scores of the texts (items `id/chosen` and `id/rejected`, see `text_scores`) and of the pairs (items `id`).

    Scores of a pair: `margin`, `right` (1, 1/2 tied, 0 wrong), `confidence` (`platt.confidences`, fitted on the pairs
    of other units; absent if every pair is tied), `longer` (characters of the chosen text minus the rejected one's),
    `tie`, and `longer_higher` (pairs of different length: 1 if the longer text scores higher). The cluster is the
    pair's unit.
    """
    yield from text_scores(texts, score_N)
    margin_P = score_N[0::2] - score_N[1::2]  # `given_texts` gives the chosen and the rejected text in turn
    units = [text.unit for text in texts[0::2]]  # one of a pair's two texts
    confidence_P = platt.confidences(margin_P, halves(units)) if margin_P.any() and len(set(units)) > 1 else None
    for index, (chosen, rejected) in enumerate(zip(texts[0::2], texts[1::2], strict=True)):
        about = chosen.about | {"item": chosen.id.removesuffix("/chosen")}
        longer = len(chosen.completion) - len(rejected.completion)
        margin = margin_P[index]
        values = {"margin": margin, "right": np.heaviside(margin, 0.5), "tie": margin == 0, "longer": longer}
        if confidence_P is not None:
            values["confidence"] = confidence_P[index]
        if longer:
            values["longer_higher"] = np.heaviside(margin * longer, 0.5)
        yield from (Score(score=name, value=float(value), **about) for name, value in values.items())


def pair_measures(suite: str, axis: TextAxis | None) -> list[Measure | Relation]:
    """Figures by `axis`; lengths are in characters unless the name says otherwise."""
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
