"""Checkpoints inside a running stage: what a killed training goes on from."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any


class Checkpoints:
    """The last complete checkpoint of one stage, in a folder that outlives its worker.

    A checkpoint is one file, replaced in a single rename. It is safe against a kill at any moment, and it is read
    with `weights_only`, so it can hold tensors and plain containers only.
    """

    def __init__(self, folder: Path | None, every_seconds: float = 60.0, every_steps: int | None = None) -> None:
        self._file = folder / "checkpoint.pt" if folder else None
        self._every_seconds = every_seconds
        self._every_steps = every_steps
        self._last = time.monotonic()

    def due(self, step: int) -> bool:
        """Whether it is time to save after `step`."""
        if self._file is None:
            return False
        if self._every_steps:
            return step % self._every_steps == 0
        return time.monotonic() - self._last >= self._every_seconds

    def save(self, state: Mapping[str, Any]) -> None:
        """Replace the checkpoint by `state` (tensors, numbers, strings, lists and dicts)."""
        import torch

        if self._file is None:
            return
        self._file.parent.mkdir(parents=True, exist_ok=True)
        partial = self._file.with_suffix(".partial")
        with partial.open("wb") as file:
            torch.save(dict(state), file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(self._file)
        self._last = time.monotonic()

    def save_when_due(self, step: int, state: Callable[[], Mapping[str, Any]]) -> None:
        """Save after `step` if it is time; `state` is only built then."""
        if self.due(step):
            self.save(state())

    def load(self) -> dict[str, Any] | None:
        """The last complete checkpoint on the CPU, or None."""
        import torch

        if self._file is None or not self._file.exists():
            return None
        state: dict[str, Any] = torch.load(self._file, map_location="cpu", weights_only=True)
        return state

    def clear(self) -> None:
        """Forget what was saved."""
        if self._file:
            shutil.rmtree(self._file.parent, ignore_errors=True)
