"""The record of a pipeline run, `runs/<run id>/run.json`; printed by `--json` and read by `evenhand show`."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field, TypeAdapter

from pipeline_core.errors import BadInput, quoted
from pipeline_core.files.atomic import replace_file
from pipeline_core.files.json_files import Damaged, read_as
from pipeline_core.pipeline.plan import PlannedStage
from pipeline_core.report.figures.model import GateVerdict
from pipeline_core.stage.run import StageResult
from pipeline_core.store.processes import Process

FILE, BEGUN = "run.json", "begun"
LAST = "last"
"""Stands for the id of the newest completed run."""
log = logging.getLogger(__name__)
RunStatus = Literal["running", "completed", "failed", "killed"]


class StageRecord(BaseModel):
    """Facts about a finished stage, for scripts."""

    stage: str
    plugin: str
    label: str
    seed: int
    key: str
    digest: str
    reused: bool
    seconds: float
    metrics: dict[str, float]
    suite: str | None = None

    @classmethod
    def of(cls, result: StageResult, planned: PlannedStage) -> StageRecord:
        """Record of a stage's result, with the measured model's seed; `suite` if it differs from the plugin's name."""
        facts = result.model_dump(include=set(cls.model_fields) - {"seed", "suite"})
        suite = planned.suite if planned.suite not in ("", result.plugin) else None
        return cls(**facts, seed=planned.record_seed, suite=suite)


class RegisteredModel(BaseModel):
    """A registered version of a model that passed the gate."""

    model: str
    seed: int
    key: str
    name: str
    version: str
    alias: str
    uri: str
    """Address by which the registry loads the model."""
    in_store: bool
    """True if the version uses the files in the store, which are then kept as long as this record."""
    new: bool
    """False if an earlier run registered the same files."""

    @property
    def words(self) -> str:
        """Sentence about the registration."""
        how = "registered" if self.new else "was registered before"
        return f"{self.model} (seed {self.seed}) {how}: {self.name} version {self.version}, {self.uri}"


class RunRecord(BaseModel):
    """Record of a pipeline run: status, stages, failures and results."""

    run_id: str
    name: str
    status: RunStatus = "running"
    report: str | None = None
    tracking: str | None = None
    """Address of the run's page or folder in tracking."""
    stages: list[StageRecord] = []
    failures: dict[str, str] = {}
    gate: list[GateVerdict] = []
    registered: list[RegisteredModel] = []
    config: dict[str, Any] = {}
    started: float = Field(0.0, ge=0, allow_inf_nan=False)
    seconds: float = 0.0
    process: Process | None = None
    unsent: dict[str, list[str]] = {}
    """Data that tracking had not taken when the run ended, in words, by the name of its run there."""
    run_name: str = ""
    """Name of the run in Prefect and in tracking; `name` is that of the configuration."""
    flow_run_id: str | None = None
    """Id of the flow run in Prefect."""
    server: str | None = None
    """The Prefect server that knows the flow run (`flows.server.server_name`)."""
    deployment: str | None = None
    """Name of the deployment that the run belongs to: that of its schedule."""
    scheduled: bool = False
    """True if a schedule started the run, and not a person."""
    commit: str | None = None
    """Commit of the code in a checkout."""

    @classmethod
    def begin(cls, run_id: str, name: str, config: dict[str, Any], **facts: str | bool | None) -> RunRecord:
        """Record of a run that starts now, in this process."""
        begun = {"started": time.time(), "process": Process.current()}
        return cls(run_id=run_id, name=name, config=config, **begun, **facts)

    def end(self) -> RunRecord:
        """Set the duration of the run."""
        self.seconds = time.time() - self.started
        return self

    def public(self) -> dict[str, Any]:
        """Contents printed by `evenhand run --json`."""
        shown = self.model_dump(mode="json", include={"run_id", "status", "report", "stages"})
        shown["stages"] = [stage.model_dump(mode="json", exclude_none=True) for stage in self.stages]
        for name in ("gate", "registered"):
            if entries := getattr(self, name):
                shown[name] = [entry.model_dump(mode="json") for entry in entries]
        return shown

    def write(self, runs: Path) -> None:
        """Write the record into the run's folder in one rename. Called after every stage.

        While the run goes on the folder also holds the file `begun`, by which `begun_runs` finds it.
        """
        begun = runs / self.run_id / BEGUN
        if self.status == "running":
            begun.parent.mkdir(parents=True, exist_ok=True)
            begun.touch()
        with replace_file(runs / self.run_id / FILE, synced=False) as partial:
            partial.write_text(self.model_dump_json(indent=1), encoding="utf-8")
        if self.status != "running":
            begun.unlink(missing_ok=True)


_RECORDS = TypeAdapter(RunRecord)


def all_runs(runs: Path) -> list[RunRecord]:
    """All recorded runs, newest first; unreadable records are skipped with a warning."""
    return _records(runs.glob(f"*/{FILE}"))


def begun_runs(runs: Path) -> list[RunRecord]:
    """Runs that have begun and whose end nobody has recorded."""
    return _records(file.with_name(FILE) for file in runs.glob(f"*/{BEGUN}"))


def _records(files: Iterable[Path]) -> list[RunRecord]:
    records = []
    for file in files:
        try:
            records.append(read_as(_RECORDS, file))
        except FileNotFoundError:
            continue
        except Damaged as error:
            log.warning("left out: %s cannot be read: %s", file, error)
    return sorted(records, key=lambda record: -record.started)


def find_run(runs: Path, prefix: str) -> RunRecord | None:
    """The run whose id starts with `prefix`, or None; for `last` the newest completed run.

    Raises:
        BadInput: several runs match, or `prefix` is `last` and no run is completed.
    """
    records = all_runs(runs)
    if prefix == LAST:
        if newest := next((record for record in records if record.status == "completed"), None):
            return newest
        raise BadInput(f"no run is completed in {runs}; `EVENHAND_HOME` names the home of other runs")
    matches = [record for record in records if record.run_id.startswith(prefix)]
    if len(matches) > 1:
        raise BadInput(f"{len(matches)} runs have an id that starts with {quoted(prefix)}")
    return matches[0] if matches else None


def abandoned(record: RunRecord) -> bool:
    """True if a run is recorded as running although its process has ended."""
    return record.status == "running" and record.process is not None and record.process.lives() is False


def keys_in_use(runs: Path, newest: int) -> set[str]:
    """Keys of artifacts that the `newest` runs or running ones made or reused, or that any run registered."""
    records = all_runs(runs)
    registered = {model.key for record in records for model in record.registered if model.in_store}
    running = [record for record in records if record.status == "running" and not abandoned(record)]
    return registered | {stage.key for record in [*records[:newest], *running] for stage in record.stages}
