"""Leases of GPUs between the processes of a host: each stage gets GPUs of its own.

A lease is a lock (`flock`) on a file per GPU. The kernel frees it when the last process that holds the file has ended,
also after `kill -9`: nothing is left over, and nothing has to be renewed. A stage's worker inherits the file, so a GPU
stays taken until the worker has ended too, although its parent was killed.
"""

from __future__ import annotations

import fcntl
import getpass
import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from pipeline_core.errors import BadInput

VISIBLE = "CUDA_VISIBLE_DEVICES"
GIVEN = "EVENHAND_GPUS"
"""Variable with the GPUs that stages may use, separated by commas; one that stands twice takes two stages."""
LOCKS = "EVENHAND_GPU_LOCKS"
"""Variable with the folder of the locks."""
DRIVERS = ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd")
"""Device files of GPU drivers: NVIDIA's, its Windows one, AMD's."""
POLL_SECONDS = 0.2


@dataclass(frozen=True)
class Lease:
    """GPUs of a stage. `environment`: variables of its worker; `files`: locks that the worker inherits."""

    environment: dict[str, str] = field(default_factory=dict)
    files: tuple[int, ...] = ()


def visible_gpus() -> list[str]:
    """Names of the GPUs that stages may use, as CUDA_VISIBLE_DEVICES takes them."""
    visible = os.environ.get(VISIBLE)
    if (given := os.environ.get(GIVEN)) is not None:  # a worker of one GPU has the list of the host too
        return [name for name in _names(given) if visible is None or name in _names(visible)]
    if not any(map(os.path.exists, DRIVERS)):  # importing torch takes a second
        return []
    import torch

    count = torch.cuda.device_count()
    return (_names(visible or "") or [str(number) for number in range(count)])[:count]


def _names(listed: str) -> list[str]:
    return [name for part in listed.split(",") if (name := part.strip())]


@contextmanager
def leased(device: str, processes: int, check: Callable[[], None] = lambda: None) -> Iterator[Lease]:
    """Hold a GPU for each of a stage's processes, waiting until so many are free.

    Without GPUs, and on a device that is named (`cpu`, `cuda:1`, `mps`), there is nothing to hold. `check` is called
    during the wait, and ends it by an error.

    Raises:
        BadInput: there are fewer GPUs than processes.
    """
    gpus = visible_gpus() if device in ("auto", "cuda") else []
    if not gpus:
        yield Lease()
        return
    if len(set(gpus)) < processes:
        raise BadInput(
            f"the stage has {processes} processes, each on a GPU of its own, and may use {len(set(gpus))} "
            f"({', '.join(dict.fromkeys(gpus))}); lower `processes`, or set runner.device=cpu"
        )
    with ExitStack() as held:
        # Who waits has the turn, and later ones wait behind it: stages of one GPU cannot starve one of several.
        held_turn = held.enter_context(ExitStack())
        _take_turn(gpus, held_turn, check)
        while not (taken := _take(gpus, processes, held)):
            check()
            time.sleep(POLL_SECONDS)
        held_turn.close()
        yield Lease({VISIBLE: ",".join(taken)}, tuple(taken.values()))


def _take_turn(gpus: Sequence[str], held: ExitStack, check: Callable[[], None]) -> None:
    """Wait for the turn among the stages that may use these GPUs."""
    name = "turn " + ",".join(sorted(set(gpus)))
    while (file := _lock(name)) is None:
        check()
        time.sleep(POLL_SECONDS)
    held.callback(os.close, file)


def _take(gpus: Sequence[str], processes: int, held: ExitStack) -> dict[str, int]:
    """Open locks of so many free GPUs by name, or of none: to hold some while waiting for others could deadlock."""
    taken: dict[str, int] = {}
    seen: Counter[str] = Counter()
    for gpu in gpus:
        seen[gpu] += 1
        # All ranks need different GPUs.
        if gpu not in taken and (file := _lock(gpu if seen[gpu] == 1 else f"{gpu} {seen[gpu]}")) is not None:
            taken[gpu] = file
        if len(taken) == processes:
            for file in taken.values():
                held.callback(os.close, file)
            return taken
    for file in taken.values():
        os.close(file)
    return {}


def _lock(name: str) -> int | None:
    """Descriptor of the file `name`, locked; None if another process holds it."""
    path = locks_folder() / quote(name, safe=" ,-:")
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(file), path.stat()):
            os.utime(path)  # cleaners of temporary folders delete old files
            return file
    except (BlockingIOError, FileNotFoundError):  # held, or deleted in between
        pass
    os.close(file)
    return None


def locks_folder() -> Path:
    """Folder of the locks: `EVENHAND_GPU_LOCKS`, or one of this user among the host's temporary files.

    Raises:
        BadInput: the folder belongs to another user, or cannot be made.
    """
    given = os.environ.get(LOCKS)
    folder = Path(given).expanduser() if given else Path(tempfile.gettempdir()) / f"evenhand-gpus-{getpass.getuser()}"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(f"locks of GPUs cannot be kept in {folder}: {error}; set {LOCKS} to another folder") from error
    if not given and folder.stat().st_uid != os.getuid():
        raise BadInput(f"{folder} belongs to another user; set {LOCKS} to a folder of your own")
    return folder
