"""Resamples of a measure's items, of a mean's statistic and of relations alike, and what a figure of them rests on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from pipeline_core.report.figures.cells import Figure
from pipeline_core.stats.across import Across
from pipeline_core.stats.bootstrap import Bootstrap
from pipeline_core.stats.estimates import Difference, Estimate
from pipeline_core.stats.relation_bootstrap import RelationBootstrap
from pipeline_core.stats.resampling import Floats, Items
from pipeline_core.stats.statistic import Statistic


@dataclass(frozen=True)
class OfStatistic:
    """A bootstrap with the statistic that is taken of it, called as `RelationBootstrap` is."""

    found: Bootstrap
    statistic: Statistic

    def group(self, index: int) -> OfStatistic:
        """One of the groups alone."""
        return OfStatistic(self.found.group(index), self.statistic)

    def items(self, columns: slice) -> Items:
        """The items of some columns."""
        return self.found.items.part(slice(None), columns)

    def has_items(self, columns: slice) -> bool:
        """Whether any item counts for these columns."""
        return bool(self.items(columns).present().any())

    def estimate(self, columns: slice, across: Across = "all") -> Estimate:
        """The figure of some columns with its interval."""
        return self.found.estimate(self.statistic, columns, across)

    def difference(self, mine: slice, base: slice, across: Across, *, by_seed: bool) -> Difference:
        """The figure of columns `mine` minus that of `base` over the same resamples."""
        return self.found.difference(self.statistic, mine, base, across, by_seed=by_seed)

    def resampled(self, columns: slice, across: Across) -> Floats:
        """The figure in every resample, (R,)."""
        return self.found.resampled(self.statistic, columns, across)


Resamples = OfStatistic | RelationBootstrap


def of_one_seed(estimate: Estimate, counted: Resamples, columns: slice) -> Figure:
    """An estimate over seeds with the items and clusters of each seed, where it counts those of all together.

    `counted` holds the items that are counted: those of one group, where the estimate is of the worst one.
    """
    if isinstance(counted, RelationBootstrap):
        items, clusters = counted.total[:, columns].tolist()
    else:
        of_seeds = counted.items(columns)
        seeds = range(of_seeds.sums.shape[2])
        items, clusters = zip(*(of_seeds.part(slice(None), slice(s, s + 1)).counted() for s in seeds), strict=True)
    return Figure(**as_facts(estimate) | counted_by_seed(items, clusters))


def as_facts(estimate: Estimate) -> dict[str, Any]:
    """What a figure holds of an estimate, or of a difference."""
    return {field.name: getattr(estimate, field.name) for field in fields(Estimate)}


def counted_by_seed(items: Sequence[int], clusters: Sequence[int] = ()) -> dict[str, int | None]:
    """The counts of a figure whose seeds rest on so many items and clusters each: the fewest, and the most."""
    counts = {"n": min(items), "n_most": _most(items)}
    return counts | ({"n_clusters": min(clusters), "n_clusters_most": _most(clusters)} if clusters else {})


def _most(counts: Sequence[int]) -> int | None:
    """The largest of different counts."""
    return max(counts) if max(counts) > min(counts) else None
