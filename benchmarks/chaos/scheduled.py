"""A schedule on the stack that starts the run again and again, until it is paused."""

from __future__ import annotations

from types import TracebackType

from benchmarks.chaos import servers
from benchmarks.chaos.checks import END_SECONDS
from benchmarks.chaos.failures import wait
from benchmarks.chaos.place import CONFIG, Place

NAME, SECONDS = "chaos", 30


class Schedule:
    """`evenhand schedule` every `SECONDS` within the block. A start that is due while a run goes on is cancelled."""

    def __init__(self, place: Place) -> None:
        self._place = place

    def __enter__(self) -> Schedule:
        self._place.command("schedule", "add", NAME, str(CONFIG), "--interval", str(SECONDS))
        return self

    def pause(self) -> None:
        """No further start."""
        self._place.command("schedule", "pause", NAME)

    def resume(self) -> None:
        """Go on."""
        self._place.command("schedule", "resume", NAME)

    def until_idle(self) -> None:
        """Wait until no flow run goes on."""
        wait(lambda: not servers.open_flow_runs(self._place), END_SECONDS, "the end of all scheduled runs")

    def __exit__(self, kind: type[BaseException] | None, *_: BaseException | TracebackType | None) -> None:
        self._place.command("schedule", "rm", NAME)
