"""Watches over the progress of a stage's processes: tells what has stopped, and ends a stage that stands still."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from pathlib import Path

from pipeline_core.errors import StageFailed
from pipeline_core.ranks.family import Family, Sight
from pipeline_core.ranks.stacks import stacks

log = logging.getLogger(__name__)
LOOK_SECONDS = 1.0
BUSY = 0.05
"""Share of one core below which processes stand still. A rank that waits for others takes a hundredth."""
TRAFFIC = 2**20
"""Bytes read or written that show work: a process that waits for a file or the network computes nothing."""
TELL_SECONDS = 5.0
"""Time after which a stopped process is told of; a quarter of the deadline if that is less."""
OUTPUT = ("events.jsonl", "log.txt")
"""Files of an attempt that grow with the stage's progress."""


@dataclass
class _Mark:
    """Last sign of progress: when it was seen, and the counters then."""

    clock: float
    work: float
    traffic: int
    output: int


class ProgressWatch:
    """Watches one stage. `seconds`: the deadline, or None to only tell of stopped processes.

    Signs of progress are processor time, bytes read and written, events and output, of any process of the stage: one
    rank may work for hours while the others wait for it. A process that is stopped (SIGSTOP, a debugger) is counted by
    itself, since the others may wait for it with busy processors. Time counts only while this process looks, so that
    a computer or a command that slept does not end its stages.
    """

    def __init__(self, name: str, attempt: Path, family: Family, seconds: float | None) -> None:
        self._name = name
        self._attempt = attempt
        self._family = family
        self._seconds = seconds
        self._clock, self._looked = 0.0, time.monotonic()
        self._mark = _Mark(0.0, 0.0, 0, 0)
        self._stopped: dict[int, tuple[float, str]] = {}  # when it was first seen so: seconds of `_clock`, local time
        self._told: set[int] = set()
        self._warned = False

    def look(self) -> None:
        """Look at the processes, at most once in `LOOK_SECONDS`.

        Raises:
            StageFailed: no progress for the deadline, with the processes and where they stand.
        """
        now = time.monotonic()
        if now - self._looked < LOOK_SECONDS:
            return
        self._clock += min(now - self._looked, 5 * LOOK_SECONDS)
        self._looked = now
        sight = self._family.look()
        self._note_stopped(sight)
        self._note_progress(sight)
        if self._seconds is None:
            return
        idle = self._clock - self._mark.clock
        halted = max((self._clock - since for since, _ in self._stopped.values()), default=0.0)
        if max(idle, halted) >= self._seconds:
            raise StageFailed(self._standstill(sight))
        if idle >= self._seconds / 2 and not self._warned and not self._stopped:
            self._warned = True
            log.warning("%s: no sign of progress for %s; after %s it is ended", self._name, _span(idle), self._limit())

    def _note_stopped(self, sight: Sight) -> None:
        for pid in self._stopped.keys() - sight.stopped:
            since, _ = self._stopped.pop(pid)
            if pid in self._told:
                self._told.discard(pid)
                if pid in sight.names:
                    log.warning("%s: %s goes on after %s", self._name, sight.names[pid], _span(self._clock - since))
        for pid in sight.stopped:
            self._stopped.setdefault(pid, (self._clock, time.strftime("%H:%M:%S")))
        soon = min(TELL_SECONDS, (self._seconds or TELL_SECONDS * 4) / 4)
        for pid, (since, _) in self._stopped.items():
            if pid not in self._told and self._clock - since >= soon:
                self._told.add(pid)
                end = f"; after {self._limit()} the stage is ended" if self._seconds else ""
                log.warning("%s: %s; `kill -CONT %d` lets it go on%s", self._name, self._how(pid, sight), pid, end)

    def _note_progress(self, sight: Sight) -> None:
        mark, output = self._mark, sum(map(_size, (self._attempt / name for name in OUTPUT)))
        worked = sight.work - mark.work
        # Less work than before: a process has ended, and its share is counted no more.
        moves = worked < 0 or worked >= BUSY * (self._clock - mark.clock)
        if moves or abs(sight.traffic - mark.traffic) >= TRAFFIC or output != mark.output:
            self._mark = _Mark(self._clock, sight.work, sight.traffic, output)
            self._warned = False

    def _standstill(self, sight: Sight) -> str:
        ranks = [pid for pid, name in sight.names.items() if name.startswith(("rank", "the worker"))]
        found = stacks(self._attempt, [pid for pid in ranks if pid not in self._stopped])
        # Stopped processes first: the others wait for them.
        lines = [self._how(pid, sight) for pid in self._stopped]
        for pid in ranks:
            if pid not in self._stopped:
                stack = f", innermost first:\n{found[pid]}" if pid in found else " somewhere in a library"
                lines.append(f"{sight.names[pid]} (process {pid}) stands{stack}")
        return f"no sign of progress for {self._limit()}: " + "\n".join(lines)

    def _how(self, pid: int, sight: Sight) -> str:
        return f"{sight.names.get(pid)} (process {pid}) is stopped (state T) since {self._stopped[pid][1]}"

    def _limit(self) -> str:
        return f"{_span(self._seconds or 0.0)} (runner.progress_seconds)"


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:
        return 0


def _span(seconds: float) -> str:
    """Seconds for people: `45 s`, `30 min`."""
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
