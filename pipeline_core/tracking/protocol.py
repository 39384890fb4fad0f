"""Tracking interface of flows and studies. A backend is a module of this package with a class `Backend`, a `Tracking`.

Tracking must not end a training. A backend that cannot start raises an error at once; later failures are warnings.
Except in the registry of models, no method returns data from a server, so a backend may send everything later.
"""

from __future__ import annotations

import atexit
import json
import logging
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pipeline_core.errors import BadInput
from pipeline_core.tracking.registry import Held, ModelRegistry

if TYPE_CHECKING:
    from pipeline_core.stage.run import StageResult
    from pipeline_core.store.places import Places
    from pipeline_core.tracking.lineage import StageLineage, TrackedData

SAMPLES = "samples.jsonl"
"""File of an artifact that tracking shows as a table."""
TrackingStatus = Literal["FINISHED", "FAILED", "KILLED"]
log = logging.getLogger(__name__)


class TrackingUnavailable(BadInput):
    """Tracking could not be reached or written to at the start of a run."""


class TrackedRun:
    """A run that is recorded nowhere; backends override its methods. No method raises or waits for long.

    A backend overrides at least `log_metrics`, `set_tags` and `finish`; the other methods may keep nothing. Errors go
    to `Tracking.warn`.
    """

    title: ClassVar[str] = "Tracked run"
    """Text of links to a run's page."""

    def __init__(self, run_id: str = "", name: str = "") -> None:
        self.id = run_id
        self.name = name
        self.status: TrackingStatus | None = None

    @property
    def url(self) -> str | None:
        """Address of the run's page; None if there is none."""
        return None

    def artifact_url(self, path: str) -> str | None:  # noqa: ARG002 - backends use it
        """Address of the page that shows the artifact `path`; None if there is none."""
        return None

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0, seconds: float | None = None) -> None:
        """Record metrics at a step and a time (seconds since 1970; now where not given).

        A backend passes them through `tracking.values.finite`: a NaN or infinite metric is counted under
        `nonfinite/<name>` instead.
        """

    def set_tags(self, tags: Mapping[str, object]) -> None:
        """Set tags."""

    def log_artifact(self, path: Path, folder: str | None = None) -> None:
        """Copy a file, or all files below a folder, to the run's artifacts. It must stay until it is sent (`flush`)."""

    def log_rows(self, table: str, rows: Sequence[Mapping[str, Any]], *, anew: bool = False) -> None:
        """Add rows to a table. `anew`: replace earlier rows."""

    def flush(self) -> None:
        """Send buffered data."""

    def finish(self, status: TrackingStatus = "FINISHED") -> None:
        """End the run; the first call decides the status. A backend then calls `Tracking.forget`."""
        self.status = self.status or status

    def on_event(self, event: Mapping[str, Any]) -> None:
        """Take a training event (`pipeline_core.plugin.events`): metrics at a step, or rows of a table."""
        if "table" in event:
            self.log_rows(event["table"], event["rows"])
            return
        self.log_metrics(event.get("metrics", {}), step=event.get("step", 0), seconds=event.get("time"))

    def log_result(self, result: StageResult, log_file: Path | None = None, models: StageLineage | None = None) -> None:
        """Log tags, metrics, small files and models of a finished stage; a reused stage gets the tag `reused_from`."""
        facts = {name: getattr(result, name) for name in ("stage", "plugin", "label", "seed", "key", "digest")}
        now = time.time()
        self.set_tags(facts | ({"reused_from": result.key} if result.reused else {}))
        self.log_metrics({**result.metrics, "perf/stage_seconds": result.seconds}, seconds=now)
        files = [result.path / name for name in ("measures.json", "manifest.json", SAMPLES)]
        there = [file for file in (*files, log_file) if file and file.exists()]
        if result.reused:
            self.log_origin(result.key, there)
        else:
            self.log_files(there)
        if models:
            self.log_models(models, result.metrics, now)

    def log_files(self, files: Sequence[Path]) -> None:
        """Log small files of a stage; samples are a table."""
        for file in files:
            if file.name == SAMPLES:
                self.log_rows(file.stem, rows_of(file), anew=True)
            else:
                self.log_artifact(file)

    def log_data(self, data: Sequence[TrackedData]) -> None:
        """Record the rows that the run reads."""

    def log_models(self, models: StageLineage, metrics: Mapping[str, float], seconds: float) -> None:
        """Record the models that the run makes and uses; `metrics` at `seconds` are those of the measured model."""

    def log_origin(self, key: str, files: Sequence[Path]) -> None:  # noqa: ARG002 - backends use it
        """Link the run that made the reused artifact `key`, or, if there is none, log the files."""
        self.log_files(files)

    def watch_machine(self) -> None:
        """Record the load of this machine until the run ends."""

    def __enter__(self) -> TrackedRun:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if kind is None:
            self.finish("FINISHED")
        else:
            self.finish("FAILED" if issubclass(kind, Exception) else "KILLED")


