"""Records runs in MLflow. Only this package imports mlflow.

Data that cannot be sent are kept and sent again until the run is closed, with a single warning. All run ids are
explicit: MLflow's active run belongs to a thread, and stages run in several threads.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from pipeline_core.files.sqlite_addresses import file_of
from pipeline_core.network.addresses import answering, shown_uri
from pipeline_core.network.proxies import through
from pipeline_core.store.processes import Process
from pipeline_core.tracking.mlflow.models import MlflowModels
from pipeline_core.tracking.mlflow.run import Connection, MlflowRun
from pipeline_core.tracking.mlflow.values import TAG_LENGTH, clean_name, cut
from pipeline_core.tracking.protocol import TrackingUnavailable

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from pipeline_core.store.places import Places

EXPERIMENT = "evenhand"
PARENT_TAG = "mlflow.parentRunId"
HOST_TAG = "evenhand.host"
SPACE_TAG = "evenhand.process_space"
OWNER_TAG = "evenhand.process"
"""Id and start of the process that owns a run; with `HOST_TAG` and `SPACE_TAG` they give a `Process`."""
FLUSH_SECONDS = 2.0
LOCK_SECONDS = 120.0
log = logging.getLogger(__name__)


class MlflowTracking(Connection):
    """A connection to an MLflow server or the embedded database."""

    registers = True
    libraries = ("mlflow",)
    advice = "Set MLFLOW_TRACKING_URI to a running server, or unset it"

    def __init__(self, uri: str, artifact_root: str | None = None) -> None:
        """Connect, and create the database and the experiment if they are missing.

        Raises:
            TrackingUnavailable: naming the address and the reason.
        """
        super().__init__(shown_uri(uri))
        self.uri = uri
        self._closing = threading.Event()
        self._sender: threading.Thread | None = None
        _quiet()
        from mlflow import MlflowClient

        try:
            with _alone(uri):
                self.client = MlflowClient(tracking_uri=uri)
                self.experiment_id = _experiment(self.client, EXPERIMENT, artifact_root if _embedded(uri) else None)
                pages = f"{self.place.rstrip('/')}/#/experiments/{self.experiment_id}/runs"
                self.pages = pages if uri.startswith("http") else None
        except Exception as error:
            raise self.unavailable(error) from error
        self._end_abandoned()

    @classmethod
    def at(cls, address: str, places: Places) -> MlflowTracking:
        """Open an address in the form of `MLFLOW_TRACKING_URI`, which is the default."""
        return cls(address or places.tracking_uri, places.artifact_root)

    @classmethod
    def described(cls, address: str, places: Places) -> str:
        """The address in words, with the state of a server."""
        uri = address or places.tracking_uri
        return answering(uri) if uri.startswith("http") else f"{shown_uri(uri)} (no server)"

    def begin(self, name: str, params: Mapping[str, Any], tags: Mapping[str, str], parent: str) -> MlflowRun:
        """Create a run in the experiment."""
        given = {**({PARENT_TAG: parent} if parent else {}), **tags, **owner_tags()}
        texts = {clean_name(key): cut(str(value), TAG_LENGTH) for key, value in given.items()}
        created = self.client.create_run(self.experiment_id, run_name=name, tags=texts)
        run = MlflowRun(self, created.info.run_id, name)
        with self._guard:
            if self._sender is None:
                self._sender = threading.Thread(target=self._send_often, daemon=True, name="tracking")
                self._sender.start()
        run.log_params(params)
        return run

    def _send_often(self) -> None:
        while not self._closing.wait(FLUSH_SECONDS):
            self.flush()

    def flush(self) -> None:
        """Send buffered data."""
        for run in self.open_runs():
            run.flush()

    def close(self) -> None:
        """Send buffered data, mark unfinished runs as KILLED, and stop. Safe to call twice."""
        if self._closing.is_set():
            return
        self._closing.set()
        super().close()
        if lost := sorted(run.name for run in self.open_runs()):
            log.warning("tracking at %s lost part of: %s", self.place, ", ".join(lost))

    @property
    def models(self) -> MlflowModels:
        """MLflow's own registry."""
        return MlflowModels(self.client, _embedded(self.uri), lambda: _alone(self.uri))

    def warn(self, error: Exception) -> None:
        """Log a single warning; until the next success, full buffers are not sent early."""
        self.in_trouble = True
        super().warn(error)

    def unavailable(self, error: Exception) -> TrackingUnavailable:
        """Error to raise when tracking cannot start, with the proxy in use."""
        where = f"{self.place}{through(self.uri)}"
        return TrackingUnavailable(f"tracking cannot start at {where}: {self.reason(error)}. {self.advice}")

    def reason(self, error: Exception) -> str:
        """The cause of an error, without credentials."""
        text = str(error).strip().replace(self.uri, self.place) or type(error).__name__
        cause = text.rpartition("(Caused by ")[2] if "(Caused by " in text else text  # urllib3 wraps it in its retries
        return cut(shown_uri(cause.splitlines()[0]).rstrip("."), 300)

    def _end_abandoned(self) -> None:
        """Mark runs as KILLED whose process is known to be gone: after `kill -9` it cannot do so itself."""
        try:
            # Processes of other machines and containers cannot be looked at from here.
            where = f"attributes.status = 'RUNNING' and tags.`{SPACE_TAG}` = '{owner_tags()[SPACE_TAG]}'"
            for run in self.client.search_runs([self.experiment_id], where, max_results=1000):
                owner = _owner(run.data.tags)
                if owner and owner.lives() is False:
                    self.client.set_terminated(run.info.run_id, "KILLED")
        except Exception as error:
            self.warn(error)


