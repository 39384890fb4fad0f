"""Keys and existing artifacts of planned stages, found before a run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from pipeline_core.data.catalog import Catalog
from pipeline_core.errors import ArtifactChanged, BadInput
from pipeline_core.pipeline.config import PipelineConfig
from pipeline_core.pipeline.plan import PlannedStage, plan
from pipeline_core.plugin.registry import load_registry
from pipeline_core.plugin.specs import STAGES
from pipeline_core.stage.key import key_of
from pipeline_core.store.artifacts import ArtifactRef, Manifest, Store


@dataclass(frozen=True)
class ForeseenStage:
    """A planned stage, its key (None if an input is not in the store), and its artifact if it is in the store.

    `damaged`: error message of an unreadable artifact.
    """

    planned: PlannedStage
    key: str | None
    artifact: Manifest | None
    damaged: str = ""


def foresee(config: PipelineConfig) -> Iterator[ForeseenStage]:
    """Every planned stage; a key is known if the store holds all inputs of the stage."""
    registry, catalog = load_registry(), Catalog.from_environment()
    store = Store.from_environment()
    made: dict[str, ArtifactRef] = {}
    for planned in plan(config, registry):
        key, artifact, damaged = None, None, ""
        if all(need in made for need in planned.needs.values()):
            job = planned.job({role: made[need] for role, need in planned.needs.items()}, config.runner)
            # `source_problems` reports missing sources; the rest of the plan is still useful.
            with suppress(BadInput):
                key = key_of(job, registry, catalog)
                try:
                    artifact = store.find(STAGES[planned.stage].kind, key)
                except ArtifactChanged as error:
                    damaged = str(error)
        if artifact:
            made[planned.id] = artifact.ref
        yield ForeseenStage(planned, key, artifact, damaged)
