"""A run in MLflow: buffers logged data and sends them to the server in batches, until the server has all of them.

What the server has not taken can be written to a file (`MlflowRun.kept`), from which another process sends it.
"""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pipeline_core.tracking.lineage import StageLineage, TrackedData
from pipeline_core.tracking.mlflow.buffers import Metrics, Params, Tags
from pipeline_core.tracking.mlflow.connection import Connection
from pipeline_core.tracking.mlflow.kept import KeptRun
from pipeline_core.tracking.mlflow.lineage import NOTE_TAG, RunLineage
from pipeline_core.tracking.mlflow.machine import MachineLoad
from pipeline_core.tracking.mlflow.tables import TAG as TABLES_TAG
from pipeline_core.tracking.mlflow.tables import TrackedTables
from pipeline_core.tracking.mlflow.uploads import Uploads
from pipeline_core.tracking.mlflow.values import METRICS_PER_BATCH, PARAM_LENGTH
from pipeline_core.tracking.protocol import SAMPLES, TrackedRun, TrackingStatus, rows_of
from pipeline_core.tracking.values import finite, flatten

TOKEN_TAG = "evenhand.token"
"""Tag that tells a run from any other before it has an id: a request without an answer may have created it."""


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
        self._params, self._tags, self._metrics = Params(), Tags(), Metrics()
        self._uploads = Uploads(tracking)
        self._tables = TrackedTables()
        self._lineage = RunLineage(tracking, self._upload)
        self._load = MachineLoad(self.log_metrics)
        self._note = str(tags.get(NOTE_TAG, ""))
        self._sent_status = False
        self._ended = 0
        self._ending = threading.Lock()
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
        tags = {TOKEN_TAG: self.token, **self._tags.copy()}
        created = client.create_run(experiment, start_time=self._started, tags=tags, run_name=self.name)
        self.id = created.info.run_id
        self._tracking.in_trouble = False
        self._tags.sent(tags)

    @property
    def url(self) -> str | None:
        """Address of the run's page for a browser; None with the embedded database, or before the run is created."""
        return self._tracking.page(self.id) if self.id else None

    def artifact_url(self, path: str) -> str | None:
        """Address of the page that shows an artifact; None with the embedded database."""
        return self._tracking.page(self.id, f"/artifacts/{quote(path, safe='')}") if self.id else None

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0, seconds: float | None = None) -> None:
        """Buffer metrics; a NaN or infinite metric is counted under `nonfinite/<name>` instead."""
        waiting = self._metrics.add(finite(metrics), int(1000 * (seconds or time.time())), int(step))
        if waiting >= METRICS_PER_BATCH:
            self._tracking.wake()

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Log nested parameters as flat ones. Long values are cut; then `params.json` holds all parameters in full."""
        flat = flatten(params)
        self._params.add_flat(flat)
        self._tracking.wake()
        if any(len(text) > PARAM_LENGTH for text in flat.values()):
            self.log_text(json.dumps(params, indent=1, default=str, ensure_ascii=False, skipkeys=True), "params.json")

    def set_tags(self, tags: Mapping[str, object]) -> None:
        """Set tags."""
        self.set_tags_later(tags)
        self._tracking.wake()

    def set_tags_later(self, tags: Mapping[str, object]) -> None:
        """Set tags with the next data that are sent."""
        self._tags.set(tags)

    def log_artifact(self, path: Path, folder: str | None = None) -> None:
        """Copy a file, or all files below a folder, to the run's artifacts. It must stay until it is sent."""
        self._uploads.add_file(path, folder)
        self._tracking.wake()

    def log_text(self, text: str, name: str) -> None:
        """Log a text as the artifact `name`."""
        self._uploads.add_text(text, name)
        self._tracking.wake()

    def log_rows(self, table: str, rows: Sequence[Mapping[str, Any]], *, anew: bool = False) -> None:
        """Add rows to a table, the artifact `<table>.json` of the run. `anew`: replace earlier rows."""
        self._tables.add(table, rows, anew=anew)

    def log_data(self, data: Sequence[TrackedData]) -> None:
        """Link rows that the run reads, as data sets with their digests."""
        self._lineage.add_data(list(data))

    def log_models(self, models: StageLineage, metrics: Mapping[str, float], seconds: float) -> None:
        """Link models as logged models; `metrics`, logged at `seconds`, are also those of the measured model."""
        points = self._metrics.named(finite(metrics), int(1000 * seconds), 0) if models["measured"] else []
        self._lineage.set_models(models, points)

    def log_origin(self, key: str, files: Sequence[Path]) -> None:
        """Link the run that made the artifact `key`; if there is none, log the files."""
        self._lineage.set_origin({"key": key, "note": self._note, "files": [str(file) for file in files]})

    def _upload(self, file: Path) -> None:
        """Add a file of a reused artifact. Called while data are sent, so it must not send itself."""
        if file.name == SAMPLES:
            self._tables.add(file.stem, rows_of(file), anew=True)
        else:
            self._uploads.add_file(file, None)

    def watch_machine(self) -> None:
        """Record the load of this machine until the run ends, below `system/`."""
        self._load.start()

    def finish(self, status: TrackingStatus = "FINISHED") -> None:
        """End the run; the first call decides the status. What is not sent is kept at once, lest a kill lose it."""
        self._load.stop()
        with self._ending:
            super().finish(status)
            self._ended = self._ended or int(1000 * time.time())
        self._tracking.flushed(self)
        self._tracking.wake()

    def flush(self) -> None:
        """Send buffered data; keep them if that fails. Waits for the server: stages leave it to the sender's thread."""
        self.send()

    def send(self) -> bool:
        """Like `flush`. False if the server is away."""
        with self._sending:
            is_there = self._try_all()
            self._tracking.flushed(self)
        return is_there

    def _try_all(self) -> bool:
        """Send all that waits, in an order in which the end comes last. False if that fails."""
        deliver = self._tracking.deliver
        try:
            if not self.id:
                self.create()
            self._params.send(lambda batch: deliver(self.id, params=batch))
            self._tags.send(lambda batch: deliver(self.id, tags=batch))
            self._metrics.send(lambda batch: deliver(self.id, metrics=batch))
            self._lineage.send(self.id)
            self._uploads.send(self.id)
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
        counts = {
            "parameter": len(self._params),
            "tag": len(self._tags),
            "metric": len(self._metrics),
            "file": len(self._uploads),
            "table": len(self._tables.waiting),
        }
        words = [f"{count} {name}{'s' if count > 1 else ''}" for name, count in counts.items() if count]
        has_no_end = self.status and not self._sent_status
        end = ["its end"] if has_no_end else []
        return [*([] if self.id else ["the run itself"]), *words, *self._lineage.waiting, *end]

    def kept(self) -> KeptRun:
        """All that the server has not taken, as JSON."""
        with self._ending:
            status, ended = self.status, self._ended
        return {
            "id": self.id,
            "name": self.name,
            "token": self.token,
            "started": self._started,
            "requested": self._was_requested,
            "params": self._params.copy(),
            "tags": self._tags.copy(),
            "metrics": self._metrics.copy(),
            "files": [(str(path), folder) for path, folder in self._uploads.files()],
            "texts": self._uploads.texts(),
            "tables": self._tables.kept(),
            "status": status,
            "ended": ended,
            "sent_status": self._sent_status,
            "lineage": self._lineage.copy(),
        }

    @classmethod
    def of(cls, tracking: Connection, kept: KeptRun) -> MlflowRun:
        """The run of another process, from what that has kept."""
        run = cls(tracking, kept["name"], kept["tags"])
        run.id, run.token, run._started = kept["id"], kept["token"], kept["started"]
        run._was_requested, run._sent_status = kept["requested"], kept["sent_status"]
        run._params.add(kept["params"])
        run._metrics.put(kept["metrics"])
        run._uploads.put(((Path(path), folder) for path, folder in kept["files"]), kept["texts"])
        if "lineage" in kept:
            run._lineage.put(kept["lineage"])
        for table, rows in kept["tables"].items():
            run._tables.add(table, rows)
        run.status, run._ended = kept["status"], kept["ended"]
        return run

    def _send_tables(self) -> None:
        """Send tables; a store of artifacts that fails must not hold back other data."""
        try:
            ended = self.status is not None
            sent = self._tables.send(lambda *named: self._uploads.upload_text(self.id, *named), all_of_them=ended)
        except Exception as error:
            self._tracking.warn(error)
            return
        if sent:
            self._tracking.deliver(self.id, tags=[(TABLES_TAG, self._tables.tag)])

    def _send_status(self) -> None:
        client = self._tracking.client
        if self.status and not self._sent_status:
            self._sent_status = self._tracking.attempt(client.set_terminated, self.id, self.status, self._ended)
        if self._sent_status and not self.waiting:  # files and tables may be sent after the end
            self._tracking.forget(self)
