"""Models at settings: joins the points of a sweep that differ in seeds alone, or in what does not reach a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pipeline_core.report.figures.cells import BASE
from pipeline_core.report.figures.collect import ModelEvaluation, collect
from pipeline_core.report.sweep.model import Candidate


@dataclass(frozen=True)
class PointEvaluations:
    """The evaluations of a point, as `collect` takes them, by their artifact's key; `values` without the seeds."""

    number: int
    values: Mapping[str, str]
    evaluations: Mapping[str, Mapping[str, Any]]


@dataclass
class _Pool:
    """A model at a setting: its evaluations by key, and the points that had them."""

    model: str
    values: dict[str, str]
    keys: dict[str, None] = field(default_factory=dict)
    points: list[int] = field(default_factory=list)


def candidates_of(points: Sequence[PointEvaluations]) -> tuple[list[Candidate], list[ModelEvaluation]]:
    """Candidates, and their evaluations with the candidates' labels."""
    facts = {key: fact for point in points for key, fact in point.evaluations.items()}
    read = dict(zip(facts, collect(facts.values()).evaluations, strict=True))
    pools = _joined(_pools(points, read))
    labels = _labels(pools)
    candidates, evaluations = [], []
    for pool, label in zip(pools, labels, strict=True):
        mine = [replace(read[key], label=label) for key in pool.keys]
        seeds = sorted({one.seed for one in mine if one.seed is not None})
        candidates.append(Candidate(label=label, model=pool.model, values=pool.values, seeds=seeds, points=pool.points))
        evaluations += mine
    return candidates, evaluations


def _pools(points: Sequence[PointEvaluations], read: Mapping[str, ModelEvaluation]) -> list[_Pool]:
    """A pool for every model and setting; points that differ in seeds share one."""
    pools: dict[tuple[Any, ...], _Pool] = {}
    for point in points:
        for key in point.evaluations:
            if read[key].subject != "model":
                continue
            pool = pools.setdefault(
                (read[key].label, *point.values.items()), _Pool(read[key].label, dict(point.values))
            )
            pool.keys[key] = None
            if point.number not in pool.points:
                pool.points.append(point.number)
    return list(pools.values())


def _joined(pools: Sequence[_Pool]) -> list[_Pool]:
    """Joins the pools that have the same artifacts: the axes in which they differ do not reach the model.

    A pool that lacks some seeds of another, since points failed, has the same artifacts as far as it goes.
    """
    joined: list[_Pool] = []
    for pool in sorted(pools, key=lambda pool: -len(pool.keys)):
        whole = next(
            (other for other in joined if other.model == pool.model and pool.keys.keys() <= other.keys.keys()), None
        )
        if whole is None:
            joined.append(pool)
            continue
        whole.values = {path: value for path, value in whole.values.items() if pool.values.get(path) == value}
        whole.points = sorted({*whole.points, *pool.points})
    # The base first, then in the order of the points.
    return sorted(joined, key=lambda pool: (pool.model != BASE, min(pool.points)))


def _labels(pools: Sequence[_Pool]) -> list[str]:
    return [
        ", ".join([pool.model, *(f"{_short(path, pool.model)}={value}" for path, value in pool.values.items())])
        for pool in pools
    ]


def _short(path: str, model: str) -> str:
    """`beta` for `policy.dpo.beta` of the model `dpo`."""
    return path.removeprefix(f"policy.{model}.")
