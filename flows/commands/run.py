"""`evenhand run`: the whole pipeline, here and now, or with the configured Prefect server as its witness."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from flows.commands.check import Overrides, Source
from flows.output import AsJson, print_json, say

if TYPE_CHECKING:
    from flows.records import RunRecord
    from pipeline_core.config import PipelineConfig


def run(source: Source, overrides: Overrides = None, as_json: AsJson = False) -> None:
    """Run a preset or a configuration file; what is in the store already is reused."""
    from pipeline_core.config import load_config

    config = load_config(source, overrides or ())
    with _signals_interrupt():
        record, error = _run(config)
    if as_json:
        print_json(record.public())
    else:
        _print_summary(record)
    if error:
        raise error


def _run(config: PipelineConfig) -> tuple[RunRecord, Exception | None]:
    from flows.environment import prepare

    prepare()
    from flows import display
    from flows.server import prefect_api
    from pipeline_core.places import Places

    say(f"{config.name}: {config.description}")
    with prefect_api(Places.from_environment().home), display.for_terminal() as shown:
        from flows.pipeline import RunFailed, pipeline_run

        token = display.current.set(shown)
        try:
            return pipeline_run(config), None
        except RunFailed as failed:
            return failed.record, failed
        finally:
            display.current.reset(token)


def _print_summary(record: RunRecord) -> None:
    from flows.output import console
    from flows.report_stage import print_comparison

    print_comparison(console(), record)
    if record.report:
        say(f"report: {record.report}")
    say(f"run {record.run_id} {record.status} in {record.seconds:.1f} s")


@contextlib.contextmanager
def _signals_interrupt() -> Iterator[None]:
    """Treat a polite kill and a closed terminal like Ctrl-C, so that workers end and the run is closed as killed."""

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
