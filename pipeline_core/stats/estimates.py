"""Figures with their uncertainty: values, intervals, differences, p-values (no dependencies)."""

from __future__ import annotations

from dataclasses import dataclass

MCNEMAR, PAIRED = "McNemar, exact", "paired bootstrap"


@dataclass(frozen=True)
class Estimate:
    """A value, its interval, and how many items and clusters it rests on; None where undefined."""

    value: float | None
    low: float | None
    high: float | None
    n: int
    n_clusters: int

    @property
    def ends(self) -> tuple[float, float] | None:
        """The interval."""
        return None if self.low is None or self.high is None else (self.low, self.high)


@dataclass(frozen=True)
class Difference(Estimate):
    """The difference of two models on the same items, its two-sided p-value and the test behind it.

    Models that are equal on every item have p = 1 and no test.
    """

    p: float | None
    test: str
