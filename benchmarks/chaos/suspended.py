"""SIGSTOP for longer than anybody waits: of a lock's owner, and of one rank of a training."""

from __future__ import annotations

import subprocess
import time
from random import Random

from benchmarks.chaos.checks import Expected
from benchmarks.chaos.failures import Skipped
from benchmarks.chaos.place import ONE_POLICY, Place
from benchmarks.chaos.processes import RANK, RUN, processes_of, stopped
from benchmarks.chaos.undisturbed import complete, until_training
from flows.records import RunRecord
from pipeline_core.store.locks import SILENT_SECONDS

ELSEWHERE = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")
"""Runs a command in a process space of its own, from where no process outside can be seen."""


def owner(place: Place, _: Expected, __: Random) -> RunRecord:
    """A run is suspended while it trains. Another, which cannot see it, takes over; then the first wakes up."""
    if subprocess.run([*ELSEWHERE, "true"], capture_output=True, check=False).returncode:
        raise Skipped("no right to make a process space")
    first = place.start(*ONE_POLICY)
    until_training(place, first)
    with stopped(processes_of(place.home)):
        record = complete(place, place.start(*ONE_POLICY, before=ELSEWHERE))
    first.wait()  # with whatever code: its work on that stage was taken over
    return record


def rank(place: Place, _: Expected, rng: Random) -> RunRecord:
    """A rank is suspended for longer than the patience with a lock, then goes on."""
    attempt = place.start(*ONE_POLICY)
    until_training(place, attempt)
    time.sleep(rng.uniform(0, 3))
    with stopped(processes_of(place.home, RANK)[:1]):
        time.sleep(SILENT_SECONDS + 10)
        assert processes_of(place.home, RUN)
    return complete(place, attempt)