def rows_of(file: Path) -> list[dict[str, Any]]:
    """Rows of a file of JSON lines."""
    with file.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def in_words(unsent: Mapping[str, Sequence[str]]) -> str:
    """Words for data that tracking has not taken: `policy:dpo (12 metrics, its end); report (2 files)`."""
    return "; ".join(f"{name} ({', '.join(what)})" for name, what in sorted(unsent.items()))


class Tracking(ABC):
    """Records runs: a parent for a pipeline run, a child for each stage. Thread-safe; close it or use a `with`."""

    registers: ClassVar[bool] = False
    """True if `models` is a registry."""
    libraries: ClassVar[tuple[str, ...]] = ()
    """Modules that are slow to import; a run loads them while it waits for other work."""
    advice: ClassVar[str] = "EVENHAND_TRACKING names another place"

    def __init__(self, place: str) -> None:
        """`place`: its address for messages, without credentials."""
        self.place = place
        self.unsent: dict[str, list[str]] = {}
        """After `close`: what could not be recorded, in words, by the run's name."""
        self.left: dict[str, list[str]] = {}
        """Likewise for data that earlier processes left and this one could not record either."""
        self._runs: list[TrackedRun] = []
        self._guard = threading.Lock()
        self._warned = False
        atexit.register(self.close)

    @classmethod
    @abstractmethod
    def at(cls, address: str, places: Places) -> Tracking:
        """Open `address`; if it is empty, the backend's default in `places`. Ends runs whose process is gone.

        Raises:
            TrackingUnavailable: naming the address and the reason.
        """

    @classmethod
    @abstractmethod
    def described(cls, address: str, places: Places) -> str:
        """The place and its state in words, without opening it."""

    @abstractmethod
    def begin(self, name: str, params: Mapping[str, Any], tags: Mapping[str, str], parent: str) -> TrackedRun:
        """Start a run, below the run with the id `parent` unless that is empty. May raise any exception.

        `params` is the configuration, nested (`tracking.values.flatten` makes dotted names of it).
        """

    @property
    def models(self) -> ModelRegistry:
        """The registry of models beside the runs."""
        raise BadInput(f"no models can be registered at {self.place}")

    def held(self) -> Held:
        """Runs that a registry names, so that they must not be deleted. Raises on failure."""
        return Held()

    def delete_run(self, run_id: str) -> None:  # noqa: B027 - a backend that cannot delete keeps what it has
        """Delete a pipeline's run with its stages and files, and its versions without an alias. Raises on failure.

        A run that is not there is no failure.
        """

    def start_run(self, name: str, params: Mapping[str, Any] = {}, tags: Mapping[str, str] = {}) -> TrackedRun:
        """Start the parent run of a pipeline run. Raises `TrackingUnavailable`."""
        try:
            return self._begin(name, params, tags, "")
        except Exception as error:
            raise self.unavailable(error) from None  # the cause may hold the address with its secret

    def child(
        self, parent: TrackedRun | str, name: str, params: Mapping[str, Any] = {}, tags: Mapping[str, str] = {}
    ) -> TrackedRun:
        """Start a stage's run below `parent` (a run or its id). Never raises; after a failure nothing is recorded."""
        try:
            return self._begin(name, params, tags, parent if isinstance(parent, str) else parent.id)
        except Exception as error:
            self.warn(error)
            return TrackedRun(name=name)

    def _begin(self, name: str, params: Mapping[str, Any], tags: Mapping[str, str], parent: str) -> TrackedRun:
        run = self.begin(name, params, tags, parent)
        with self._guard:
            self._runs.append(run)
        return run

    def open_runs(self) -> list[TrackedRun]:
        """Runs that are not complete, in the order of their start."""
        with self._guard:
            return list(self._runs)

    def forget(self, run: TrackedRun) -> None:
        """Remove a run from the open runs; a backend calls it for a run that is complete."""
        with self._guard:
            if run in self._runs:
                self._runs.remove(run)

    def close(self) -> None:
        """Mark unfinished runs as KILLED, and stop. Safe to call twice."""
        atexit.unregister(self.close)  # else it would keep this object until the process ends
        for run in reversed(self.open_runs()):  # children before their parent
            run.finish("KILLED")

    def __enter__(self) -> Tracking:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def warn(self, error: Exception) -> None:
        """Log a warning that tracking is in trouble, only once; later errors are logged for debugging."""
        with self._guard:
            first, self._warned = not self._warned, True
        message = "tracking at %s is in trouble, the run goes on: %s"
        log.log(logging.WARNING if first else logging.DEBUG, message, self.place, self.reason(error))

    def unavailable(self, error: Exception) -> TrackingUnavailable:
        """Error to raise when tracking cannot start."""
        return TrackingUnavailable(f"tracking cannot start at {self.place}: {self.reason(error)}. {self.advice}")

    def reason(self, error: Exception) -> str:
        """Text of an error, or the name of its class."""
        return str(error).strip() or type(error).__name__
