"""Bits that change on the disk: of an artifact, of a checkpoint, of a cache."""

from __future__ import annotations

import shutil
from pathlib import Path
from random import Random

from benchmarks.chaos.checks import Expected, size_of
from benchmarks.chaos.failures import Lost
from benchmarks.chaos.place import ONE_POLICY, Place
from benchmarks.chaos.undisturbed import complete, kill, until_training
from flows.records import RunRecord
from pipeline_core.store.manifest import MANIFEST


def flip(file: Path, rng: Random) -> None:
    """Flip one bit of a file in its place."""
    data = bytearray(file.read_bytes())
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    file.write_bytes(data)


def artifact(place: Place, _: Expected, rng: Random) -> RunRecord:
    """A bit of the base model changes: the next training refuses it by name; removed as told, it is made again."""
    complete(place)
    made = place.artifacts()
    (base,) = [one for one in made.values() if one.stage == "base"]
    for one in made.values():
        if one.stage != "base":
            shutil.rmtree(place.store / one.kind / one.key)
    folder = place.store / base.kind / base.key
    files = sorted(
        path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST and size_of(path.parent)
    )
    flip(rng.choice(files), rng)
    attempt = place.start(*ONE_POLICY)
    if not attempt.wait():
        raise Lost("a run trained on a base model of which a bit had changed")
    if str(folder) not in attempt.errors:
        raise Lost(f"the message does not name {folder}:\n{attempt.errors}")
    shutil.rmtree(folder)
    return complete(place)


def checkpoint(place: Place, _: Expected, rng: Random) -> RunRecord:
    """A bit of a killed training's checkpoint changes."""
    attempt = place.start(*ONE_POLICY)
    partial = until_training(place, attempt, "../checkpoint/checkpoint.pt").parent
    kill(place, attempt)
    for file in sorted((partial / "checkpoint").glob("*")):
        flip(file, rng)
    return complete(place)


def cache(place: Place, _: Expected, rng: Random) -> RunRecord:
    """Bits of what stages have put by for each other change; the policy is made again from it."""
    complete(place)
    files = [path for path in sorted((place.store / ".scratch").rglob("*")) if path.is_file() and path.stat().st_size]
    if not any(path.suffix == ".safetensors" for path in files):
        raise Lost(f"the run has left no cache: {files}")
    for file in files:
        flip(file, rng)
    for one in place.artifacts().values():
        if one.stage == "policy":
            shutil.rmtree(place.store / one.kind / one.key)
    return complete(place)
