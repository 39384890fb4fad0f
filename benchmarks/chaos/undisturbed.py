"""Runs that nothing disturbs, and moments in a run that faults wait for."""

from __future__ import annotations

import json
import signal
from pathlib import Path

from benchmarks.chaos.checks import Expected
from benchmarks.chaos.failures import Lost, wait
from benchmarks.chaos.place import ONE_POLICY, PATIENCE_SECONDS, Attempt, Place
from benchmarks.chaos.processes import until_gone
from flows.records import RunRecord


def expected_digests(folder: Path) -> tuple[Expected, float]:
    """Digests of all artifacts of a run without any fault in a home of its own, and its seconds."""
    place = Place(folder)
    attempt = place.start()
    if code := attempt.wait():
        raise Lost(f"the undisturbed run ended with {code}:\n{attempt.errors}")
    return {stage["key"]: stage["digest"] for stage in attempt.stages}, place.records()[0].seconds


def complete(place: Place, attempt: Attempt | None = None) -> RunRecord:
    """Record of a run that has to complete: that of `attempt`, or of a new one."""
    attempt = attempt or place.start(*ONE_POLICY)
    if code := attempt.wait():
        raise Lost(f"the run ended with {code}:\n{attempt.errors}")
    return next(record for record in place.records() if record.status == "completed")


def until_training(place: Place, attempt: Attempt, file: str = "events.jsonl") -> Path:
    """Wait until the policy's training has left `file` in its attempt's folder; that folder."""

    def found() -> Path | None:
        if attempt.process.poll() is not None:
            raise Lost(f"the run ended before its training:\n{attempt.errors}")
        for order in (place.store / ".partial").glob("*/*/order.json"):
            made = order.parent / file
            if json.loads(order.read_text())["stage"] == "policy" and made.exists():
                return order.parent
        return None

    return wait(found, PATIENCE_SECONDS, f"a training with {file}")


def kill(place: Place, attempt: Attempt) -> None:
    """`kill -9` of a command; returns when its workers have ended too."""
    attempt.process.send_signal(signal.SIGKILL)
    attempt.process.wait()
    if left := until_gone(place.home, 60):
        raise Lost(f"workers outlive their command: {left}")
