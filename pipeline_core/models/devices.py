"""Device, processor cores and process group of a stage."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

from pipeline_core.errors import BadInput

PATIENCE = timedelta(days=1)
"""Time that a rank waits for the others. torch's own half an hour would end a rank whose peers have more to do."""


def choose_device(wanted: str, world_size: int = 1) -> str:
    """Device of this process. `auto`: its CUDA GPU if there is one, else the CPU. Every process has its own GPU.

    Raises:
        BadInput: a GPU asked for by name is not there, or several processes ask for one GPU.
    """
    kind, _, number = wanted.partition(":")
    if kind == "cpu":
        return wanted
    import torch

    if kind == "mps":
        if not torch.backends.mps.is_available():
            raise BadInput("runner.device mps asks for Apple's GPU, and there is none to be used")
        return wanted
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if kind == "auto" and not count:
        return "cpu"
    if number and world_size > 1:
        raise BadInput(f"runner.device {wanted} is one GPU and the stage has {world_size} processes; write cuda")
    place = int(number or (os.environ.get("LOCAL_RANK", "0") if world_size > 1 else "0"))
    if place >= count:
        raise BadInput(f"runner.device {wanted} asks for GPU number {place} (from 0), and there are {count} to be used")
    return f"cuda:{place}"


@contextmanager
def process_group(world_size: int, device: str, progress_seconds: float | None = None) -> Iterator[None]:
    """Run the block in a torch.distributed process group; a single process needs none.

    A collective waits for `PATIENCE`, or for twice `progress_seconds` if that is longer: whoever watches over the
    processes knows more than they do of each other. After an error the group stays: the others would tell of the lost
    connection, and it is left once the cause has been written (`leave_group`).
    """
    if world_size == 1:
        yield
        return
    import torch

    if device.startswith("cuda"):
        torch.cuda.set_device(device)  # nccl works on the current device
    # Counts and rewards are summed on the CPU, gradients on the device.
    torch.distributed.init_process_group(
        "cpu:gloo,cuda:nccl" if device.startswith("cuda") else "gloo",
        timeout=max(PATIENCE, timedelta(seconds=2 * (progress_seconds or 0.0))),
    )
    yield
    leave_group()


def leave_group() -> None:
    """Leave the process group, if there is one."""
    if "torch" not in sys.modules:  # a stage that failed early has no group, and torch takes a second to import
        return
    import torch

    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def cores() -> int:
    """Number of processor cores this process may use: the smallest of its CPU affinity, its container's limit and
    `OMP_NUM_THREADS`.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    # The variable may list the threads of nested regions, as in `4,2`.
    asked = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    wanted = int(asked) if asked.isdecimal() and int(asked) else math.inf
    return max(1, int(min(allowed, wanted, _container_limit(Path("/sys/fs/cgroup")))))


def _container_limit(root: Path) -> float:
    """Processor cores that control groups (version 2) allow this process; infinite without a limit."""
    try:
        lines = Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return math.inf
    # Version 2 has the line that begins with 0::. A parent's limit holds too; what lies above `root` sorts before it.
    own = next((line[3:].lstrip("/") for line in lines if line.startswith("0::")), "")
    return min(_quota(folder / "cpu.max") for folder in [root / own, *(root / own).parents] if folder >= root)


def _quota(file: Path) -> float:
    try:
        quota, period = file.read_text(encoding="ascii").split()
        return int(quota) / int(period)
    except (OSError, ValueError):  # no such file, or no limit ("max")
        return math.inf
