"""Scores of pairs of texts: the likelier text under a model, and the difference of log-likelihoods."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from pipeline_core.evaluation.units import score_fields
from pipeline_core.plugin.figures import Score


def pair_scores(
    rows: Sequence[dict[str, Any]], logps: Sequence[Sequence[float]], name: str, units: Sequence[str]
) -> Iterator[Score]:
    """Scores of rows from the log-likelihoods of their first two options: `name` (1: first likelier), `tie` and `gap`.

    `gap` is the first log-likelihood minus the second, in their unit. A row with a log-likelihood that is not finite is
    `invalid` and has no other score. Rows with equal unit in `units` (N,) are resampled together.
    """
    for row, unit, (first, second) in zip(rows, units, logps, strict=True):
        about = score_fields(row, unit)
        valid = math.isfinite(first) and math.isfinite(second)
        yield Score(score="invalid", value=float(not valid), **about)
        if not valid:
            continue
        # of a tie neither text is the answer
        likelier = "" if first == second else row["options"][0 if first > second else 1]
        # a tie counts for neither, as in the published code of CrowS-Pairs; `tie` shows how many there are
        yield Score(score=name, value=float(first > second), prediction=likelier, **about)
        yield Score(score="tie", value=float(first == second), **about)
        yield Score(score="gap", value=first - second, **about)
