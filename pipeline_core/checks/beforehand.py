"""Checks before a run's first stage: unusable rows, and requirements that this machine lacks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from pipeline_core.checks.data import merging_entries, plugin_entries, takers_of_rows
from pipeline_core.checks.foresee import foresee
from pipeline_core.data.catalog import Catalog
from pipeline_core.data.entries import HubEntry
from pipeline_core.data.refs import DataRef, places_of
from pipeline_core.errors import BadInput, NotUsable, UnknownName
from pipeline_core.models.devices import choose_device
from pipeline_core.pipeline.config import PipelineConfig, label_of
from pipeline_core.plugin.registry import load_registry
from pipeline_core.plugin.specs import PluginConfig, PolicyConfig
from pipeline_core.stage.key import data_fingerprints

ProblemsByPlace = dict[str, BadInput]
"""Errors by place: `data`, `policy.0 (dpo)`, `evaluate.0.data (bbq)`."""


def check_sources(config: PipelineConfig, *, names_only: bool = False) -> list[str]:
    """Reject unusable names, files, rows and settings; return messages about requirements this machine lacks.

    With `names_only` (`evenhand check`) a lacking requirement is no error, and only direct training rows are read.
    Otherwise (before a run) lacking ones are errors, and the rows of all stages still to be made are read.

    Raises:
        BadInput: one line per problem, with its dotted location.
    """
    absent = source_problems(config)
    hopeless = (UnknownName, NotUsable) if names_only else BadInput  # the run may take place on another machine
    fatal = {where: error for where, error in absent.items() if isinstance(error, hopeless)}
    if not fatal:
        lacking = each_once(not_made(config, machine_problems(config)))
        # Rows of absent files cannot be read, and the absence is told already.
        rows = {} if absent else not_made(config, row_problems(config, from_files=not names_only))
        fatal = rows if names_only else lacking | rows
        absent |= lacking
    if fatal:
        raise BadInput("\n".join(f"{where}: {error}" for where, error in fatal.items()))
    return [f"{where}: {error}" for where, error in absent.items()]


@contextmanager
def noting(problems: ProblemsByPlace, where: str) -> Iterator[None]:
    """Record a `BadInput` of the block in `problems` under `where`."""
    try:
        yield
    except BadInput as error:
        problems[where] = error


def source_problems(config: PipelineConfig) -> ProblemsByPlace:
    """Missing data and files, by the place that names them."""
    catalog = Catalog.from_environment()
    problems: ProblemsByPlace = {}
    with noting(problems, "data"):
        catalog.fingerprint(config.data) if config.data else None
    for where, entry in plugin_entries(config):
        spec = load_registry().get(stage_of(where), entry.name)
        with noting(problems, where):
            data_fingerprints(entry, None, catalog)
            spec.sources(entry) if spec.sources else None
    return problems


def machine_problems(config: PipelineConfig) -> ProblemsByPlace:
    """Packages, keys and devices that stages need and this machine lacks, by place."""
    problems: ProblemsByPlace = {}
    device = config.runner.device
    for where, entry in plugin_entries(config):
        if config.runner.deployment_of(stage_of(where)):  # made on another machine
            continue
        with noting(problems, where):
            entry.check_machine()
            if device != "auto":  # which takes any device
                choose_device(device, entry.processes)
    return problems


def each_once(problems: ProblemsByPlace) -> ProblemsByPlace:
    """Problems without repetitions: each message only at its first place."""
    first: dict[str, str] = {}
    for where, error in problems.items():
        first.setdefault(str(error), where)
    return {where: problems[where] for where in first.values()}


def row_problems(config: PipelineConfig, *, from_files: bool) -> ProblemsByPlace:
    """Faulty rows, samples larger than their table, and settings that do not suit the rows, by place.

    Without `from_files` no files are read, except the rows that policies train on directly.
    """
    problems: ProblemsByPlace = {}
    look = _Look(Catalog.from_environment(), from_files)
    learners = _learners(config)
    if config.data and (learners or _takes_rows(config)):
        with noting(problems, "data"):
            look.rows(config.data, read=bool(learners))
    for where, entry in plugin_entries(config):
        place, _, plugin = where.partition(" ")
        for path, ref, _ in places_of(entry):
            with noting(problems, f"{place}.{path} {plugin}"):
                look.rows(ref)
    return problems or _unsuited(config, look)  # settings are compared with rows that can be read


def _learners(config: PipelineConfig) -> dict[int, PolicyConfig]:
    """Policies that train on the pipeline's own rows, by position."""
    entries = enumerate([] if config.extend else config.policy)  # extended rows do not exist yet
    return {index: entry for index, entry in entries if isinstance(entry, PolicyConfig) and entry.row_kinds}


