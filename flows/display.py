"""Progress display of a run: bars on a terminal, plain lines elsewhere, log lines under a Prefect worker."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from pipeline_core.tracking.values import finite

if TYPE_CHECKING:
    from rich.console import Console

    from pipeline_core.stage.run import StageResult

SHOWN = {"loss": "loss", "reward/mean": "reward", "kl": "kl"}
"""Metrics shown while training, with their short names."""
OF_STAGES = SHOWN | {"worst_group/loss": "worst"}
"""Metrics shown for a finished stage. During training the worst group changes from batch to batch."""
LINE_SECONDS = 15.0


class Display:
    """Plain lines: one per finished stage, and one every `LINE_SECONDS` of training."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._last: dict[str, float] = {}

    def __enter__(self) -> Display:
        return self

    def __exit__(self, *_: object) -> None:
        """No-op: plain lines need no cleanup."""

    def started(self, name: str) -> None:
        """Called when a stage begins."""
        self._last[name] = time.monotonic()

    def event(self, name: str, event: Mapping[str, Any]) -> None:
        """Show a training event of a running stage."""
        if time.monotonic() - self._last.get(name, 0.0) >= LINE_SECONDS:
            self._last[name] = time.monotonic()
            of = f"/{event['total']}" if event.get("total") else ""
            self._write(f"  ... {name}  step {event['step']}{of}  {figures(event.get('metrics', {}))}".rstrip())

    def waiting(self, name: str, owner: Mapping[str, Any]) -> None:
        """Show that the stage waits for another process, which makes its artifact."""
        self._write(f"  ... {name}  waits for process {owner.get('pid')} on {owner.get('host')}, which makes the same")

    def finished(self, name: str, result: StageResult) -> None:
        """Show that a stage has finished."""
        self._ended(name)
        self._write(finished_line(name, result))

    def stopped(self, name: str) -> None:
        """Show that an interrupt ended a stage."""
        self._ended(name)
        self._write(f"stopped {name}  its last checkpoint is kept")

    def failed(self, name: str, error: BaseException) -> None:
        """Show that a stage failed, with the first line of its error; the full error follows at the end of the run."""
        self._ended(name)
        first = (str(error).splitlines() or [type(error).__name__])[0]
        self._write(f"FAILED {name}  {first}")

    def note(self, text: str) -> None:
        """Show a line that belongs to no stage."""
        self._write(text)

    def _ended(self, name: str) -> None:
        """Called before the line about an ended stage."""


class ProgressBars(Display):
    """Live progress bars; finished stages are listed above them."""

    def __init__(self, console: Console) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        super().__init__(lambda line: console.print(line, markup=False))  # an error's text may hold `[...]`
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[figures]}", markup=False),
            console=console,
            transient=True,
        )
        self._bars: dict[str, Any] = {}

    def __enter__(self) -> ProgressBars:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def started(self, name: str) -> None:
        """Add the stage's bar; it pulses until the first step."""
        self._bars[name] = self._progress.add_task(name, total=None, figures="")

    def event(self, name: str, event: Mapping[str, Any]) -> None:
        """Advance the stage's bar."""
        if name in self._bars:
            shown = figures(event.get("metrics", {}))
            self._progress.update(self._bars[name], completed=event["step"], total=event.get("total"), figures=shown)

    def _ended(self, name: str) -> None:
        """Remove the bar, which the line replaces."""
        if name in self._bars:
            self._progress.remove_task(self._bars.pop(name))


class Prefixed(Display):
    """Passes everything to another display, with a text before the stages' names, such as the number of a run."""

    def __init__(self, shown: Display, prefix: str) -> None:
        self._shown, self._prefix = shown, prefix

    def started(self, name: str) -> None:
        """Called when a stage begins."""
        self._shown.started(self._prefix + name)

    def event(self, name: str, event: Mapping[str, Any]) -> None:
        """Show a training event of a running stage."""
        self._shown.event(self._prefix + name, event)

    def waiting(self, name: str, owner: Mapping[str, Any]) -> None:
        """Show that the stage waits for another process."""
        self._shown.waiting(self._prefix + name, owner)

    def finished(self, name: str, result: StageResult) -> None:
        """Show that a stage has finished."""
        self._shown.finished(self._prefix + name, result)

    def stopped(self, name: str) -> None:
        """Show that an interrupt ended a stage."""
        self._shown.stopped(self._prefix + name)

    def failed(self, name: str, error: BaseException) -> None:
        """Show that a stage failed."""
        self._shown.failed(self._prefix + name, error)

    def note(self, text: str) -> None:
        """Show a line that belongs to no stage."""
        self._shown.note(text)


def figures(metrics: Mapping[str, Any], shown: Mapping[str, str] = SHOWN) -> str:
    """Main metrics as text, `loss 0.53  reward 1.2`; values that are not finite are left out."""
    numbers = finite(metrics)
    return "  ".join(f"{short} {numbers[name]:.3g}" for name, short in shown.items() if name in numbers)


def finished_line(name: str, result: StageResult) -> str:
    """Line about a finished stage: `done   policy:dpo  12.3 s  1f0c...  loss 0.43`."""
    word, took = ("reused", "") if result.reused else ("done", f"{result.seconds:.1f} s  ")
    return f"{word:6} {name}  {took}{result.key[:12]}  {figures(result.metrics, OF_STAGES)}".rstrip()


def for_terminal() -> Display:
    """Display on stderr: bars on a terminal, lines in a pipe."""
    from flows.output import console, say

    terminal = console(stderr=True)
    return ProgressBars(terminal) if terminal.is_terminal else Display(say)


class _Notes(logging.Handler):
    """Shows log records as lines of a display."""

    def __init__(self, shown: Display) -> None:
        super().__init__(logging.WARNING)
        self._shown = shown

    def emit(self, record: logging.LogRecord) -> None:
        """Show a record; an error of the display must not reach whoever logs."""
        try:
            self._shown.note(f"WARNING {record.getMessage()}")
        except Exception:
            self.handleError(record)


@contextmanager
def warnings_on(shown: Display) -> Iterator[None]:
    """Show Evenhand's own warnings on a display, since the console level of Prefect's logs hides them (R16)."""
    handler, loggers = _Notes(shown), [logging.getLogger(name) for name in ("pipeline_core", "plugins", "flows")]
    for logger in loggers:
        logger.addHandler(handler)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeHandler(handler)


current: ContextVar[Display | None] = ContextVar("display", default=None)
"""Display of this run; Prefect copies context variables to the threads of its tasks."""


def active() -> Display:
    """Active display: the terminal's under `evenhand run`, else Prefect's run log."""
    if display := current.get():
        return display
    from prefect.logging import get_run_logger

    return Display(get_run_logger().info)
