"""A run in MLflow: buffers logged data and sends them to the server in batches, until the server has all of them.

What the server has not taken can be written to a file (`MlflowRun.kept`), from which another process sends it.
"""

from __future__ import annotations

import json
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from typing_extensions import TypedDict

from pipeline_core.tracking.mlflow.tables import TAG as TABLES_TAG
from pipeline_core.tracking.mlflow.tables import TrackedTables
from pipeline_core.tracking.mlflow.values import (
    METRICS_PER_BATCH,
    PARAM_LENGTH,
    PARAMS_PER_BATCH,
    TAG_LENGTH,
    MlflowNames,
    batches,
    clean_name,
    cut,
)
from pipeline_core.tracking.protocol import TrackedRun, Tracking, TrackingStatus
from pipeline_core.tracking.values import finite, flatten

MetricPoint = tuple[str, float, int, int]
"""Name, value, time in milliseconds, step."""
TextArtifact = tuple[str, str]
FileArtifact = tuple[Path, str | None]
"""Path of a file or folder, and its folder among the artifacts."""
REFUSALS = ("INVALID_PARAMETER_VALUE", "BAD_REQUEST", "RESOURCE_DOES_NOT_EXIST")
"""Error codes of requests that fail again on every retry."""

FILE_SECONDS = 30.0
"""Seconds after a failed upload in which stages do not wait for another try."""
KEPT_METRICS = 100_000
"""Metrics kept while the server is away; the oldest are dropped first."""


TOKEN_TAG = "evenhand.token"
"""Tag that tells a run from any other before it has an id: a request without an answer may have created it."""


class Connection(Tracking):
    """Tracking with the attributes that an `MlflowRun` needs."""

    client: Any
    """An `MlflowClient`."""
    experiment_id: str
    pages: str | None
    """Address of the experiment's runs in the server's pages."""
    in_trouble = False
    """True from a failure to the next success. Meanwhile only `Connection.flush` tries: stages must not wait for it."""

    def flushed(self, run: MlflowRun) -> None:
        """Called after a run has tried to send what it holds."""


class KeptRun(TypedDict):
    """Data of a run that a server has not taken, as written by `MlflowRun.kept`."""

    id: str
    name: str
    token: str
    started: int
    requested: bool
    params: dict[str, str]
    tags: dict[str, str]
    metrics: list[MetricPoint]
    files: list[tuple[str, str | None]]
    texts: dict[str, str]
    tables: dict[str, list[dict[str, Any]]]
    status: TrackingStatus | None
    ended: int
    sent_status: bool


