"""Starts the worker of a stage: in a process of its own, under torchrun, or here."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline_core.errors import BadInput, EvenhandError, StageFailed
from pipeline_core.events import EventReader
from pipeline_core.execution import WorkOrder, execute
from pipeline_core.registry import Registry
from pipeline_core.specs import Metrics

OnEvent = Callable[[dict[str, Any]], None]
POLL_SECONDS = 0.2

_workers: set[subprocess.Popen[bytes]] = set()
_workers_lock = threading.Lock()


def run_here(order: WorkOrder, registry: Registry, on_event: OnEvent) -> Metrics:
    """Carry out `order` in this process: for tests and notebooks, one stage at a time."""
    metrics = execute(order, registry)
    for event in EventReader(order.events).read():
        on_event(event)
    return metrics


def run_in_worker(order: WorkOrder, processes: int, threads: int | None, on_event: OnEvent) -> Metrics:
    """Carry out `order` in a worker process (`processes` of them through torchrun) and wait for it.

    Raises:
        BadInput: when the worker found its input at fault.
        StageFailed: otherwise, with the worker's own type, message and traceback, or the end of its output.
    """
    order_file = order.partial / "order.json"
    order_file.write_text(order.model_dump_json(indent=1), encoding="utf-8")
    log = order.partial / "log.txt"
    events = EventReader(order.events)
    with log.open("wb") as output:
        worker = subprocess.Popen(
            _command(order_file, processes),
            env=_environment(processes, threads),
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        with _workers_lock:
            _workers.add(worker)
        try:
            code = _wait(worker, events, on_event)
        finally:
            _end(worker)
    if code != 0:
        raise _failure(order, code, log)
    metrics: Metrics = json.loads((order.partial / "metrics.json").read_text(encoding="utf-8"))
    return metrics


def terminate_all() -> None:
    """End every worker this process has started (on an interrupt)."""
    with _workers_lock:
        workers = list(_workers)
    for worker in workers:
        _end(worker)


def _command(order_file: Path, processes: int) -> list[str]:
    # -P: a folder called `plugins` where the user stands must not shadow ours.
    python = [sys.executable, "-P", "-m"]
    worker = ["pipeline_core.worker", str(order_file)]
    if processes == 1:
        return [*python, *worker]
    torchrun = ["torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", "--module"]
    return [*python, *torchrun, *worker]


def _environment(processes: int, threads: int | None) -> dict[str, str]:
    # Two torch processes with default threads on two cores are some twenty times slower together.
    share = max(1, (threads or os.cpu_count() or 1) // processes)
    return {
        **os.environ,
        "OMP_NUM_THREADS": str(share),
        "MKL_NUM_THREADS": str(share),
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "PYTHONUNBUFFERED": "1",
        "PYTHONSAFEPATH": "1",
        "EVENHAND_WATCH_PARENT": "1",
    }


def _wait(worker: subprocess.Popen[bytes], events: EventReader, on_event: OnEvent) -> int:
    while True:
        try:
            code = worker.wait(POLL_SECONDS)
        except subprocess.TimeoutExpired:
            code = None
        for event in events.read():
            on_event(event)
        if code is not None:
            return code


def _end(worker: subprocess.Popen[bytes]) -> None:
    """End the worker's process group, then close the pipe by which processes outside it (torchrun's) notice."""
    with _workers_lock:
        _workers.discard(worker)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(worker.pid, signal.SIGKILL)
    if worker.stdin:
        with contextlib.suppress(OSError):
            worker.stdin.close()
    worker.wait()


def _failure(order: WorkOrder, code: int, log: Path) -> EvenhandError:
    """The worker's own words where it left any, else the end of its output."""
    with contextlib.suppress(FileNotFoundError, json.JSONDecodeError):
        error = json.loads((order.partial / "error.json").read_text(encoding="utf-8"))
        notes = "".join(f"\n  {note}" for note in error["notes"])
        if error["exit_code"] == BadInput.exit_code:
            return BadInput(error["message"] + notes)
        trace = "" if error["exit_code"] else f"\n\n{error['traceback']}"
        return StageFailed(f"{error['type']}: {error['message']}{notes}{trace}")
    ended = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
    tail = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-20:])
    return StageFailed(f"the worker {ended}. The end of its output:\n{tail}")
