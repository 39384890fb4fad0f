"""A store on a disk of its own that fills up, or can only be read. Needs the right to mount."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from random import Random

from benchmarks.chaos.checks import Expected
from benchmarks.chaos.failures import LeftOver, Lost, Skipped, wait
from benchmarks.chaos.place import ONE_POLICY, Place
from benchmarks.chaos.undisturbed import complete, kill, until_training
from flows.records import RunRecord

SIZE = 16 << 20


@contextlib.contextmanager
def small_disk(place: Place) -> Iterator[None]:
    """The store on a disk of `SIZE` bytes; what is in it at the end is copied to the folder that it hid."""
    place.store.mkdir(parents=True, exist_ok=True)
    words = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(place.store)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Skipped(f"no right to mount a disk: {done.stderr.strip()}")
    try:
        yield
        kept = place.home / "kept"
        subprocess.run(["cp", "-a", f"{place.store}/.", str(kept)], check=True)
    finally:
        subprocess.run(["umount", "-l", str(place.store)], check=True)
    subprocess.run(["cp", "-a", f"{kept}/.", str(place.store)], check=True)
    subprocess.run(["rm", "-r", str(kept)], check=True)


def full(place: Place, _: Expected, __: Random) -> RunRecord:
    """The disk fills to the last byte while a policy is trained; later there is room again."""
    with small_disk(place):
        attempt = place.start(*ONE_POLICY)
        until_training(place, attempt)
        filler = place.store / "filler"
        with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while file.write(os.urandom(4096)):
                pass
        if not attempt.wait():
            raise Lost("a run on a full disk said that it completed")
        if "No space left" not in attempt.errors and "disk" not in attempt.errors:
            raise Lost(f"the message does not tell of the disk:\n{attempt.errors}")
        filler.unlink()
        return complete(place)


def read_only(place: Place, _: Expected, __: Random) -> RunRecord:
    """The store can only be read: what is not there is refused, and what is there is used."""
    with small_disk(place):
        attempt = place.start(*ONE_POLICY)
        until_training(place, attempt)
        kill(place, attempt)
        with _read_only(place):
            attempt = place.start(*ONE_POLICY)
            if not attempt.wait():
                raise Lost("a run said that it completed in a store that can only be read")
            if "cannot be written" not in attempt.errors:
                raise Lost(f"the message does not tell of the store:\n{attempt.errors}")
        complete(place)
        with _read_only(place):
            again = complete(place)
        if made := [stage.label for stage in again.stages if not stage.reused]:
            raise LeftOver(f"stages made in a store that can only be read: {made}")
        return again


@contextlib.contextmanager
def _read_only(place: Place) -> Iterator[None]:
    # Refused as long as a process that has just been killed has files open.
    wait(lambda: _remounted(place, "ro"), 120, "a store that can only be read")
    try:
        yield
    finally:
        _remounted(place, "rw")


def _remounted(place: Place, how: str) -> bool:
    done = subprocess.run(["mount", "-o", f"remount,{how}", str(place.store)], capture_output=True, check=False)
    return done.returncode == 0