def _unsuited(config: PipelineConfig, look: _Look) -> ProblemsByPlace:
    """Settings that do not suit the rows, as far as the rows are known before the run."""
    problems: ProblemsByPlace = {}
    if config.data:
        for index, entry in _learners(config).items():
            with noting(problems, f"policy.{index} ({entry.name})"):
                entry.check_data(look.catalog.load(config.data), look.catalog.load)
    for index, merging, parts in merging_entries(config, load_registry()):
        known = {label: _known(part, config.data, look) for label, part in parts.items()}
        with noting(problems, f"extend.{index} ({merging.name})"):
            merging.check_parts(known)
    return problems


def _known(part: PluginConfig | None, data: DataRef | None, look: _Look) -> int | None:
    """Number of rows of a part, or None if unknown. The part None is the pipeline's own rows."""
    if part is not None:
        return part.rows_made(look.count)
    return look.count(data) if data else None


class _Look:
    """Checks the rows of references, each once."""

    def __init__(self, catalog: Catalog, from_files: bool) -> None:
        self.catalog = catalog
        self._from_files = from_files
        self._counts: dict[DataRef, int | None] = {}

    def rows(self, ref: DataRef, *, read: bool = False) -> None:
        """Read the rows, or only check that there are enough for a sample.

        Raises:
            BadInput: faulty rows, or fewer than the sample needs.
        """
        if ref in self._counts:
            return
        if self.catalog.entry(ref.entry).kind == "sandbox" and ref.rows is None and ref.per_stratum is None:
            return  # generated rows are never at fault
        if read or (self._from_files and self._is_here(ref)):
            self._counts[ref] = self.catalog.load(ref).num_rows
            return
        known = self.catalog.known_rows(_all_of(ref)) if ref.rows is not None else None
        if known is not None and ref.rows is not None and ref.rows > known:
            raise BadInput(f"{ref.entry}: a sample of {ref.rows} rows was asked for and there are {known}")

    def count(self, ref: DataRef) -> int | None:
        """Number of rows of a reference, or None if unknown without reading them."""
        count = self._counts.get(ref)
        return self.catalog.known_rows(ref) if count is None else count

    def _is_here(self, ref: DataRef) -> bool:
        """True if rows can be read without a download. Hub rows are downloaded by the stage that needs them."""
        entry = self.catalog.entry(ref.entry)
        return not isinstance(entry, HubEntry) or self.catalog.known_rows(_all_of(ref)) is not None


def _all_of(ref: DataRef) -> DataRef:
    return ref.model_copy(update={"rows": None, "per_stratum": None})


def _takes_rows(config: PipelineConfig) -> bool:
    """True if any stage reads the pipeline's own rows."""
    takers = [(stage_of(where), entry) for where, entry in takers_of_rows(config)]
    return any(
        stage != "extend" or entry.row_kinds or load_registry().combines(stage, entry.name) for stage, entry in takers
    )


def not_made(config: PipelineConfig, problems: Mapping[str, BadInput]) -> ProblemsByPlace:
    """Problems of stages that are still to be made; stages in the store need neither rows nor keys."""
    if not problems:
        return {}
    made = {place: all(artifacts) for place, artifacts in _artifacts(config).items()}
    # `data` is no stage: it is needed as long as any stage is still to be made.
    if all(made.values()):
        return {}
    return {where: error for where, error in problems.items() if not made.get(_place(where))}


def _artifacts(config: PipelineConfig) -> dict[str, list[bool]]:
    """For each entry (`base`, `policy.0`): True for every artifact of it that is in the store."""
    places = {(stage_of(where), label_of(entry)): _place(where) for where, entry in plugin_entries(config)}
    in_store: dict[str, list[bool]] = {place: [] for place in places.values()}
    for seen in foresee(config):
        planned = seen.planned
        in_store[places[planned.stage, planned.suite or planned.label]].append(seen.artifact is not None)
    return in_store


def _place(where: str) -> str:
    """Place of an entry: `policy.0` for `policy.0.validation.data (dpo)`."""
    return ".".join(where.partition(" ")[0].split(".")[:2])


def stage_of(where: str) -> str:
    """Stage of an entry's place: `policy` for `policy.0 (dpo)`."""
    return _place(where).partition(".")[0]
