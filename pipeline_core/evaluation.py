"""What an evaluation leaves behind: a score per item and the measures computed from them.

`rows.parquet` holds one row per item and score: `item` (stable id, the same for every model), `score` (which score),
`value` (float64), `group` (the people concerned, or ""), `domain`. Any table can be computed again from it without the
model, and two models are compared on the same items.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from pipeline_core.specs import Metrics


@dataclass(frozen=True)
class Score:
    """One number for one item."""

    item: str
    score: str
    value: float
    group: str = ""
    domain: str = ""


@dataclass(frozen=True)
class Measure:
    """A figure of the report: a statistic (`pipeline_core.ops.stats.STATISTICS`) over the values of one score.

    `only` narrows the items to a domain or group (`{"domain": "age"}`). `headline` measures form the comparison
    table, the rest is detail. `group_by` adds the per-group values, the worst group, the gap and the mean.
    """

    name: str
    score: str
    statistic: str = "mean"
    better: Literal["lower", "higher", "neither"] = "higher"
    unit: str = ""
    headline: bool = True
    only: tuple[tuple[str, str], ...] = ()
    group_by: Literal["", "group", "domain"] = ""


def write_evaluation(out: Path, scores: Sequence[Score], measures: Sequence[Measure], seed: int = 0) -> Metrics:
    """Write `rows.parquet` and `measures.json` (value, n, low, high at 95 %, per group) and return the values.

    A measure over no item at all is null in the file and absent from the returned metrics, never zero.
    """
    raise NotImplementedError
