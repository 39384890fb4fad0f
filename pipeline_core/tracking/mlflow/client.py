"""Records runs in MLflow: one parent run per pipeline run, one child per stage. The only module that imports mlflow.

Nothing here may end a training. Starting fails at once and says why; from then on what cannot be sent is kept, warned
about once, and tried again until the run is closed. Explicit run ids throughout: MLflow's active run belongs to a
thread, and stages run in several.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline_core.errors import BadInput
from pipeline_core.files.sqlite_addresses import file_of
from pipeline_core.network.proxies import through
from pipeline_core.store.processes import Process
from pipeline_core.tracking.mlflow.models import ModelRegistry
from pipeline_core.tracking.mlflow.run import Point, Status, Text, TrackedRun
from pipeline_core.tracking.mlflow.values import TAG_LENGTH, clean_name, cut, shown_uri

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from pipeline_core.store.places import Places

EXPERIMENT = "evenhand"
PARENT_TAG = "mlflow.parentRunId"
HOST_TAG = "evenhand.host"
SPACE_TAG = "evenhand.process_space"
OWNER_TAG = "evenhand.process"
"""Together the process a run belongs to (`pipeline_core.store.processes`): its id and when it started."""
FLUSH_SECONDS = 2.0
LOCK_SECONDS = 120.0
REFUSALS = ("INVALID_PARAMETER_VALUE", "BAD_REQUEST", "RESOURCE_DOES_NOT_EXIST")
"""Answers that stay the same however often one asks."""
log = logging.getLogger(__name__)


class TrackingUnavailable(BadInput):
    """The tracking database or server could not be reached when the run was to start."""


class Tracking:
    """A connection to an MLflow server or the embedded database. Thread-safe; close it, or use it in a `with`."""

    def __init__(self, uri: str, artifact_root: str | None = None, experiment: str = EXPERIMENT) -> None:
        """Connect, and create the database and the experiment where they are missing.

        Raises:
            TrackingUnavailable: naming the address and the reason.
        """
        self.uri = uri
        self._runs: dict[str, TrackedRun] = {}
        self._guard = threading.Lock()
        self._warned = False
        self.in_trouble = False
        self._closing = threading.Event()
        self._sender: threading.Thread | None = None
        _quiet()
        try:
            with _alone(uri):
                self._client = _connect(uri)
                self.experiment_id = _experiment(self._client, experiment, artifact_root if _embedded(uri) else None)
        except Exception as error:
            raise TrackingUnavailable(_no_tracking(uri, error)) from error
        self._end_abandoned()
        atexit.register(self.close)

    @classmethod
    def at(cls, places: Places, experiment: str = EXPERIMENT) -> Tracking:
        """The tracking that `places` names."""
        return cls(places.tracking_uri, places.artifact_root, experiment)

    def start_run(
        self, name: str, params: Mapping[str, Any] | None = None, tags: Mapping[str, str] | None = None
    ) -> TrackedRun:
        """Start the parent run of a pipeline run. Raises `TrackingUnavailable`."""
        try:
            run = self._create(name, tags or {})
        except Exception as error:
            raise TrackingUnavailable(_no_tracking(self.uri, error)) from error
        run.log_params(params or {})
        return run

    def child(
        self,
        parent: TrackedRun | str,
        name: str,
        params: Mapping[str, Any] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> TrackedRun:
        """Start a stage's run below `parent` (a run or its id). Never raises: without a server it records nothing."""
        parent_id = parent if isinstance(parent, str) else parent.id
        try:
            run = self._create(name, {PARENT_TAG: parent_id, **(tags or {})})
        except Exception as error:
            self.warn(error)
            return TrackedRun(self, "", name)
        run.log_params(params or {})
        return run

    def _create(self, name: str, tags: Mapping[str, str]) -> TrackedRun:
        texts = {clean_name(key): cut(str(value), TAG_LENGTH) for key, value in {**tags, **owner_tags()}.items()}
        created = self._client.create_run(self.experiment_id, run_name=name, tags=texts)
        run = TrackedRun(self, created.info.run_id, name)
        with self._guard:
            self._runs[run.id] = run
            if self._sender is None:
                self._sender = threading.Thread(target=self._send_often, daemon=True, name="tracking")
                self._sender.start()
        return run

    def _send_often(self) -> None:
        while not self._closing.wait(FLUSH_SECONDS):
            self.flush()

    def flush(self) -> None:
        """Send what is waiting."""
        with self._guard:
            runs = list(self._runs.values())
        for run in runs:
            run.flush()

    def close(self) -> None:
        """Send what is waiting, mark runs nobody finished as KILLED, and stop. Safe to call twice."""
        if self._closing.is_set():
            return
        self._closing.set()
        atexit.unregister(self.close)
        with self._guard:
            runs = list(self._runs.values())
        for run in reversed(runs):
            run.finish(run.status or "KILLED")
        lost = sorted(run.name for run in runs if not run.sent)
        if lost:
            log.warning("tracking at %s lost part of: %s", shown_uri(self.uri), ", ".join(lost))

    def __enter__(self) -> Tracking:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def deliver(
        self, run_id: str, metrics: Sequence[Point] = (), params: Sequence[Text] = (), tags: Sequence[Text] = ()
    ) -> None:
        """Send one batch within MLflow's limits. One that MLflow refuses for its content is given up with a warning."""
        from mlflow.entities import Metric, Param, RunTag
        from mlflow.exceptions import MlflowException

        try:
            self._client.log_batch(
                run_id,
                metrics=[Metric(*point) for point in metrics],
                params=[Param(*param) for param in params],
                tags=[RunTag(*tag) for tag in tags],
            )
        except MlflowException as error:
            if error.error_code not in REFUSALS:
                raise
            self.warn(error)
        self.in_trouble = False

    def end(self, run_id: str, status: Status, milliseconds: int) -> None:
        """Set a run's final status."""
        self._client.set_terminated(run_id, status, milliseconds)

    def upload(self, run_id: str, path: Path, folder: str | None) -> None:
        """Store a file, or all files below a folder, as artifacts."""
        send = self._client.log_artifacts if path.is_dir() else self._client.log_artifact
        send(run_id, str(path), folder)

    @property
    def models(self) -> ModelRegistry:
        """The registry of models beside the runs. What it cannot do it raises."""
        return ModelRegistry(self._client, _embedded(self.uri), lambda: _alone(self.uri))

    def artifact_uri(self, run_id: str) -> str:
        """Where a run's artifacts are."""
        return str(self._client.get_run(run_id).info.artifact_uri)

    def url_of(self, run_id: str) -> str | None:
        """Address of a run in the server's pages; None with the embedded database."""
        if not self.uri.startswith("http"):
            return None
        return f"{shown_uri(self.uri).rstrip('/')}/#/experiments/{self.experiment_id}/runs/{run_id}"

    def warn(self, error: Exception) -> None:
        """Say once that tracking is in trouble."""
        self.in_trouble = True
        with self._guard:
            first, self._warned = not self._warned, True
        message = "tracking at %s is in trouble, the run goes on: %s"
        log.log(logging.WARNING if first else logging.DEBUG, message, shown_uri(self.uri), _reason(error, self.uri))

    def forget(self, run: TrackedRun) -> None:
        """Stop sending for a run that is complete."""
        with self._guard:
            self._runs.pop(run.id, None)

    def _end_abandoned(self) -> None:
        """Mark runs as KILLED whose process is seen to be gone: `kill -9` leaves no chance to say so."""
        try:
            where = f"attributes.status = 'RUNNING' and tags.`{SPACE_TAG}` = '{owner_tags()[SPACE_TAG]}'"
            for run in self._client.search_runs([self.experiment_id], where, max_results=1000):
                owner = _owner(run.data.tags)
                if owner and owner.lives() is False:
                    self._client.set_terminated(run.info.run_id, "KILLED")
        except Exception as error:
            self.warn(error)


