"""Runs a stage: in a worker process, in several under torchrun, or in this process."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline_core.errors import BadInput, EvenhandError, GateFailed, StageFailed
from pipeline_core.plugin.events import EventReader
from pipeline_core.plugin.registry import Registry
from pipeline_core.plugin.types import Metrics
from pipeline_core.stage.execute import WorkOrder, execute

OnEvent = Callable[[dict[str, Any]], None]
InterruptCheck = Callable[[], None]
"""Called during the work; raises if the run was stopped or another process has taken the work over."""
POLL_SECONDS = 0.2
OF_LAUNCHERS = re.compile(
    r"(LOCAL_|GROUP_|ROLE_)?(RANK|WORLD_SIZE)|ROLE_NAME|MASTER_(ADDR|PORT)|TORCHELASTIC_.*|PET_.*"
)
"""Variables of torchrun and similar launchers; workers do not inherit them from this process."""


class _Running:
    """Workers started by this process; `endings` counts the calls of `terminate_all`."""

    def __init__(self) -> None:
        self.guard = threading.Lock()
        self.workers: set[subprocess.Popen[bytes]] = set()
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
        StageFailed: any other failure, with the worker's error and traceback, or the end of its output.
        Errors of `check`, which is called before the worker starts and while it runs; the worker is then killed.
    """
    log = order.attempt / "log.txt"
    worker = _start(_command(order.file, processes), _environment(processes, threads), log, check)
    try:
        code = _wait(worker, EventReader(order.events), on_event, check)
    finally:
        _end(worker)
    if code != 0:
        check()  # a worker that was stopped, or lost its lock, is told as that and not by its exit code
        raise _failure(order, code, log)
    metrics: Metrics = json.loads((order.attempt / "metrics.json").read_text(encoding="utf-8"))
    return metrics


def terminate_all() -> None:
    """Kill all workers of this process and prevent new ones for stages that have begun (on an interrupt)."""
    with _running.guard:
        _running.endings += 1
        workers = list(_running.workers)  # `_end` changes the set, and takes the guard
    for worker in workers:
        _end(worker)


def ending() -> Callable[[], bool]:
    """A function that returns True once `terminate_all` has been called after this call."""
    before = _running.endings
    return lambda: _running.endings != before


def _command(order_file: Path, processes: int) -> list[str]:
    # -P: a folder `plugins` in the working folder must not shadow the package.
    python = [sys.executable, "-P", "-m"]
    worker = ["pipeline_core.stage.worker", str(order_file)]
    if processes == 1:
        return [*python, *worker]
    # Standalone: a rendezvous on a free port, so that stages can run side by side. A host's own name may lead nowhere.
    torchrun = ["torch.distributed.run", "--standalone", "--local-addr=127.0.0.1", f"--nproc-per-node={processes}"]
    return [*python, *torchrun, "--module", *worker]


def _environment(processes: int, threads: int) -> dict[str, str]:
    # Two torch processes with default thread counts on two cores run about twenty times slower.
    share = max(1, threads // processes)
    inherited = {name: value for name, value in os.environ.items() if not OF_LAUNCHERS.fullmatch(name)}
    return {
        **inherited,
        "OMP_NUM_THREADS": str(share),
        "MKL_NUM_THREADS": str(share),
        "TOKENIZERS_PARALLELISM": "false",  # else tokenizers warn at every later fork
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "PYTHONUNBUFFERED": "1",  # the end of the output is quoted of a killed worker too
        "PYTHONSAFEPATH": "1",  # as -P, for the ranks that torchrun starts
        "EVENHAND_WATCH_PARENT": "1",
    }


def _start(
    command: list[str], environment: dict[str, str], log: Path, check: InterruptCheck
) -> subprocess.Popen[bytes]:
    # Under the guard, so that `terminate_all` either prevents the start or finds the worker.
    with _running.guard, log.open("wb") as output:
        check()
        worker = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.PIPE,  # the worker ends when the other end closes (ADR 6)
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C reaches this process alone, which then ends the worker's group
        )
        _running.workers.add(worker)
    return worker


def _wait(worker: subprocess.Popen[bytes], events: EventReader, on_event: OnEvent, check: InterruptCheck) -> int:
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


def _end(worker: subprocess.Popen[bytes]) -> None:
    """Kill the worker's process group, then close its stdin, which ends processes outside the group (torchrun's)."""
    with _running.guard:
        _running.workers.discard(worker)
    if worker.poll() is None:  # the id of an ended process may have been reused
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(worker.pid, signal.SIGKILL)
    if worker.stdin:
        with contextlib.suppress(OSError):
            worker.stdin.close()
    worker.wait()


def _failure(order: WorkOrder, code: int, log: Path) -> EvenhandError:
    """The error that the worker wrote, or the end of its output."""
    output = log.read_text(encoding="utf-8", errors="replace")
    tail = "\n".join(output.splitlines()[-20:])
    if number := _fatal_signal(output):
        # Errors of the other ranks report the lost connection, not its cause.
        return StageFailed(f"one of the workers {_ended_by(number)}. The end of their output:\n{tail}")
    with contextlib.suppress(FileNotFoundError, json.JSONDecodeError):
        error = json.loads((order.attempt / "error.json").read_text(encoding="utf-8"))
        notes = "".join(f"\n  {note}" for note in error["notes"])
        for kind in (BadInput, GateFailed):
            if error["exit_code"] == kind.exit_code:
                return kind(error["message"] + notes)
        trace = "" if error["exit_code"] else f"\n\n{error['traceback']}"  # errors written for people need none
        return StageFailed(f"{error['type']}: {error['message']}{notes}{trace}")
    ended = _ended_by(-code) if code < 0 else f"ended with exit code {code}"
    return StageFailed(f"the worker {ended}. The end of its output:\n{tail}")


def _fatal_signal(output: str) -> int | None:
    """Signal that killed a rank, from torchrun's output; without SIGTERM, by which torchrun ends the other ranks."""
    numbers = map(int, re.findall(r"^\s*exitcode\s*:\s*-(\d+)\b", output, re.MULTILINE))
    return next((number for number in numbers if number != signal.SIGTERM), None)


def _ended_by(number: int) -> str:
    out_of_memory = " (out of memory, if nobody sent it)" if number == signal.SIGKILL else ""
    return f"was ended by {signal.Signals(number).name}{out_of_memory}"
