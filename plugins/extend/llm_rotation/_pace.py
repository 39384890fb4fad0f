"""Pacing of requests: rate limit, pauses that an endpoint asks for, and exponential back-off with jitter."""

from __future__ import annotations

import email.utils
import random
import threading
import time

FIRST_DELAY, LONGEST_DELAY = 0.5, 60.0
"""First and largest back-off delay in seconds; an endpoint can ask for longer pauses."""


class Stopping(Exception):
    """Raised in waiting threads when the rotation ends."""


class RequestPace:
    """Token bucket shared by all requests to an endpoint: at most `per_minute`, in bursts of one second's requests."""

    def __init__(self, per_minute: float | None, stop: threading.Event) -> None:
        self._rate = per_minute / 60 if per_minute else None
        self._most = self._tokens = max(1.0, self._rate or 0)
        self._filled, self._paused_until = time.monotonic(), 0.0
        self._guard, self._stop = threading.Lock(), stop

    def wait(self) -> None:
        """Wait until a request may begin."""
        self.sleep(self._reserve())
        # another worker may have prolonged the pause meanwhile
        while (left := self._paused_until - time.monotonic()) > 0:
            self.sleep(left)

    def pause(self, seconds: float) -> None:
        """Start no request for `seconds`, as the endpoint asked."""
        with self._guard:
            self._paused_until = max(self._paused_until, time.monotonic() + seconds)

    def sleep(self, seconds: float) -> None:
        """Wait for `seconds`.

        Raises:
            Stopping: the rotation ends.
        """
        if self._stop.wait(max(seconds, 0)):
            raise Stopping

    def _reserve(self) -> float:
        """Take a token, a future one if none is left, and return the seconds until it is available."""
        if self._rate is None:
            return 0.0
        with self._guard:
            now = time.monotonic()
            self._tokens = min(self._most, self._tokens + (now - self._filled) * self._rate)
            self._filled = now
            self._tokens -= 1
            return -self._tokens / self._rate


def backoff(attempt: int) -> float:
    """Seconds to wait after failed attempt number `attempt` (from 0): doubled each time, with jitter."""
    # unseeded: workers that failed together try apart; 2.0 ** 1024 is an OverflowError
    return random.uniform(0.5, 1) * min(LONGEST_DELAY, FIRST_DELAY * 2.0 ** min(attempt, 30))


def retry_after(value: str | None) -> float | None:
    """Seconds to wait according to a `Retry-After` header (seconds or a date); None if it has neither."""
    if value is None:
        return None
    try:
        # `float` alone would take `inf` and `nan`
        return max(0.0, float(value)) if value.strip().isdigit() else _until(value)
    except (ValueError, TypeError, OverflowError):
        return None


def _until(date: str) -> float:
    return max(0.0, email.utils.parsedate_to_datetime(date).timestamp() - time.time())