class MlflowRun(TrackedRun):
    """A run in MLflow. No method but `create` raises; a method that fails logs a warning.

    The id is empty until the server has created the run, at `create` or at the first `flush` that it answers.
    """

    title = "MLflow run"

    def __init__(self, tracking: Connection, name: str, tags: Mapping[str, object]) -> None:
        super().__init__("", name)
        self._tracking = tracking
        self.token = uuid.uuid4().hex
        self._started = int(1000 * time.time())
        self._was_requested = False
        self._files: list[FileArtifact] = []
        self._files_due = 0.0
        self._texts: dict[str, str] = {}
        self._metric_names, self._param_names = MlflowNames(), MlflowNames()
        self._metrics: list[MetricPoint] = []
        self._tags: dict[str, str] = {}
        self._params: dict[str, str] = {}
        self._tables = TrackedTables()
        self._sent_status = False
        self._ended = 0
        self._buffer = threading.Lock()
        self._sending = threading.Lock()
        self.set_tags_later(tags)

    def create(self) -> None:
        """Create the run, or find the one that an earlier request has created. Raises MLflow's errors."""
        client, experiment = self._tracking.client, self._tracking.experiment_id
        if self._was_requested:
            same = f"tags.`{TOKEN_TAG}` = '{self.token}'"
            for found in client.search_runs([experiment], same, max_results=1):
                self.id = found.info.run_id
                return
        self._was_requested = True
        with self._buffer:
            tags = {TOKEN_TAG: self.token, **self._tags}
        created = client.create_run(experiment, start_time=self._started, tags=tags, run_name=self.name)
        self.id = created.info.run_id
        self._tracking.in_trouble = False
        self._sent(self._tags, tags)

    @property
    def url(self) -> str | None:
        """Address of the run's page for a browser; None with the embedded database, or before the run is created."""
        return f"{self._tracking.pages}/{self.id}" if self._tracking.pages and self.id else None

    def artifact_url(self, path: str) -> str | None:
        """Address of the page that shows an artifact; None with the embedded database."""
        return f"{self.url}/artifacts/{quote(path, safe='')}" if self.url else None

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0, seconds: float | None = None) -> None:
        """Buffer metrics; a NaN or infinite metric is counted under `nonfinite/<name>` instead."""
        moment = int(1000 * (seconds or time.time()))
        with self._buffer:
            for name, value in finite(metrics).items():
                self._metrics.append((self._metric_names[name], value, moment, int(step)))
            del self._metrics[:-KEPT_METRICS]
            # While the server is away every step of a training would wait for it here.
            many = len(self._metrics) >= METRICS_PER_BATCH and not self._tracking.in_trouble
        if many:
            self.flush()

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Log nested parameters as flat ones. Long values are cut; then `params.json` holds all parameters in full."""
        flat = flatten(params)
        with self._buffer:
            self._params |= {self._param_names[name]: cut(text, PARAM_LENGTH) for name, text in flat.items()}
        self.flush()
        if any(len(text) > PARAM_LENGTH for text in flat.values()):
            self.log_text(json.dumps(params, indent=1, default=str, ensure_ascii=False, skipkeys=True), "params.json")

    def set_tags(self, tags: Mapping[str, object]) -> None:
        """Set tags."""
        self.set_tags_later(tags)
        self.flush()

    def set_tags_later(self, tags: Mapping[str, object]) -> None:
        """Set tags with the next data that are sent."""
        with self._buffer:
            self._tags |= {clean_name(name): cut(str(value), TAG_LENGTH) for name, value in tags.items()}

    def log_artifact(self, path: Path, folder: str | None = None) -> None:
        """Copy a file, or all files below a folder, to the run's artifacts. It must stay until it is sent."""
        with self._buffer:
            self._files.append((path.absolute(), folder))
        self.flush()

    def log_text(self, text: str, name: str) -> None:
        """Log a text as the artifact `name`."""
        with self._buffer:
            self._texts[name] = text
        self.flush()

    def log_rows(self, table: str, rows: Sequence[Mapping[str, Any]], *, anew: bool = False) -> None:
        """Add rows to a table, the artifact `<table>.json` of the run. `anew`: replace earlier rows."""
        self._tables.add(table, rows, anew=anew)

    def finish(self, status: TrackingStatus = "FINISHED") -> None:
        """Send buffered data and end the run; the first call decides the status."""
        with self._buffer:
            super().finish(status)
            self._ended = self._ended or int(1000 * time.time())
        self.flush()

    def flush(self) -> None:
        """Send buffered data; keep them if that fails, or while the server is away."""
        self.send(anyway=False)

    def send(self, *, anyway: bool = True) -> bool:
        """Like `flush`; `anyway`: also try a server that was away the last time. False if the server is away."""
        is_away = not anyway and self._tracking.in_trouble
        if not self._sending.acquire(blocking=not is_away):
            return False  # another thread asks the server just now, and keeps what it does not take
        try:
            is_there = not is_away and self._try_all(with_files=anyway or time.monotonic() >= self._files_due)
            self._tracking.flushed(self)
        finally:
            self._sending.release()
        return is_there

    def _try_all(self, *, with_files: bool) -> bool:
        """Send all that waits, in an order in which the end comes last. False if that fails."""
        try:
            if not self.id:
                self.create()
            self._send_texts(self._params, lambda batch: self._deliver(params=batch))
            self._send_texts(self._tags, lambda batch: self._deliver(tags=batch))
            while self._send_metrics():
                pass
            if with_files:
                self._send_files()
            self._send_tables()
            self._send_status()
        except Exception as error:
            self._tracking.in_trouble = True
            self._tracking.warn(error)
            return False
        return True

    @property
    def waiting(self) -> list[str]:
        """Data that the server has not taken, in words."""
        with self._buffer:
            counts = {
                "parameter": len(self._params),
                "tag": len(self._tags),
                "metric": len(self._metrics),
                "file": len(self._files) + len(self._texts),
                "table": len(self._tables.waiting),
            }
            has_no_end = self.status and not self._sent_status
        words = [f"{count} {name}{'s' if count > 1 else ''}" for name, count in counts.items() if count]
        return [*([] if self.id else ["the run itself"]), *words, *(["its end"] if has_no_end else [])]

    def kept(self) -> KeptRun:
        """All that the server has not taken, as JSON."""
        with self._buffer:
            return {
                "id": self.id,
                "name": self.name,
                "token": self.token,
                "started": self._started,
                "requested": self._was_requested,
                "params": dict(self._params),
                "tags": dict(self._tags),
                "metrics": list(self._metrics),
                "files": [(str(path), folder) for path, folder in self._files],
                "texts": dict(self._texts),
                "tables": self._tables.kept(),
                "status": self.status,
                "ended": self._ended,
                "sent_status": self._sent_status,
            }

    @classmethod
    def of(cls, tracking: Connection, kept: KeptRun) -> MlflowRun:
        """The run of another process, from what that has kept."""
        run = cls(tracking, kept["name"], kept["tags"])
        run.id, run.token, run._started = kept["id"], kept["token"], kept["started"]
        run._was_requested, run._sent_status = kept["requested"], kept["sent_status"]
        run._params, run._metrics, run._texts = dict(kept["params"]), list(kept["metrics"]), dict(kept["texts"])
        run._files = [(Path(path), folder) for path, folder in kept["files"]]
        for table, rows in kept["tables"].items():
            run._tables.add(table, rows)
        run.status, run._ended = kept["status"], kept["ended"]
        return run

    def _send_files(self) -> None:
        """Send artifacts; a store of artifacts that fails must not hold back other data."""
        with self._buffer:
            files, texts = list(self._files), list(self._texts.items())
        for file in files:
            if not self._try(self._upload, *file):
                self._files_due = time.monotonic() + FILE_SECONDS
                return
            with self._buffer:
                self._files.remove(file)
        for name, text in texts:
            if not self._try(self._upload_text, text, name):
                self._files_due = time.monotonic() + FILE_SECONDS
                return
            with self._buffer:
                if self._texts.get(name) == text:
                    del self._texts[name]

    def _try(self, send: Callable[..., object], *arguments: object) -> bool:
        """True if another try is of no use: MLflow has taken what is sent, or refused it, or a file is gone."""
        try:
            send(*arguments)
        except Exception as error:
            self._tracking.warn(error)
            return isinstance(error, FileNotFoundError) or getattr(error, "error_code", "") in REFUSALS
        self._tracking.in_trouble = False
        return True

    def _send_texts(self, items: dict[str, str], deliver: Callable[[list[TextArtifact]], None]) -> None:
        with self._buffer:
            waiting = list(items.items())
        for batch in batches(waiting, PARAMS_PER_BATCH):
            deliver(batch)
            self._sent(items, dict(batch))

    def _sent(self, items: dict[str, str], sent: Mapping[str, str]) -> None:
        with self._buffer:
            for name, text in sent.items():
                if items.get(name) == text:  # a value set meanwhile is still to be sent
                    del items[name]

    def _send_tables(self) -> None:
        """Send tables; a store of artifacts that fails must not hold back other data."""
        try:
            ended = self.status is not None
            sent = self._tables.send(self._upload_text, all_of_them=ended)
        except Exception as error:
            self._tracking.warn(error)
            return
        if sent:
            self._deliver(tags=[(TABLES_TAG, self._tables.tag)])

    def _send_metrics(self) -> bool:
        with self._buffer:
            batch = self._metrics[:METRICS_PER_BATCH]
        if not batch:
            return False
        self._deliver(metrics=batch)
        with self._buffer:
            sent = set(map(id, batch))  # by identity: the oldest may have been dropped meanwhile
            self._metrics[: len(batch)] = [metric for metric in self._metrics[: len(batch)] if id(metric) not in sent]
        return True

    def _send_status(self) -> None:
        if self.status and not self._sent_status:
            self._sent_status = self._try(self._tracking.client.set_terminated, self.id, self.status, self._ended)
        if self._sent_status and not self.waiting:  # files and tables may be sent after the end
            self._tracking.forget(self)

    def _deliver(
        self,
        metrics: Sequence[MetricPoint] = (),
        params: Sequence[TextArtifact] = (),
        tags: Sequence[TextArtifact] = (),
    ) -> None:
        """Send a batch within MLflow's limits. If MLflow refuses its content, the batch is dropped with a warning."""
        from mlflow.entities import Metric, Param, RunTag
        from mlflow.exceptions import MlflowException

        try:
            self._tracking.client.log_batch(
                self.id,
                metrics=[Metric(*point) for point in metrics],
                params=[Param(*param) for param in params],
                tags=[RunTag(*tag) for tag in tags],
            )
        except MlflowException as error:
            if error.error_code not in REFUSALS:
                raise
            self._tracking.warn(error)
        self._tracking.in_trouble = False  # the server has answered, if only to refuse

    def _upload(self, path: Path, folder: str | None = None) -> None:
        client = self._tracking.client
        (client.log_artifacts if path.is_dir() else client.log_artifact)(self.id, str(path), folder)

    def _upload_text(self, text: str, name: str) -> None:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            file = Path(folder) / Path(name).name
            file.write_text(text, encoding="utf-8", errors="replace")
            self._upload(file, str(Path(name).parent) if Path(name).parent.name else None)
