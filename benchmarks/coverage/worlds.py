"""Worlds that cells draw from: items with values, and figures of them beside the truth.

Shape suffixes: C items, G groups, S seeds or models side by side.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import cycle
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline_core.stats.across import Across
from pipeline_core.stats.bootstrap import Bootstrap
from pipeline_core.stats.estimates import Estimate
from pipeline_core.stats.ranking import RELATIONS
from pipeline_core.stats.related_items import Paired
from pipeline_core.stats.relation_bootstrap import RelationBootstrap
from pipeline_core.stats.resampling import Items
from pipeline_core.stats.statistic import STATISTICS

Floats = NDArray[np.float64]
Generator = np.random.Generator
RESAMPLES = 500
TURNS = cycle(range(8))
"""Seeds of the resamples."""


class Seen(NamedTuple):
    """One world: what was found and what is true; None where the figure was undefined."""

    found: Estimate
    truth: float


@dataclass(frozen=True)
class Cell:
    """A kind of figure in one kind of world."""

    kind: str
    name: str
    draw: Callable[[Generator], Seen]
    is_null: bool = False
    """Whether models are alike, so that every rejection is an error."""


def one_group(values_CS: Floats, cluster: NDArray[np.intp] | None = None) -> Items:
    """All items in one group; NaN where a model has no value."""
    return items_of(np.asarray(values_CS, np.float64)[:, None, :], cluster)


def in_groups(values_GCS: Floats) -> Items:
    """Groups of as many items each; NaN where a model has no value."""
    groups, size, seeds = values_GCS.shape
    values = np.full((groups * size, groups, seeds), np.nan)
    for group in range(groups):
        values[group * size : (group + 1) * size, group] = values_GCS[group]
    return items_of(values)


def items_of(values_CGS: Floats, cluster: NDArray[np.intp] | None = None) -> Items:
    """One value each, NaN where there is none."""
    known, values = np.isfinite(values_CGS), np.nan_to_num(values_CGS)
    return Items(values, known.astype(np.float64), values**2, cluster)


def binary(generator: Generator, chances: Floats, *shape: int) -> Floats:
    return (generator.random(shape or chances.shape) < chances).astype(np.float64)


def estimate(statistic: str, items: Items, truth: float, across: Across = "all") -> Seen:
    boot = Bootstrap.of(STATISTICS[statistic], items, seed=next(TURNS), resamples=RESAMPLES)
    return Seen(boot.estimate(across=across), truth)


def difference(
    statistic: str, items: Items, truth: float, across: Across = "all", mine: int = 1, by_seed: bool = True
) -> Seen:
    """Of the first `mine` columns against the others."""
    boot = Bootstrap.of(STATISTICS[statistic], items, seed=next(TURNS), resamples=RESAMPLES)
    return Seen(boot.difference(slice(0, mine), slice(mine, None), across, by_seed=by_seed), truth)


def related(statistic: str, x: Floats, y: Floats, truth: float, cluster: NDArray[np.intp] | None = None) -> Seen:
    """One group; x and y (C, S)."""
    number = np.arange(len(x)) if cluster is None else cluster
    return related_groups(statistic, x, y, np.ones((len(x), 1), dtype=bool), truth, "all", number)


def related_groups(
    statistic: str,
    x: Floats,
    y: Floats,
    member: NDArray[np.bool_],
    truth: float,
    across: Across,
    cluster: NDArray[np.intp] | None = None,
) -> Seen:
    """Groups `member` (C, G); two columns of x and y (C, S) are two models, whose difference is asked for."""
    paired = Paired(x, y, member, np.arange(len(x)) if cluster is None else cluster)
    boot = RelationBootstrap.of(RELATIONS[statistic], paired, seed=next(TURNS), resamples=RESAMPLES)
    if x.shape[1] == 2:
        return Seen(boot.difference(slice(0, 1), slice(1, 2), across), truth)
    return Seen(boot.estimate(across=across), truth)


def classes(n: int, share: float = 0.5) -> Floats:
    """1 for the first share of n items, else 0, (C, 1)."""
    return (np.arange(n) < round(share * n)).astype(np.float64)[:, None]
