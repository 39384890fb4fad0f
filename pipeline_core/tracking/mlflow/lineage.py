"""Data sets, models and origin of a run, until its server has taken them: inputs, outputs and links in MLflow."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline_core.tracking.lineage import StageLineage, TrackedData
from pipeline_core.tracking.mlflow.connection import Connection
from pipeline_core.tracking.mlflow.kept import KeptLineage, MetricPoint, Origin
from pipeline_core.tracking.mlflow.logged_models import logged_model_id
from pipeline_core.tracking.mlflow.origins import ORIGIN_TAG, origin_of
from pipeline_core.tracking.mlflow.values import METRICS_PER_BATCH, batches, cut

RETRY_SECONDS = 30.0
"""Seconds after a failure without another try."""
DIGEST_LENGTH, NAME_LENGTH, TAG_VALUE_LENGTH = 36, 500, 500
"""Limits of MLflow for a data set."""
SOURCE_TYPE = "evenhand"
NOTE_TAG = "mlflow.note.content"


class RunLineage:
    """Facts about one run. They are sent by the thread that sends, since they need answers of the server."""

    def __init__(self, tracking: Connection, upload: Callable[[Path], None]) -> None:
        """`upload`: called with each file of a reused artifact that no run has."""
        self._tracking = tracking
        self._upload = upload
        self._kept: KeptLineage = {"data": [], "models": None, "points": [], "origin": None}
        self._guard = threading.Lock()
        self._due = 0.0

    @property
    def waiting(self) -> list[str]:
        """Facts that wait, in words."""
        with self._guard:
            data = len(self._kept["data"])
            parts = [f"{data} data set{'s' if data > 1 else ''}"] if data else []
            parts += ["its models"] if self._kept["models"] else []
            return parts + (["the link to its origin"] if self._kept["origin"] else [])

    def copy(self) -> KeptLineage:
        """All that waits."""
        with self._guard:
            return self._kept.copy()

    def put(self, kept: KeptLineage) -> None:
        """Take what another process has kept."""
        with self._guard:
            self._kept = kept

    def add_data(self, data: list[TrackedData]) -> None:
        """Add data sets that the run reads."""
        with self._guard:
            self._kept["data"] = [*self._kept["data"], *data]

    def set_models(self, models: StageLineage, points: list[MetricPoint]) -> None:
        """Set the models of the run; `points`: metrics of the run that measure one of them."""
        with self._guard:
            self._kept |= {"models": models, "points": points}

    def set_origin(self, origin: Origin) -> None:
        """Set the artifact whose origin is linked."""
        with self._guard:
            self._kept["origin"] = origin

    def send(self, run_id: str) -> None:
        """Send what waits. A failure is a warning and holds back no other data of the run."""
        if time.monotonic() < self._due and not self._tracking.is_closing:
            return
        for name, empty, send in (
            ("data", [], self._send_data),
            ("models", None, self._send_models),
            ("origin", None, self._send_origin),
        ):
            waiting = self.copy()[name]  # type: ignore[literal-required]
            if not waiting:
                continue
            if not self._tracking.attempt(send, run_id, waiting):
                self._due = time.monotonic() + RETRY_SECONDS
                return
            with self._guard:
                if self._kept[name] is waiting:  # type: ignore[literal-required]
                    self._kept[name] = empty  # type: ignore[literal-required]

    def _send_data(self, run_id: str, data: list[TrackedData]) -> None:
        self._tracking.client.log_inputs(run_id, datasets=[as_input(one) for one in data])

    def _send_models(self, run_id: str, models: StageLineage) -> None:
        from mlflow.entities import LoggedModelInput, LoggedModelOutput

        client = self._tracking.client
        made = [self._id(model, run_id) for model in models["made"]]
        used = [self._id(model) for model in models["used"]]
        run = client.get_run(run_id)  # an earlier request, whose answer was lost, may have linked them
        linked = {model.model_id for model in run.outputs.model_outputs} if run.outputs else set()
        linked |= {model.model_id for model in run.inputs.model_inputs} if run.inputs else set()
        if outputs := [LoggedModelOutput(one, step=0) for one in made if one not in linked]:
            client.log_outputs(run_id, outputs)
        if inputs := [LoggedModelInput(one) for one in dict.fromkeys(used) if one not in linked]:
            client.log_inputs(run_id, models=inputs)
        if models["measured"]:
            self._measure(run_id, self._id(models["measured"]))

    def _id(self, model: Any, run_id: str = "") -> str:
        return logged_model_id(self._tracking.client, self._tracking.experiment_id, model, run_id)

    def _measure(self, run_id: str, model_id: str) -> None:
        """Send the run's metrics once more, with the model that they measure; the run's own stay as they are."""
        from mlflow.entities import Metric

        for batch in batches(self.copy()["points"], METRICS_PER_BATCH):
            points = [Metric(*point, model_id=model_id, run_id=run_id) for point in batch]
            self._tracking.client.log_batch(run_id, metrics=points)

    def _send_origin(self, run_id: str, origin: Origin) -> None:
        client, experiment_id = self._tracking.client, self._tracking.experiment_id
        made_by = origin_of(client, experiment_id, origin["key"], other_than=run_id)
        if not made_by:
            for file in origin["files"]:
                self._upload(Path(file))
            return
        client.set_tag(run_id, ORIGIN_TAG, made_by)
        link = f"[Made by an earlier run]({self._tracking.page(made_by, relative=True)}), which has curves and files."
        client.set_tag(run_id, NOTE_TAG, "\n\n".join(filter(None, [origin["note"], link])))


def as_input(data: TrackedData) -> Any:
    """A data set as MLflow takes it, a `DatasetInput`; the fingerprint is cut to the length of MLflow's digests."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    tags = {"mlflow.data.context": data["context"], "setting": data["setting"], "fingerprint": data["digest"]}
    dataset = Dataset(
        cut(data["name"], NAME_LENGTH), data["digest"][:DIGEST_LENGTH], source_type=SOURCE_TYPE, source=data["source"]
    )
    return DatasetInput(dataset, [InputTag(name, cut(text, TAG_VALUE_LENGTH)) for name, text in tags.items()])
