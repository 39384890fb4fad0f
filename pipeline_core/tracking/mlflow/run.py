"""A run in MLflow: buffers logged data and sends them to the server in batches, with retries."""

from __future__ import annotations

import json
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

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
REFUSALS = ("INVALID_PARAMETER_VALUE", "BAD_REQUEST", "RESOURCE_DOES_NOT_EXIST")
"""Error codes of requests that fail again on every retry."""

KEPT_METRICS = 100_000
"""Metrics kept while the server is away; the oldest are dropped first."""


class Connection(Tracking):
    """Tracking with the attributes that an `MlflowRun` needs."""

    client: Any
    """An `MlflowClient`."""
    pages: str | None
    """Address of the experiment's runs in the server's pages."""
    in_trouble = False


class MlflowRun(TrackedRun):
    """A run in MLflow. No method raises; a method that fails logs a warning."""

    title = "MLflow run"

    def __init__(self, tracking: Connection, run_id: str, name: str) -> None:
        super().__init__(run_id, name)
        self._tracking = tracking
        self._metric_names, self._param_names = MlflowNames(), MlflowNames()
        self._metrics: list[MetricPoint] = []
        self._tags: dict[str, str] = {}
        self._params: dict[str, str] = {}
        self._tables = TrackedTables()
        self._sent_status = False
        self._ended = 0
        self._buffer = threading.Lock()
        self._sending = threading.Lock()

    @property
    def url(self) -> str | None:
        """Address of the run's page for a browser; None with the embedded database."""
        return f"{self._tracking.pages}/{self.id}" if self._tracking.pages else None

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
        with self._buffer:
            self._tags |= {clean_name(name): cut(str(value), TAG_LENGTH) for name, value in tags.items()}
        self.flush()

    def log_artifact(self, path: Path, folder: str | None = None) -> None:
        """Copy a file, or all files below a folder, to the run's artifacts."""
        try:
            self._upload(path, folder)
        except Exception as error:
            self._tracking.warn(error)

    def log_text(self, text: str, name: str) -> None:
        """Log a text as the artifact `name`."""
        try:
            self._upload_text(text, name)
        except Exception as error:
            self._tracking.warn(error)

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
        """Send buffered data; keep them if that fails."""
        with self._sending:
            try:
                self._send_texts(self._params, lambda batch: self._deliver(params=batch))
                self._send_texts(self._tags, lambda batch: self._deliver(tags=batch))
                while self._send_metrics():
                    pass
                self._send_tables()
                self._send_status()
            except Exception as error:
                self._tracking.warn(error)

    def _send_texts(self, items: dict[str, str], deliver: Callable[[list[TextArtifact]], None]) -> None:
        with self._buffer:
            waiting = list(items.items())
        for batch in batches(waiting, PARAMS_PER_BATCH):
            deliver(batch)
            with self._buffer:
                for name, text in batch:
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
            self._tracking.client.set_terminated(self.id, self.status, self._ended)
            self._sent_status = True
        if self._sent_status and not self._tables.waiting:  # a table may be sent after the end
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
