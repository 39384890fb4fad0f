"""Requests to an MLflow server, shared by the runs of a connection."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from pipeline_core.tracking.mlflow.kept import MetricPoint
from pipeline_core.tracking.protocol import TrackedRun, Tracking

TextArtifact = tuple[str, str]
"""Name and text of a parameter or a tag."""
REFUSALS = ("INVALID_PARAMETER_VALUE", "BAD_REQUEST", "RESOURCE_DOES_NOT_EXIST")
"""Error codes of requests that fail again on every retry."""

AS_TRAINING = "workflowType=machine_learning"
"""Part of an address by which MLflow's pages open as those of model training.

The experiment's kind decides this only where its own page is opened without a tab; every other page opens as GenAI
until this part, or a click, tells the browser otherwise.
"""


class Connection(Tracking):
    """Tracking with the attributes and requests that an `MlflowRun` needs."""

    client: Any
    """An `MlflowClient`."""
    experiment_id: str
    pages: str | None
    """Address of the server's pages; None with the embedded database."""
    in_trouble = False
    """True from a failure to the next success."""
    is_closing = False
    """True when what is not sent now goes into the outbox."""

    def page(self, run_id: str, below: str = "", *, relative: bool = False) -> str | None:
        """Address of a run's page, or of one below it. `relative`: from another page of MLflow, whatever its server."""
        place = f"#/experiments/{self.experiment_id}/runs/{run_id}{below}?{AS_TRAINING}"
        return place if relative else f"{self.pages}/{place}" if self.pages else None

    def wake(self) -> None:
        """Let the sender's thread send soon what is buffered. Does not wait."""

    def flushed(self, run: TrackedRun) -> None:
        """Called after a run has tried to send what it holds, and at its end."""

    def attempt(self, send: Callable[..., object], *arguments: object) -> bool:
        """True if another try is of no use: MLflow has taken what is sent, or refused it, or a file is gone."""
        try:
            send(*arguments)
        except Exception as error:
            self.warn(error)
            return isinstance(error, FileNotFoundError) or getattr(error, "error_code", "") in REFUSALS
        self.in_trouble = False
        return True

    def deliver(
        self,
        run_id: str,
        metrics: Sequence[MetricPoint] = (),
        params: Sequence[TextArtifact] = (),
        tags: Sequence[TextArtifact] = (),
    ) -> None:
        """Send a batch within MLflow's limits. If MLflow refuses its content, the batch is dropped with a warning."""
        from mlflow.entities import Metric, Param, RunTag
        from mlflow.exceptions import MlflowException

        try:
            self.client.log_batch(
                run_id,
                metrics=[Metric(*point) for point in metrics],
                params=[Param(*param) for param in params],
                tags=[RunTag(*tag) for tag in tags],
            )
        except MlflowException as error:
            if error.error_code not in REFUSALS:
                raise
            self.warn(error)
        self.in_trouble = False  # the server has answered, if only to refuse
