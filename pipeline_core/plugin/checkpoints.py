"""Checkpoints inside a running stage, from which a killed training resumes."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pipeline_core.files.atomic import write_optional
from pipeline_core.files.sealed import is_whole, seal

WORTH = 20
"""Minimum pause between checkpoints, in multiples of the time the last save took; bounds the cost of saving."""
log = logging.getLogger(__name__)


class Checkpoints:
    """The last complete checkpoint of one stage, in a folder that outlives its worker.

    A checkpoint is one file, replaced in a single rename, so a kill at any moment does not damage it, and sealed, so
    that a changed bit is noticed. It is read with `weights_only` and can hold only tensors and plain containers.
    `made_by` names code, versions and kind of device; a checkpoint with another `made_by` is ignored.
    """

    def __init__(
        self,
        folder: Path | None,
        every_seconds: float = 60.0,
        every_steps: int | None = None,
        made_by: Callable[[], Mapping[str, str]] = dict,
    ) -> None:
        self._folder = folder
        self._file = folder / "checkpoint.pt" if folder else None
        self._pause = self._every_seconds = every_seconds
        self._every_steps = every_steps
        self._made_by = made_by
        self._last = time.monotonic()

    def durable_file(self, name: str) -> Path | None:
        """Path of a journal for expensive results, or None if no folder outlives the attempt.

        All attempts at a stage share the file, also after a kill or a failure. It is deleted once the artifact is
        committed. Unlike a checkpoint it is never ignored: each entry must identify what it belongs to, and readers
        must accept a half-written last line.
        """
        if self._folder is None:
            return None
        self._folder.mkdir(parents=True, exist_ok=True)
        return self._folder / name

    def due(self, step: int) -> bool:
        """True if a checkpoint should be saved after `step`."""
        if self._file is None:
            return False
        if self._every_steps:
            return step % self._every_steps == 0
        return time.monotonic() - self._last >= self._pause

    def save(self, state: Mapping[str, Any]) -> None:
        """Replace the checkpoint by `state` (tensors, numbers, strings, lists, dicts); a full disk only warns."""
        import torch

        if self._file is None:
            return
        began = time.monotonic()
        content = {"made_by": dict(self._made_by()), "state": dict(state)}

        def write(partial: Path) -> None:
            torch.save(content, partial)
            seal(partial)

        write_optional(self._file, write)
        self._last = time.monotonic()
        self._pause = max(self._every_seconds, WORTH * (self._last - began))

    def load(self) -> dict[str, Any] | None:
        """The last complete checkpoint, loaded on the CPU, or None if there is none to resume from."""
        import torch

        if self._file is None or not self._file.exists():
            return None
        try:
            if not is_whole(self._file):
                raise ValueError("it has changed on the disk, or no digest of its contents was written")
            content = torch.load(self._file, map_location="cpu", weights_only=True)
            made_by, state = dict(content["made_by"]), dict(content["state"])
        except Exception as error:  # errors of zip, pickle and torch, by where a file is damaged
            log.warning("the checkpoint %s cannot be read and is left aside: %s", self._file, error)
            return None
        if changes := _changes(made_by, self._made_by()):
            log.warning("the checkpoint %s is left aside, since something has changed: %s", self._file, changes)
            return None
        return state


def _changes(before: Mapping[str, str], now: Mapping[str, str]) -> str:
    names = sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))
    return ", ".join(f"{name} ({before.get(name)}, now {now.get(name)})" for name in names)
