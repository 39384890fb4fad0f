"""When the next request may begin: a rate limit, pauses that an endpoint asks for, and back-off with jitter."""

from __future__ import annotations

import email.utils
import random
import threading
import time

FIRST_DELAY, LONGEST_DELAY = 0.5, 60.0
"""Seconds before the first and, at most, before any further attempt, unless the endpoint asks for more."""


class Stopping(Exception):
    """The rotation ends, so that nobody waits any longer."""


class RequestPace:
    """A token bucket that all requests to an endpoint share: at most `per_minute`, a second's worth of them at once."""

    def __init__(self, per_minute: float | None, stop: threading.Event) -> None:
        self._rate = per_minute / 60 if per_minute else None
        self._most = self._tokens = max(1.0, self._rate or 0)
        self._filled, self._paused_until = time.monotonic(), 0.0
        self._guard, self._stop = threading.Lock(), stop

    def wait(self) -> None:
        """Return when a request may begin."""
        self.sleep(self._reserve())
        while (left := self._paused_until - time.monotonic()) > 0:
            self.sleep(left)

    def pause(self, seconds: float) -> None:
        """Let no request begin for so long: the endpoint has asked for it."""
        with self._guard:
            self._paused_until = max(self._paused_until, time.monotonic() + seconds)

    def sleep(self, seconds: float) -> None:
        """Wait, but no longer than the rotation goes on.

        Raises:
            Stopping: it ends.
        """
        if self._stop.wait(max(seconds, 0)):
            raise Stopping

    def _reserve(self) -> float:
        """Take a token, one that is yet to come if need be, and return the seconds until it is there."""
        if self._rate is None:
            return 0.0
        with self._guard:
            now = time.monotonic()
            self._tokens = min(self._most, self._tokens + (now - self._filled) * self._rate)
            self._filled = now
            self._tokens -= 1
            return -self._tokens / self._rate


def backoff(attempt: int) -> float:
    """Seconds to wait after a failed attempt (from 0): doubled every time, with jitter against all coming at once."""
    return random.uniform(0.5, 1) * min(LONGEST_DELAY, FIRST_DELAY * 2.0 ** min(attempt, 30))


def retry_after(value: str | None) -> float | None:
    """Seconds that a `Retry-After` header asks for, which names them or a date; None where it says neither."""
    if value is None:
        return None
    try:
        return max(0.0, float(value)) if value.strip().isdigit() else _until(value)
    except (ValueError, TypeError, OverflowError):
        return None


def _until(date: str) -> float:
    return max(0.0, email.utils.parsedate_to_datetime(date).timestamp() - time.time())
