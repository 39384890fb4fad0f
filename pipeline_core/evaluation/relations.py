"""Figures of two scores of the same items: order of texts of two labels, correlation with a number, calibration.

Both scores are stored in `rows.parquet` like any other, so a report recomputes figures, intervals and paired
differences from it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pipeline_core.evaluation.entries import by_group, by_label, described, readable
from pipeline_core.plugin.figures import Relation, Score, clusters_of
from pipeline_core.stats.estimates import Estimate
from pipeline_core.stats.ranking import RELATIONS
from pipeline_core.stats.related_items import Paired
from pipeline_core.stats.relation_bootstrap import EVERY, RelationBootstrap
from pipeline_core.stats.resampling import ItemValues, numbered_clusters


@dataclass(frozen=True)
class ScorePair:
    """Two scores of a model: x and y by item, and the cluster of items that have one."""

    x: ItemValues
    y: ItemValues
    cluster: Mapping[str, str] = field(default_factory=dict)


def paired(columns: Sequence[ScorePair], members: Sequence[Collection[str]]) -> Paired:
    """Scores of the items that any model has, in the order of their names; `members` are the items of every group."""
    # sorted: a resample draws by place
    items = sorted({item for column in columns for item in column.x.keys() & column.y.keys()})
    x, y = (
        np.array([[_one(values, item) for values in side] for item in items], np.float64)
        for side in ([column.x for column in columns], [column.y for column in columns])
    )
    clusters: dict[str, str] = {}
    for column in columns:
        clusters |= column.cluster
    number = numbered_clusters(items, clusters)
    shape = (len(items), len(columns))  # `np.array` of no items lacks the second axis
    return Paired(
        x.reshape(shape),
        y.reshape(shape),
        np.array([[item in group for group in members] for item in items], bool).reshape(len(items), len(members)),
        np.arange(len(items)) if number is None else number,
    )


def _one(values: ItemValues, item: str) -> float:
    return values[item][0] if item in values else float("nan")


def bootstrap_of(
    statistic: str, columns: Sequence[ScorePair], members: Sequence[Collection[str]], seed: int = 0, **more: Any
) -> RelationBootstrap:
    """Resamples of the figure in every group of `members`."""
    return RelationBootstrap.of(RELATIONS[statistic], paired(columns, members), seed=seed, **more)


def relate(scores: Mapping[str, Sequence[Score]], relation: Relation, seed: int = 0) -> dict[str, Any]:
    """Entry of a relation in `measures.json`; groups with an undefined figure are listed under `undefined`."""
    chosen = {name: [s for s in scores.get(name, ()) if s.within(relation.only)] for name in {relation.x, relation.y}}
    x, y = (_by_item(chosen[name]) for name in (relation.x, relation.y))
    column = ScorePair(x, y, clusters_of(chosen[relation.x]))
    return _estimate(relation, column, chosen[relation.x], seed) | described(relation)


def _by_item(scores: Sequence[Score]) -> dict[str, list[float]]:
    values: dict[str, list[float]] = {}
    for score in scores:
        if score.item in values:
            raise ValueError(f"item {score.item!r} has several scores {score.score!r}: a relation takes one")
        values[score.item] = [score.value]
    return values


def _estimate(relation: Relation, column: ScorePair, scores: Sequence[Score], seed: int) -> dict[str, Any]:
    members = by_label(scores, relation.axis) if relation.axis else {}
    items = [{score.item for score in own} for own in members.values()]
    grouped = bootstrap_of(relation.statistic, [column], items, seed) if members else None
    if relation.mean_over:
        overall = grouped.estimate(EVERY, "mean") if grouped else Estimate(None, None, None, 0, 0)
    else:
        overall = bootstrap_of(relation.statistic, [column], [column.x.keys()], seed).estimate()
    if not relation.group_by:
        return readable(overall)
    groups = {label: readable(grouped.group(g).estimate()) for g, label in enumerate(members)} if grouped else {}
    undefined = [label for label, entry in groups.items() if entry["value"] is None]
    return readable(overall) | by_group(groups, relation.better) | {"undefined": undefined}
