"""From a plan to jobs: a planned stage becomes a job as soon as the stages it needs are known."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline_core.errors import ArtifactChanged, BadInput, NotUsable, UnknownName
from pipeline_core.specs import PolicyConfig

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
    from pipeline_core.catalog import Catalog
    from pipeline_core.registry import load_registry
    from pipeline_core.specs import LIST_STAGES, SINGLE_STAGES
    from pipeline_core.stages import data_fingerprints

    catalog = Catalog.from_environment()
    entries = {stage: getattr(config, stage) for stage in SINGLE_STAGES if getattr(config, stage)}
    for stage in LIST_STAGES:
        entries |= {f"{stage}.{index}": entry for index, entry in enumerate(getattr(config, stage))}
    problems: dict[str, BadInput] = {}
    with _noting(problems, "data"):
        catalog.fingerprint(config.data) if config.data else None
    for where, entry in entries.items():
        spec = load_registry().get(where.partition(".")[0], entry.name)
        with _noting(problems, f"{where} ({entry.name})"):
            data_fingerprints(entry, None, catalog)
            spec.sources(entry) if spec.sources else None
    return problems


@contextmanager
def _noting(problems: dict[str, BadInput], where: str) -> Iterator[None]:
    try:
        yield
    except BadInput as error:
        problems[where] = error


def row_problems(config: PipelineConfig) -> dict[str, BadInput]:
    """Rows at fault, and policies whose settings do not suit them, where the rows are known before the run."""
    from pipeline_core.catalog import Catalog

    problems: dict[str, BadInput] = {}
    takers = {i: entry for i, entry in enumerate(config.policy) if isinstance(entry, PolicyConfig) and entry.row_kinds}
    if config.data is None or config.extend or not takers:
        return problems
    catalog = Catalog.from_environment()
    with _noting(problems, "data"):
        rows = catalog.load(config.data)
        for index, entry in takers.items():
            with _noting(problems, f"policy.{index} ({entry.name})"):
                entry.check_data(rows, catalog.load)
    return problems


def rows_in_words(config: PipelineConfig) -> str:
    """How many rows the policies train on, and of which groups; empty where that is only known later."""
    from pipeline_core.catalog import Catalog
    from pipeline_core.row_groups import counts_of

    if config.data is None or config.extend or not config.policy:
        return ""
    table = Catalog.from_environment().load(config.data)
    axes = dict.fromkeys(axis for entry in config.policy if (axis := getattr(entry, "group_by", None)))
    counts = [", ".join(f"{name} {count}" for name, count in counts_of(table, axis).items()) for axis in axes]
    return f"{len(table)} rows of {config.data.entry}: {'; '.join(counts)}"


def check_sources(config: PipelineConfig, *, names_only: bool = False) -> list[str]:
    """Complain about unknown names, files that cannot work, and rows that do not suit the policies where all rows are
    at hand; else return what is missing. Unless `names_only` that is an error too.

    Raises:
        BadInput: every problem on a line, with its dotted location.
    """
    problems = source_problems(config)
    hopeless = (UnknownName, NotUsable) if names_only else BadInput
    fatal = {where: error for where, error in problems.items() if isinstance(error, hopeless)}
    if not problems:
        fatal = row_problems(config)
    if fatal:
        raise BadInput("\n".join(f"{where}: {error}" for where, error in fatal.items()))
    return [f"{where}: {error}" for where, error in problems.items()]


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
