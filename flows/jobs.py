"""From a plan to jobs: a planned stage becomes a job as soon as the stages it needs are known."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline_core.errors import ArtifactChanged, BadInput

if TYPE_CHECKING:
    from pipeline_core.pipeline.config import PipelineConfig
    from pipeline_core.pipeline.plan import PlannedStage
    from pipeline_core.stage.key import Job
    from pipeline_core.stage.settings import Runner
    from pipeline_core.store.artifacts import ArtifactRef, Manifest

HEAVY = frozenset({"reward", "policy", "evaluate"})
"""Stages worth a GPU worker: those that a `runner.deployment` makes elsewhere."""


def job_of(planned: PlannedStage, made: Mapping[str, ArtifactRef], runner: Runner) -> Job:
    """The job of `planned`, given the artifacts of the roles it needs."""
    from pipeline_core.stage.key import Job

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
    """A planned stage, its key once its inputs are in the store, and its artifact when it is there too.

    `damaged` says what is wrong with an artifact that cannot be read.
    """

    planned: PlannedStage
    key: str | None
    artifact: Manifest | None
    damaged: str = ""


def source_problems(config: PipelineConfig) -> dict[str, BadInput]:
    """Data and files a configuration names and that cannot be found, by where it names them.

    Looked up before a run begins, so that a slip does not show after an hour of training.
    """
    from pipeline_core.checks.data import plugin_entries, stage_of
    from pipeline_core.data.catalog import Catalog
    from pipeline_core.plugin.registry import load_registry
    from pipeline_core.stage.key import data_fingerprints

    catalog = Catalog.from_environment()
    problems: dict[str, BadInput] = {}
    with noting(problems, "data"):
        catalog.fingerprint(config.data) if config.data else None
    for where, entry in plugin_entries(config):
        spec = load_registry().get(stage_of(where), entry.name)
        with noting(problems, where):
            data_fingerprints(entry, None, catalog)
            spec.sources(entry) if spec.sources else None
    return problems


@contextmanager
def noting(problems: dict[str, BadInput], where: str) -> Iterator[None]:
    """Keep what the block refuses under its place."""
    try:
        yield
    except BadInput as error:
        problems[where] = error


def rows_in_words(config: PipelineConfig) -> str:
    """How many rows the policies train on, and of which groups; empty where that is only known later."""
    from pipeline_core.data.catalog import Catalog
    from pipeline_core.data.groups import counts_of

    if config.data is None or config.extend or not config.policy:
        return ""
    table = Catalog.from_environment().load(config.data)
    axes = dict.fromkeys(axis for entry in config.policy if (axis := getattr(entry, "group_by", None)))
    counts = [", ".join(f"{name} {count}" for name, count in counts_of(table, axis).items()) for axis in axes]
    return f"{len(table)} rows of {config.data.entry}: {'; '.join(counts)}"


def foresee(config: PipelineConfig) -> Iterator[Foreseen]:
    """Follow the plan down the store without making anything."""
    from pipeline_core.data.catalog import Catalog
    from pipeline_core.pipeline.plan import plan
    from pipeline_core.plugin.registry import load_registry
    from pipeline_core.plugin.specs import STAGES
    from pipeline_core.stage.key import key_of
    from pipeline_core.store.artifacts import Store
    from pipeline_core.store.places import Places

    registry, catalog = load_registry(), Catalog.from_environment()
    store = Store(Places.from_environment().store)
    made: dict[str, ArtifactRef] = {}
    for planned in plan(config, registry):
        key, artifact, damaged = None, None, ""
        if all(need in made for need in planned.needs.values()):
            inputs = {role: made[need] for role, need in planned.needs.items()}
            # What is missing here is told apart (`source_problems`); the rest of the plan is still worth seeing.
            with suppress(BadInput):
                key = key_of(job_of(planned, inputs, config.runner), registry, catalog)
                try:
                    artifact = store.find(STAGES[planned.stage].kind, key)
                except ArtifactChanged as error:
                    damaged = str(error)
        if artifact:
            made[planned.id] = artifact.ref
        yield Foreseen(planned, key, artifact, damaged)
