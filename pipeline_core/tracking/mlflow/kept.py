"""Data of a run that its server has not taken, as JSON for the outbox."""

from __future__ import annotations

from typing import Any, NotRequired

from typing_extensions import TypedDict

from pipeline_core.tracking.lineage import StageLineage, TrackedData
from pipeline_core.tracking.protocol import TrackingStatus

MetricPoint = tuple[str, float, int, int]
"""Name, value, time in milliseconds, step."""


class Origin(TypedDict):
    """Origin of a reused artifact to look for; the files are uploaded if no run that made it is found."""

    key: str
    note: str
    """Description of the run, to which the link is added."""
    files: list[str]


class KeptLineage(TypedDict):
    """Data sets, models and origin of a run that wait, as JSON."""

    data: list[TrackedData]
    models: StageLineage | None
    points: list[MetricPoint]
    origin: Origin | None


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
    lineage: NotRequired[KeptLineage]
    """Not in files of earlier versions."""
