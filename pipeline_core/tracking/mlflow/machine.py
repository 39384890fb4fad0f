"""Load of the machine during a run, sampled by MLflow's own monitors and recorded like any other metrics.

MLflow's `SystemMetricsMonitor` is not used: it asks the server at every sample, and ends when that does not answer.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Mapping
from typing import Any

log = logging.getLogger(__name__)
PREFIX = "system/"
"""Prefix by which MLflow's pages show a metric as one of the system."""
SWITCH, INTERVAL = "MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING", "MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL"
"""MLflow's own variables: `false` turns sampling off; seconds between samples."""
SECONDS = 10.0


class MachineLoad:
    """A thread that samples processors, memory, disk, network and GPUs until `stop`."""

    def __init__(self, record: Callable[[Mapping[str, float], int], None]) -> None:
        """`record` takes the metrics of a sample, and its number."""
        self._record = record
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._sample_often, daemon=True, name="machine load")

    def start(self) -> None:
        """Start sampling, unless MLflow's variable turns it off."""
        if os.environ.get(SWITCH, "true").strip().lower() not in ("false", "0"):
            self._thread.start()

    def stop(self) -> None:
        """End the thread. Safe to call twice."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join(1.0)

    def _sample_often(self) -> None:
        try:
            monitors = _monitors()
            _sample(monitors)  # the first share of processor time is that since the machine's start
            number = 0
            while not self._ended.wait(_seconds()):
                self._record(_sample(monitors), number)
                number += 1
        except Exception as error:  # a machine without counters costs the metrics alone
            log.debug("the load of the machine is not recorded: %r", error)


def _seconds() -> float:
    try:
        return max(0.1, float(os.environ.get(INTERVAL) or SECONDS))
    except ValueError:
        return SECONDS


def _monitors() -> list[Any]:
    from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor
    from mlflow.system_metrics.metrics.disk_monitor import DiskMonitor
    from mlflow.system_metrics.metrics.network_monitor import NetworkMonitor

    return [CPUMonitor(), DiskMonitor(), NetworkMonitor(), *_gpu_monitors()]


def _gpu_monitors() -> list[Any]:
    from mlflow.system_metrics.metrics.gpu_monitor import GPUMonitor
    from mlflow.system_metrics.metrics.rocm_monitor import ROCMMonitor

    for monitor in (GPUMonitor, ROCMMonitor):
        try:
            return [monitor()]
        except Exception as error:  # no such library, or no such GPU
            log.debug("%s is left out: %r", monitor.__name__, error)
    return []


def _sample(monitors: list[Any]) -> dict[str, float]:
    metrics: dict[str, float] = {}
    for monitor in monitors:
        monitor.clear_metrics()
        monitor.collect_metrics()
        metrics |= monitor.aggregate_metrics()
    return {PREFIX + name: float(value) for name, value in metrics.items()}
