"""What a fault must not do: lose something, or leave something over."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class Lost(Exception):
    """A result is missing, wrong, made again, or a retry did not complete."""


class LeftOver(Exception):
    """Something stays that belongs to no run: a lock, a slot, a process, a run that is Running for ever."""


class Skipped(Exception):
    """This machine cannot make the fault; the message is the reason."""


def wait(found: Callable[[], T | None], seconds: float, what: str) -> T:
    """The first true value of `found`. Raises `Lost` after `seconds`."""
    end = time.monotonic() + seconds
    while not (value := found()):
        if time.monotonic() > end:
            raise Lost(f"not within {seconds:.0f} s: {what}")
        time.sleep(0.1)
    return value
