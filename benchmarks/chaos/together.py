"""Several runs of the same configuration at the same time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from random import Random

from benchmarks.chaos.checks import Expected
from benchmarks.chaos.failures import Lost
from benchmarks.chaos.place import ONE_POLICY, Place
from flows.records import RunRecord


def runs(count: int) -> Callable[[Place, Expected, Random], RunRecord]:
    """The fault with `count` runs."""

    def at_once(place: Place, _: Expected, __: Random) -> RunRecord:
        attempts = [place.start(*ONE_POLICY) for _ in range(count)]
        for attempt in attempts:
            if code := attempt.wait():
                raise Lost(f"one of {count} runs at once ended with {code}:\n{attempt.errors}")
        records = place.records(attempts[0].began)
        made = Counter(stage.key for record in records for stage in record.stages if not stage.reused)
        if any(number != 1 for number in made.values()) or len(made) != len(records[0].stages):
            raise Lost(f"{count} runs at once made stages this often: {dict(made)}")
        return records[0]

    return at_once
