"""Parameters, tags and metrics of a run, until its server has taken them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping

from pipeline_core.tracking.mlflow.connection import TextArtifact
from pipeline_core.tracking.mlflow.kept import MetricPoint
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

KEPT_METRICS = 100_000
"""Metrics kept while the server is away; the oldest are dropped first."""


class Texts:
    """Short texts by name, such as tags. Thread-safe."""

    def __init__(self, length: int) -> None:
        """`length`: longer texts are cut."""
        self._length = length
        self._texts: dict[str, str] = {}
        self._guard = threading.Lock()

    def __len__(self) -> int:
        return len(self._texts)

    def add(self, texts: Mapping[str, str]) -> None:
        """Add texts, or replace those of the same names."""
        with self._guard:
            self._texts |= {name: cut(text, self._length) for name, text in texts.items()}

    def copy(self) -> dict[str, str]:
        """All texts that wait."""
        with self._guard:
            return dict(self._texts)

    def sent(self, sent: Mapping[str, str]) -> None:
        """Remove texts that were sent, unless they were set to another value meanwhile."""
        with self._guard:
            for name, text in sent.items():
                if self._texts.get(name) == text:
                    del self._texts[name]

    def send(self, deliver: Callable[[list[TextArtifact]], None]) -> None:
        """Send all texts in batches; raises errors of `deliver`."""
        for batch in batches(list(self.copy().items()), PARAMS_PER_BATCH):
            deliver(batch)
            self.sent(dict(batch))


class Params(Texts):
    """Parameters by MLflow's names for them."""

    def __init__(self) -> None:
        super().__init__(PARAM_LENGTH)
        self._names = MlflowNames()

    def add_flat(self, params: Mapping[str, str]) -> None:
        """Add parameters by our names."""
        self.add({self._names[name]: text for name, text in params.items()})


class Tags(Texts):
    """Tags by MLflow's names for them."""

    def __init__(self) -> None:
        super().__init__(TAG_LENGTH)

    def set(self, tags: Mapping[str, object]) -> None:
        """Set tags by our names."""
        self.add({clean_name(name): str(value) for name, value in tags.items()})


class Metrics:
    """Metrics by MLflow's names for them. Thread-safe."""

    def __init__(self) -> None:
        self._points: list[MetricPoint] = []
        self._names = MlflowNames()
        self._guard = threading.Lock()

    def __len__(self) -> int:
        return len(self._points)

    def add(self, metrics: Mapping[str, float], moment: int, step: int) -> int:
        """Add finite metrics at a time in milliseconds; the number of points that wait."""
        with self._guard:
            self._points += self._named(metrics, moment, step)
            del self._points[:-KEPT_METRICS]
            return len(self._points)

    def named(self, metrics: Mapping[str, float], moment: int, step: int) -> list[MetricPoint]:
        """Points by MLflow's names, without adding them."""
        with self._guard:
            return self._named(metrics, moment, step)

    def _named(self, metrics: Mapping[str, float], moment: int, step: int) -> list[MetricPoint]:
        return [(self._names[name], value, moment, step) for name, value in metrics.items()]

    def put(self, points: list[MetricPoint]) -> None:
        """Add points by MLflow's names."""
        with self._guard:
            self._points += points

    def copy(self) -> list[MetricPoint]:
        """All points that wait."""
        with self._guard:
            return list(self._points)

    def send(self, deliver: Callable[[list[MetricPoint]], None]) -> None:
        """Send all points in batches; raises errors of `deliver`."""
        for batch in self._batches():
            deliver(batch)
            self._sent(batch)

    def _batches(self) -> Iterator[list[MetricPoint]]:
        while self._points:
            with self._guard:
                batch = self._points[:METRICS_PER_BATCH]
            yield batch

    def _sent(self, batch: list[MetricPoint]) -> None:
        with self._guard:
            sent = set(map(id, batch))  # by identity: the oldest may have been dropped meanwhile
            self._points[: len(batch)] = [point for point in self._points[: len(batch)] if id(point) not in sent]
