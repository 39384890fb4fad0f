"""`kill -9` at random moments, in rounds: a run by a command or a schedule is killed some times, then must complete."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.chaos import checks
from benchmarks.chaos.failures import Lost, wait
from benchmarks.chaos.place import PATIENCE_SECONDS, Attempt, Place
from benchmarks.chaos.processes import ENGINE, RANK, RUN, TORCHRUN, WORKER, processes_of, until_gone
from benchmarks.chaos.scheduled import Schedule
from flows.records import RunRecord
from pipeline_core.store.manifest import Manifest

PREFECT, MLFLOW, PREFECT_WORKER = "Prefect server", "MLflow server", "Prefect worker"
WORKER_AND_RUN = "Prefect worker and flow run"
SERVICES = {PREFECT: "prefect", MLFLOW: "mlflow", PREFECT_WORKER: "worker-cpu"}
BY_COMMAND = (RUN, WORKER, TORCHRUN, RANK, PREFECT, MLFLOW)
BY_SCHEDULE = (ENGINE, WORKER, TORCHRUN, RANK, PREFECT, MLFLOW, PREFECT_WORKER, WORKER_AND_RUN)
ROUND = 5
"""Kills of one round at most."""


@dataclass(frozen=True)
class Kill:
    """A kill as it was drawn: `delay` seconds after such a process is there, servers stay away for `outage` seconds."""

    number: int
    kind: str
    delay: float
    outage: float
    scheduled: bool


def plan(kills: int, seed: int) -> Iterator[list[Kill]]:
    """Rounds of kills, of runs by a command and by a schedule in turn. Every kind comes up equally often."""
    rng = random.Random(seed)
    left: dict[bool, list[str]] = {False: [], True: []}
    number = 0
    scheduled = False
    while number < kills:
        planned = []
        for _ in range(min(ROUND, kills - number)):
            left[scheduled] = left[scheduled] or rng.sample(*_kinds(scheduled))
            kind = left[scheduled].pop()
            number += 1
            longest = 20.0 if kind in (RUN, ENGINE, *SERVICES, WORKER_AND_RUN) else 6.0
            planned.append(Kill(number, kind, rng.uniform(0, longest), rng.uniform(0, 8), scheduled))
        yield planned
        scheduled = not scheduled


def _kinds(scheduled: bool) -> tuple[Sequence[str], int]:
    kinds = BY_SCHEDULE if scheduled else BY_COMMAND
    return kinds, len(kinds)


class Round:
    """One round: `say` gets a line of facts for every kill."""

    def __init__(self, place: Place, expected: checks.Expected, say: Callable[[Mapping[str, Any]], None]) -> None:
        self._place = place
        self._expected = expected
        self._say = say
        self._began = time.time()
        self._attempt: Attempt | None = None
        self.attempts = 0
        self._before: dict[str, Manifest] = {}

    def carry_out(self, kills: Sequence[Kill]) -> RunRecord:
        """Kill, let a retry complete, and check everything. Raises `Lost` or `LeftOver`."""
        if kills[0].scheduled:
            return self._by_schedule(kills)
        for kill in kills:
            self._go_on()
            self._kill(kill, self._go_on, self._fresh)
        record = self._complete()
        self._check(record)
        return record

    def _by_schedule(self, kills: Sequence[Kill]) -> RunRecord:
        with Schedule(self._place) as schedule:
            for kill in kills:
                self._kill(kill, self._look, lambda: self._fresh_for(schedule))
            completed = self._completed_since(time.time())
            record = wait(completed, PATIENCE_SECONDS, "a scheduled run that completes")
            schedule.pause()
            schedule.until_idle()
            self._check(record)
        self.attempts = len(self._place.records(self._began))
        return record

    def _completed_since(self, moment: float) -> Callable[[], RunRecord | None]:
        # A run that has ended just before the last kill is none that came through it.
        def found() -> RunRecord | None:
            self._look()
            done = [
                r
                for r in self._place.records(self._began)
                if r.status == "completed" and r.started + r.seconds > moment
            ]
            return done[0] if done else None

        return found

    def _go_on(self) -> None:
        """Start the command if it does not run."""
        self._look()
        if self._attempt is None or self._attempt.process.poll() is not None:
            self.attempts += 1
            self._attempt = self._place.start()

    def _look(self) -> None:
        """Remember what is finished: nothing of it may be made again."""
        self._before = {**self._place.artifacts(), **self._before}

    def _kill(self, kill: Kill, go_on: Callable[[], None], fresh: Callable[[], None]) -> None:
        killed, delay, end = list[int](), kill.delay, time.monotonic() + PATIENCE_SECONDS
        while not killed:
            self._until_there(kill, go_on, fresh, end)
            time.sleep(delay)
            killed = [pid for pid in self._targets(kill) if _kill(pid)]
            delay /= 2  # it ended meanwhile: the next one is killed earlier
        self._say(
            {
                "kill": kill.number,
                "kind": kill.kind,
                "by": "schedule" if kill.scheduled else "command",
                "at": time.strftime("%H:%M:%S", time.gmtime()),
                "delay": round(delay * 2, 1),
                "finished": len(self._place.artifacts()),
            }
        )
        if kill.kind in SERVICES or kill.kind == WORKER_AND_RUN:
            time.sleep(kill.outage)
            self._place.up()
        checks.no_wrong_artifact(self._place, self._expected)

    def _until_there(self, kill: Kill, go_on: Callable[[], None], fresh: Callable[[], None], end: float) -> None:
        while not self._targets(kill):
            go_on()
            if self._has_all():
                fresh()
            if time.monotonic() > end:
                raise Lost(f"no {kill.kind} was there to be killed, though stages are missing")
            time.sleep(0.1)

    def _has_all(self) -> bool:
        return len(self._place.artifacts()) == len(self._expected)

    def _fresh(self) -> None:
        """All stages are finished: let the run end, and go on with an empty store, so that there is work to kill."""
        self._complete()
        checks.no_process_left(self._place)
        empty(self._place)
        self._before = {}
        self._go_on()

    def _fresh_for(self, schedule: Schedule) -> None:
        schedule.pause()
        schedule.until_idle()
        empty(self._place)
        self._before = {}
        schedule.resume()

    def _targets(self, kill: Kill) -> list[int]:
        services = [SERVICES.get(kill.kind, "")]
        if kill.kind == WORKER_AND_RUN:
            services = [SERVICES[PREFECT_WORKER]]
        running = [service.process.pid for name in services if (service := self._place.stack.runs(name))]
        if kill.kind in SERVICES:
            return running
        if kill.kind == WORKER_AND_RUN:
            engines = [one.pid for one in processes_of(self._place.home, ENGINE)]
            return [*running, *engines] if engines else []
        found = processes_of(self._place.home, kill.kind)
        return [found[kill.number % len(found)].pid] if found else []

    def _complete(self) -> RunRecord:
        """Let the attempt that goes on end; a further one, which nothing disturbs, must complete."""
        assert self._attempt is not None
        code = self._attempt.wait()
        if code:
            self._look()
            self._go_on()
            code = self._attempt.wait()
        if code:
            raise Lost(f"the retry ended with {code}:\n{self._attempt.errors}")
        return next(record for record in self._place.records(self._began) if record.status == "completed")

    def _check(self, record: RunRecord) -> None:
        until_gone(self._place.home, checks.PROCESS_SECONDS)
        self._place.command("track")
        checks.completed(self._place, record, self._expected, self._before)


def empty(place: Place) -> None:
    """Delete the store's contents, so that the next run makes everything."""
    for path in place.store.glob("*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def _kill(pid: int) -> bool:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True
