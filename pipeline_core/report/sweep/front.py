"""The Pareto front of two measures, and which settings are clearly behind it.

Values alone make a front of chance: of settings that are equally good, those with luck lie on it. A setting counts as
beaten only if another one is no worse in both values and clearly better in one: the 95 % interval of their difference,
over the same items and seeds, leaves out zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from pipeline_core.report.figures.measured import MeasureRuns
from pipeline_core.report.sweep.model import Candidate


@dataclass(frozen=True)
class Trade:
    """Two measures with the evaluations of all candidates; each has a better direction."""

    measures: tuple[MeasureRuns, MeasureRuns]
    labels: Sequence[str]

    @cached_property
    def values(self) -> dict[str, tuple[float, float]]:
        """Both values by label, turned so that higher is better; without those that lack one."""
        found = {
            label: [_turned(measure, measure.figure(label).value) for measure in self.measures] for label in self._known
        }
        return {label: (a, b) for label, (a, b) in found.items() if a is not None and b is not None}

    @property
    def _known(self) -> list[str]:
        return [
            label
            for label in self.labels
            if all(measure.has_items(label) and None not in measure.values(label).values() for measure in self.measures)
        ]

    def dominates(self, a: str, b: str) -> bool:
        """True if `a` has no worse value than `b`, and a better one."""
        mine, theirs = self.values[a], self.values[b]
        return mine != theirs and all(x >= y for x, y in zip(mine, theirs, strict=True))

    def clear(self, a: str, b: str) -> list[int]:
        """For each measure 1 if `a` is clearly better than `b`, -1 if clearly worse, else 0."""
        return [_clear(measure, a, b) for measure in self.measures]


def place(candidates: Sequence[Candidate], trade: Trade) -> None:
    """Set `standing`, `behind` and `alike` of every candidate."""
    known = list(trade.values)
    for one in candidates:
        if one.label not in trade.values:
            continue
        better = [other for other in known if other != one.label and trade.dominates(other, one.label)]
        clearly = [other for other in better if 1 in trade.clear(other, one.label)]
        one.standing = "beaten" if clearly else "open" if better else "front"
        one.behind = clearly or better
        if one.standing == "front":
            others = [other for other in known if other != one.label]
            one.alike = [other for other in others if trade.clear(one.label, other) == [0, 0]]


def _turned(measure: MeasureRuns, value: float | None) -> float | None:
    return None if value is None else -value if measure.better == "lower" else value


def _clear(measure: MeasureRuns, a: str, b: str) -> int:
    difference = measure.difference(a, b)
    if difference.low is None or difference.high is None or difference.low <= 0 <= difference.high:
        return 0
    return 1 if (difference.low > 0) == (measure.better == "higher") else -1