def owner_tags(process: Process | None = None) -> dict[str, str]:
    """The tags that say which process a run belongs to."""
    process = process or Process.current()
    return {HOST_TAG: process.host, SPACE_TAG: process.space, OWNER_TAG: f"{process.pid} {process.started}"}


def _owner(tags: Mapping[str, str]) -> Process | None:
    pid, _, started = tags.get(OWNER_TAG, "").partition(" ")
    return Process.read({"host": tags.get(HOST_TAG), "space": tags.get(SPACE_TAG), "pid": pid, "started": started})


def _quiet() -> None:
    """Fail within seconds rather than minutes; no telemetry, no migration chatter. What the user has set stays."""
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    os.environ.setdefault("DO_NOT_TRACK", "true")
    import mlflow  # noqa: F401 - its own logging set-up must not come after ours

    for name in ("alembic", "urllib3.connectionpool", "mlflow.store.model_registry.abstract_store"):
        logging.getLogger(name).setLevel(logging.ERROR)
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # it prints a traceback and raises it too


def _embedded(uri: str) -> bool:
    return not uri.startswith(("http://", "https://", "databricks"))


def _alone(uri: str) -> AbstractContextManager[Any]:
    """A lock around what breaks an SQLite database when processes race: its creation, and the making of a version."""
    database = file_of(uri)
    if database is None:
        return nullcontext()
    from filelock import FileLock

    database.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(f"{database}.lock", timeout=LOCK_SECONDS)


def _connect(uri: str) -> MlflowClient:
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=uri)


def _experiment(client: MlflowClient, name: str, artifact_root: str | None) -> str:
    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            location = f"{artifact_root.rstrip('/')}/{clean_name(name)}" if artifact_root else None
            return str(client.create_experiment(name, artifact_location=location))
        except Exception:
            # Another process may have created it on the server between the two calls.
            found = client.get_experiment_by_name(name)
            if found is None:
                raise
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    return str(found.experiment_id)


def _no_tracking(uri: str, error: Exception) -> str:
    where = shown_uri(uri)
    return (
        f"tracking cannot start at {where}{through(uri)}: {_reason(error, uri)}. Set MLFLOW_TRACKING_URI to a running "
        "server, or unset it"
    )


def _reason(error: Exception, uri: str) -> str:
    text = str(error).strip().replace(uri, shown_uri(uri)) or type(error).__name__
    cause = text.rpartition("(Caused by ")[2] if "(Caused by " in text else text
    return cut(shown_uri(cause.splitlines()[0]).rstrip("."), 300)
