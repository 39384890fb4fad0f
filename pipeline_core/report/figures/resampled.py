"""Resamples of a measure's items, for statistics of a mean and for relations; counts of the items behind a figure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from pipeline_core.report.figures.cells import Figure
from pipeline_core.stats.bootstrap import Bootstrap
from pipeline_core.stats.estimates import Estimate
from pipeline_core.stats.relation_bootstrap import RelationBootstrap

Resamples = Bootstrap | RelationBootstrap


def of_one_seed(estimate: Estimate, counted: Resamples, columns: slice) -> Figure:
    """Figure of an estimate over seeds, with the counts of one seed; the estimate itself counts all seeds together.

    `counted`: the resamples whose items are counted; for a worst group, those of that group.
    """
    if isinstance(counted, RelationBootstrap):
        items, clusters = counted.total[:, columns].tolist()
    else:
        of_seeds = counted.items.part(slice(None), columns)
        seeds = range(of_seeds.sums.shape[2])  # seeds may have left out different items
        items, clusters = zip(*(of_seeds.part(slice(None), slice(s, s + 1)).counted() for s in seeds), strict=True)
    return Figure(**as_facts(estimate) | counted_by_seed(items, clusters))


def as_facts(estimate: Estimate) -> dict[str, Any]:
    """Fields of a `Figure` from an estimate or a difference."""
    return {field.name: getattr(estimate, field.name) for field in fields(Estimate)}


def counted_by_seed(items: Sequence[int], clusters: Sequence[int] = ()) -> dict[str, int | None]:
    """Count fields of a `Figure`, fewest and most, from the numbers of items and clusters of each seed."""
    counts = {"n": min(items), "n_most": _most(items)}
    return counts | ({"n_clusters": min(clusters), "n_clusters_most": _most(clusters)} if clusters else {})


def _most(counts: Sequence[int]) -> int | None:
    """The largest count; None if all are equal."""
    return max(counts) if max(counts) > min(counts) else None
