"""Scores of pairs of texts: which of the two a model finds likelier, and by how much."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from pipeline_core.plugin.figures import Score


def pair_scores(
    rows: Sequence[dict[str, Any]], logps: Sequence[Sequence[float]], name: str, units: Sequence[str]
) -> Iterator[Score]:
    """Of every row, whose first two options have the likelihoods in `logps`: `name` (1: the first is likelier), `tie`.

    And `gap`, the first's log-likelihood minus the other's, in the unit these have. A row with a likelihood that is not
    finite is `invalid` and has none of them. Rows of one of `units` (N,) are drawn together.
    """
    for row, unit, (first, second) in zip(rows, units, logps, strict=True):
        about = {"item": row["id"], "group": row["group"], "domain": row["domain"], "cluster": unit}
        valid = math.isfinite(first) and math.isfinite(second)
        yield Score(score="invalid", value=float(not valid), **about)
        if not valid:
            continue
        likelier = "" if first == second else row["options"][0 if first > second else 1]
        yield Score(score=name, value=float(first > second), prediction=likelier, **about)
        yield Score(score="tie", value=float(first == second), **about)
        yield Score(score="gap", value=first - second, **about)
