"""Runs a stage: in a worker process, in several under torchrun, or in this process."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pipeline_core.models.gpus import leased
from pipeline_core.plugin.events import EventReader
from pipeline_core.plugin.registry import Registry
from pipeline_core.plugin.types import Metrics
from pipeline_core.ranks.command import command_of, environment_of
from pipeline_core.ranks.failures import failure
from pipeline_core.ranks.family import Family
from pipeline_core.ranks.progress import ProgressWatch
from pipeline_core.stage.execute import WorkOrder, execute

OnEvent = Callable[[dict[str, Any]], None]
InterruptCheck = Callable[[], None]
"""Called during the work; raises if the run was stopped or another process has taken the work over."""
POLL_SECONDS = 0.2


class _Running:
    """Workers started by this process; `endings` counts the calls of `terminate_all`."""

    def __init__(self) -> None:
        self.guard = threading.Lock()
        self.workers: dict[subprocess.Popen[bytes], Family] = {}
        self.endings = 0  # no flag: later runs in this process start workers again


_running = _Running()


def run_here(order: WorkOrder, registry: Registry, on_event: OnEvent) -> Metrics:
    """Execute `order` in this process, for tests and notebooks; one stage at a time."""
    metrics = execute(order, registry)
    for event in EventReader(order.events).read():
        on_event(event)
    return metrics


def run_in_worker(
    order: WorkOrder, processes: int, threads: int, on_event: OnEvent, check: InterruptCheck = lambda: None
) -> Metrics:
    """Execute `order` in a worker process (in several through torchrun) and wait for it.

    Raises:
        BadInput: the worker raised it; `GateFailed` likewise.
        StageFailed: any other failure, with the worker's error and traceback, or the end of its output; also a worker
            that makes no progress for `order.progress_seconds`.
        Errors of `check`, which is called before the worker starts and while it runs; the worker is then killed.
    """
    log = order.attempt / "log.txt"
    with leased(order.device, processes, check) as gpus:
        environment = environment_of(processes, threads) | gpus.environment
        worker, family = _start(command_of(order.file, processes), environment, log, check, gpus.files)
        watch = ProgressWatch(order.name, order.attempt, family, order.progress_seconds)
        try:
            code = _wait(worker, EventReader(order.events), on_event, check, watch)
        finally:
            _end(worker)
    if code != 0:
        check()  # a worker that was stopped, or lost its lock, is told as that and not by its exit code
        raise failure(order.attempt, code, several=processes > 1)
    metrics: Metrics = json.loads((order.attempt / "metrics.json").read_text(encoding="utf-8"))
    return metrics


def terminate_all() -> None:
    """Kill all workers of this process and prevent new ones for stages that have begun (on an interrupt)."""
    with _running.guard:
        _running.endings += 1
        workers = list(_running.workers)  # `_end` changes it, and takes the guard
    for worker in workers:
        _end(worker)


def ending() -> Callable[[], bool]:
    """A function that returns True once `terminate_all` has been called after this call."""
    before = _running.endings
    return lambda: _running.endings != before


def _start(
    command: list[str], environment: dict[str, str], log: Path, check: InterruptCheck, files: Sequence[int]
) -> tuple[subprocess.Popen[bytes], Family]:
    # Under the guard, so that `terminate_all` either prevents the start or finds the worker.
    with _running.guard, log.open("wb") as output:
        check()
        worker = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.PIPE,  # the worker ends when the other end closes (ADR 6)
            stdout=output,
            stderr=subprocess.STDOUT,
            pass_fds=files,
            start_new_session=True,  # Ctrl-C reaches this process alone, which then ends the worker's group
        )
        family = _running.workers[worker] = Family(worker.pid, several="torch.distributed.run" in command)
    return worker, family


def _wait(
    worker: subprocess.Popen[bytes],
    events: EventReader,
    on_event: OnEvent,
    check: InterruptCheck,
    watch: ProgressWatch,
) -> int:
    while True:
        try:
            code = worker.wait(POLL_SECONDS)
        except subprocess.TimeoutExpired:
            code = None
        for event in events.read():
            on_event(event)
        if code is not None:
            return code
        check()
        watch.look()


def _end(worker: subprocess.Popen[bytes]) -> None:
    """Kill the worker's processes, and close its stdin, which ends those that were not seen."""
    with _running.guard:
        family = _running.workers.pop(worker, None)
    if family:
        family.kill()
    if worker.poll() is None:  # the id of an ended process may have been reused
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(worker.pid, signal.SIGKILL)
    if worker.stdin:
        with contextlib.suppress(OSError):
            worker.stdin.close()
    worker.wait()
