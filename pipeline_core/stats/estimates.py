"""Figures with their uncertainty: values, intervals, differences, p-values (no dependencies)."""

from __future__ import annotations

from dataclasses import dataclass

MCNEMAR, PAIRED = "McNemar, exact", "paired bootstrap"


@dataclass(frozen=True)
class Estimate:
    """A value, its interval, and the numbers of items and clusters behind it; None where undefined."""

    value: float | None
    low: float | None
    high: float | None
    n: int
    n_clusters: int

    @property
    def ends(self) -> tuple[float, float] | None:
        """The interval (low, high); None where undefined."""
        return None if self.low is None or self.high is None else (self.low, self.high)


@dataclass(frozen=True)
class Difference(Estimate):
    """The difference of two models on the same items, its two-sided p-value and the test behind it.

    Models that are equal on every item have p = 1 and no test.
    """

    p: float | None
    test: str

    @classmethod
    def untested(cls, value: float | None, n: int, n_clusters: int) -> Difference:
        """A difference without interval and test."""
        return cls(value, None, None, n, n_clusters, None, "")

    @classmethod
    def none(cls, n: int, n_clusters: int) -> Difference:
        """The difference of models that are equal on every item."""
        return cls(0.0, 0.0, 0.0, n, n_clusters, 1.0, "")
