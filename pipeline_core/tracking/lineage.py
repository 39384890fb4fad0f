"""Data and models of a run, as facts that tracking records: plain JSON, so that they can be kept and sent later."""

from __future__ import annotations

from typing_extensions import TypedDict


class TrackedData(TypedDict):
    """Rows that a run reads."""

    name: str
    """Name in reports: the catalog entry, and the split if it is given."""
    digest: str
    """Fingerprint of the rows, in hex digits."""
    source: str
    """The reference to catalog rows, as JSON."""
    setting: str
    """Path of the setting that holds the reference, such as `validation`."""
    context: str
    """Use of the rows: `training` or `evaluation`."""


class TrackedModel(TypedDict):
    """An artifact that is a model or a reward."""

    name: str
    type: str
    """Stage that makes such models: `base`, `reward` or `policy`."""
    key: str
    digest: str
    folder: str
    """Its folder in the store, on `host`."""
    host: str
    params: dict[str, str]


class StageLineage(TypedDict):
    """Models of a stage's run."""

    made: list[TrackedModel]
    used: list[TrackedModel]
    measured: TrackedModel | None
    """The model whose figures are the metrics of the run's result."""
