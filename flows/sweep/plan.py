"""Plan of a sweep: its points, and the distinct stages that they share through the store."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipeline_core.checks.foresee import ForeseenStage, foresee
from pipeline_core.checks.grid import Grid, GridPoint, grid_points, parse_grid
from pipeline_core.files.digests import digest_of
from pipeline_core.pipeline.plan import PlannedStage
from pipeline_core.store.artifacts import Store


@dataclass
class SharedStage:
    """A stage that one or more points have: `needs` holds the recipes of its inputs by role."""

    recipe: str
    planned: PlannedStage
    needs: Mapping[str, str]
    stored: bool
    """True if its artifact is in the store already."""
    points: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class SweepPlan:
    """Points of a sweep with their stages by recipe; the order of `stages` has inputs first."""

    source: str
    overrides: tuple[str, ...]
    grid: Grid
    points: Sequence[GridPoint]
    stages: Mapping[str, SharedStage]
    of_point: Mapping[int, Sequence[str]]
    """Recipes of a point's stages, by its number."""

    @property
    def id(self) -> str:
        """Digest of the points' configurations: the same sweep has the same id, wherever it is run."""
        return digest_of([point.id for point in self.points])[:12]

    @property
    def name(self) -> str:
        """Name of the swept configuration."""
        return self.points[0].config.name

    @property
    def counts(self) -> dict[str, int]:
        """Numbers of stage runs: `planned` over all points, `distinct`, and `stored` in the store already."""
        planned = sum(map(len, self.of_point.values()))
        stored = sum(stage.stored for stage in self.stages.values())
        return {"planned": planned, "distinct": len(self.stages), "stored": stored}

    def new_at(self, number: int) -> int:
        """Stages that are not in the store and that no earlier point has."""
        return sum(
            not self.stages[recipe].stored and self.stages[recipe].points[0] == number
            for recipe in self.of_point[number]
        )


def plan_sweep(source: str, overrides: Sequence[str], limit: int) -> SweepPlan:
    """Plan a sweep without running it.

    Raises:
        BadInput: the grid or a point's configuration is invalid.
    """
    grid = parse_grid(overrides, limit)
    points = grid_points(source, grid)
    stages: dict[str, SharedStage] = {}
    of_point: dict[int, list[str]] = {}
    for point in points:
        recipes: dict[str, str] = {}
        for seen in foresee(point.config):
            needs = {role: recipes[need] for role, need in seen.planned.needs.items()}
            recipe = recipes[seen.planned.id] = recipe_of(seen.planned, needs)
            shared = stages.setdefault(recipe, SharedStage(recipe, seen.planned, needs, seen.artifact is not None))
            shared.points.append(point.number)
        of_point[point.number] = list(recipes.values())
    return SweepPlan(source, tuple(overrides), grid, points, stages, of_point)


def recipe_of(planned: PlannedStage, needs: Mapping[str, str]) -> str:
    """Digest of what decides a stage's artifact, its inputs by their recipes: known before any of them is made."""
    data = planned.data.model_dump(mode="json") if planned.data else None
    return digest_of([planned.stage, planned.config.identity(), planned.seed, data, dict(needs)])


def in_store(point: GridPoint) -> bool:
    """True if the store holds every stage of a point."""
    return all(seen.artifact is not None for seen in foresee(point.config))


def evaluations_of(point: GridPoint) -> Iterator[tuple[str, dict[str, Any]]]:
    """Evaluations of a point that are in the store, by key, as the report's `collect` takes them."""
    store = Store.from_environment()
    for seen in foresee(point.config):
        if seen.planned.stage == "evaluate" and seen.artifact is not None:
            yield seen.artifact.key, _facts(seen, store)


def _facts(seen: ForeseenStage, store: Store) -> dict[str, Any]:
    planned, artifact = seen.planned, seen.artifact
    assert artifact is not None
    return {
        "stage": planned.stage,
        "plugin": planned.config.name,
        "label": planned.label,
        "seed": planned.seed,
        "model_seed": planned.model_seed,
        "suite": planned.suite,
        "key": artifact.key,
        "digest": artifact.digest,
        "reused": True,
        "seconds": artifact.seconds,
        "metrics": artifact.metrics,
        "path": store.open(artifact.ref),
    }
