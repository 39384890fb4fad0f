"""`evenhand run`: runs the pipeline in this process, with the configured Prefect server or a private one."""

from __future__ import annotations

import contextlib
import importlib
import shlex
import signal
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import typer

from flows.commands.check import OverridesArgument, SourceArgument
from flows.output import AsJson, print_json, say

if TYPE_CHECKING:
    from flows.records import RunRecord
    from pipeline_core.pipeline.config import PipelineConfig

INTERRUPTED = 130  # as shells report SIGINT


def run(source: SourceArgument, overrides: OverridesArgument = None, as_json: AsJson = False) -> None:
    """Run a preset or a configuration file; artifacts in the store are reused."""
    from pipeline_core.checks.whole import load_config

    config = load_config(source, overrides or ())
    try:
        with signals_interrupt():
            record, error = _run(config, shlex.join(["evenhand", "run", source, *(overrides or ())]))
    except KeyboardInterrupt:
        say("interrupted; finished stages are kept, the same command goes on from there")
        raise typer.Exit(INTERRUPTED) from None
    if as_json:
        print_json(record.public())
    else:
        _print_summary(record)
    if error:
        raise error


def _run(config: PipelineConfig, command: str) -> tuple[RunRecord, Exception | None]:
    from flows.environment import prepare
    from pipeline_core.network.proxies import check_network

    prepare()  # before libraries are imported, which read their variables then
    check_network()  # before Prefect is imported, which fails by a faulty proxy
    from flows import display
    from flows.beforehand import check_sources
    from flows.server import prefect_api
    from pipeline_core.store.places import Places

    for waiting in check_sources(config):
        say(waiting)
    say(f"{config.name}: {config.description}")
    if rows := _rows_in_words(config):
        say(rows)
    with (
        prefect_api(Places.from_environment().home, import_libraries),
        display.for_terminal() as shown,
        display.warnings_on(shown),
    ):
        from flows.pipeline import RunFailed, pipeline

        token = display.current.set(shown)
        try:
            return pipeline(preset=None, config=config, command=command), None
        except RunFailed as failed:
            return failed.record, failed
        finally:
            display.current.reset(token)


def _rows_in_words(config: PipelineConfig) -> str:
    """Number of training rows by group, in words; empty if extensions decide them or no policy is trained."""
    from pipeline_core.data.catalog import Catalog
    from pipeline_core.data.groups import counts_of

    if config.data is None or config.extend or not config.policy:
        return ""
    table = Catalog.from_environment().load(config.data)
    # By name: a policy of another package may have groups without our base classes.
    axes = dict.fromkeys(axis for entry in config.policy if (axis := getattr(entry, "group_by", None)))
    counts = [", ".join(f"{name} {count}" for name, count in counts_of(table, axis).items()) for axis in axes]
    return f"{len(table)} rows of {config.data.entry}: {'; '.join(counts)}"


def import_libraries() -> None:
    """Import the libraries that the run needs, while the server starts."""
    from pipeline_core.store.places import Places
    from pipeline_core.tracking.opening import backend_of

    tracking, _ = backend_of(Places.from_environment())
    for name in ("flows.pipeline", *tracking.libraries, "matplotlib.figure"):
        importlib.import_module(name)


def _print_summary(record: RunRecord) -> None:
    from pathlib import Path

    from flows.output import console
    from pipeline_core.report import load_report, render_terminal
    from pipeline_core.tracking.protocol import in_words

    if record.report:
        render_terminal(console(), load_report(Path(record.report)))
        for model in record.registered:
            say(model.words)
        say(f"report: {record.report}")
    if record.tracking:
        say(f"tracking: {record.tracking}")
    if record.unsent:
        say(f"tracking has not taken: {in_words(record.unsent)}; `evenhand track` sends it when the server answers")
    say(f"run {record.run_id} {record.status} in {record.seconds:.1f} s")


@contextlib.contextmanager
def signals_interrupt() -> Iterator[None]:
    """Treat SIGTERM and SIGHUP like Ctrl-C, so that workers end and the run is recorded as killed."""

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