def owner_tags(process: Process | None = None) -> dict[str, str]:
    """Tags that name the process a run belongs to."""
    process = process or Process.current()
    return {HOST_TAG: process.host, SPACE_TAG: process.space, OWNER_TAG: f"{process.pid} {process.started}"}


def _owner(tags: Mapping[str, str]) -> Process | None:
    pid, _, started = tags.get(OWNER_TAG, "").partition(" ")
    return Process.read({"host": tags.get(HOST_TAG), "space": tags.get(SPACE_TAG), "pid": pid, "started": started})


def _quiet() -> None:
    """Make MLflow fail within seconds, without telemetry and migration logs. Variables that the user has set stay."""
    # By default MLflow 3 retries 7 times with 120 seconds each, for minutes after a server has gone.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    os.environ.setdefault("DO_NOT_TRACK", "true")
    import mlflow  # noqa: F401 - its own logging set-up must not come after ours

    for name in ("alembic", "urllib3.connectionpool", "mlflow.store.model_registry.abstract_store"):
        logging.getLogger(name).setLevel(logging.ERROR)
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # it logs errors that it also raises


def _embedded(uri: str) -> bool:
    return not uri.startswith(("http://", "https://", "databricks"))


def _alone(uri: str) -> AbstractContextManager[Any]:
    """File lock of an SQLite database: processes that create it, or a version, at the same time would break it."""
    database = file_of(uri)
    if database is None:
        return nullcontext()
    from filelock import FileLock

    database.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(f"{database}.lock", timeout=LOCK_SECONDS)


def _experiment(client: MlflowClient, name: str, artifact_root: str | None) -> str:
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        try:
            location = f"{artifact_root.rstrip('/')}/{clean_name(name)}" if artifact_root else None
            return str(client.create_experiment(name, artifact_location=location))
        except Exception:
            # Another process may have created it on the server between the two calls.
            experiment = client.get_experiment_by_name(name)
            if experiment is None:
                raise
    if experiment.lifecycle_stage == "deleted":
        client.restore_experiment(experiment.experiment_id)  # MLflow keeps its name taken, and refuses runs in it
    return str(experiment.experiment_id)
