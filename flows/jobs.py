"""From a plan to jobs: a planned stage becomes a job as soon as the stages it needs are known."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline_core.artifacts import ArtifactRef, Manifest
    from pipeline_core.config import PipelineConfig, Runner
    from pipeline_core.plan import PlannedStage
    from pipeline_core.stages import Job


def job_of(planned: PlannedStage, made: Mapping[str, ArtifactRef], runner: Runner) -> Job:
    """The job of `planned`, given the artifacts of the roles it needs."""
    from pipeline_core.stages import Job

    return Job(
        stage=planned.stage,
        config=planned.config.model_dump(mode="json"),
        label=planned.label,
        seed=planned.seed,
        inputs=dict(made),
        data=planned.data,
        runner=runner,
    )


@dataclass(frozen=True)
class Foreseen:
    """A planned stage, its key once its inputs are in the store, and its artifact when it is there too."""

    planned: PlannedStage
    key: str | None
    artifact: Manifest | None


def foresee(config: PipelineConfig) -> Iterator[Foreseen]:
    """Follow the plan down the store without making anything."""
    from pipeline_core.artifacts import Store
    from pipeline_core.catalog import Catalog
    from pipeline_core.places import Places
    from pipeline_core.plan import plan
    from pipeline_core.registry import load_registry
    from pipeline_core.specs import STAGES
    from pipeline_core.stages import key_of

    registry, catalog = load_registry(), Catalog.from_environment()
    store = Store(Places.from_environment().store)
    made: dict[str, ArtifactRef] = {}
    for planned in plan(config, registry):
        key = artifact = None
        if all(need in made for need in planned.needs.values()):
            inputs = {role: made[need] for role, need in planned.needs.items()}
            key = key_of(job_of(planned, inputs, config.runner), registry, catalog)
            artifact = store.find(STAGES[planned.stage].kind, key)
        if artifact:
            made[planned.id] = artifact.ref
        yield Foreseen(planned, key, artifact)
