"""`evenhand schedule`: runs at times, over the schedules of a Prefect server."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from flows.commands.check import OverridesArgument, SourceArgument
from flows.output import AsJson, print_json, say, table

if TYPE_CHECKING:
    from flows.schedules import Scheduled

app = typer.Typer(help="Runs at times. Needs `evenhand up`, or PREFECT_API_URL.", no_args_is_help=True)
NameArgument = Annotated[str, typer.Argument(help="Name of the schedule; `ls` lists them.")]


KeepOption = Annotated[
    int | None, typer.Option("--keep", min=1, help="Completed runs to keep, the newest. All if not given.")
]
KeepGbOption = Annotated[
    float | None, typer.Option("--keep-gb", help="Gigabytes that its runs may take in the store; the oldest go first.")
]


@app.command("ls")
def ls(as_json: AsJson = False) -> None:
    """List all schedules with their next run."""
    with _server():
        from flows.schedules import all_schedules

        found = all_schedules()
    if as_json:
        print_json([one.model_dump(mode="json") for one in found])
        return
    columns = ["name", "when", "time zone", "what", "state", "next run"]
    table("schedules", columns, [_row(one) for one in found])


def _row(one: Scheduled) -> list[str]:
    what = " ".join([str(one.parameters.get("preset") or "configuration"), *(one.parameters.get("overrides") or [])])
    return [one.name, one.when, one.timezone, what, "active" if one.active else "paused", one.next_run or ""]


@app.command("add")
def add(
    name: NameArgument,
    source: SourceArgument,
    overrides: OverridesArgument = None,
    cron: Annotated[str | None, typer.Option(help="Five fields: minute, hour, day, month, day of the week.")] = None,
    interval: Annotated[int | None, typer.Option(help="Seconds between the starts of two runs.")] = None,
    rrule: Annotated[str | None, typer.Option(help="Rule of RFC 5545: FREQ=WEEKLY;BYDAY=MO;BYHOUR=2.")] = None,
    timezone: Annotated[str, typer.Option(help="Time zone of --cron and --rrule: Europe/Berlin.")] = "UTC",
    pool: Annotated[str, typer.Option(help="Work pool of the run.")] = "cpu",
    keep: KeepOption = None,
    keep_gb: KeepGbOption = None,
    watch: Annotated[
        list[str] | None,
        typer.Option(help="Measure whose worsening is told; may be repeated. Default: the gate's, else all headlines."),
    ] = None,
) -> None:
    """Schedule a preset or a configuration with changes: one of --cron, --interval, --rrule."""
    with _server():
        from flows.schedules import Times, add_schedule

        more = {"keep": _keep(keep, keep_gb), "watch": watch}
        more = {name: value for name, value in more.items() if value}
        made = add_schedule(name, source, overrides or [], Times(cron, interval, rrule, timezone), pool, more)
    say(f"{made.name}: {made.when}; the next run is at {made.next_run or 'no time: the rule has ended'}")


@app.command("pause")
def pause(name: NameArgument) -> None:
    """Pause a schedule; runs that go on are left alone."""
    with _server():
        from flows.schedules import set_active

        set_active(name, False)
    say(f"{name} is paused")


@app.command("resume")
def resume(name: NameArgument) -> None:
    """Resume a schedule."""
    with _server():
        from flows.schedules import set_active

        made = set_active(name, True)
    say(f"{name}: the next run is at {made.next_run}")


@app.command("rm")
def rm(name: NameArgument) -> None:
    """Remove a schedule and its future runs; its past runs stay."""
    with _server():
        from flows.schedules import remove_schedule

        remove_schedule(name)
    say(f"{name} is removed")


@app.command("prune")
def prune(
    name: NameArgument,
    keep: KeepOption = None,
    keep_gb: KeepGbOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    as_json: AsJson = False,
) -> None:
    """Remove a schedule's old runs now, as it does itself after each run, or show what would go.

    Without --keep and --keep-gb by the schedule's own limits. Figures for `evenhand history` stay.
    """
    from pipeline_core.errors import BadInput

    with _server():
        from flows.nights.keep import Keep
        from flows.nights.removal import remove_old_runs
        from flows.schedules import parameters_of
        from pipeline_core.store.places import Places

        given = _keep(keep, keep_gb) or parameters_of(name).get("keep")
        if not given:
            raise BadInput(f"{name} keeps all its runs; give --keep or --keep-gb")
        removed = remove_old_runs(Places.from_environment(), name, Keep.model_validate(given), dry_run=dry_run)
    if as_json:
        print_json(removed.public() | {"removed": not dry_run})
        return
    for line in removed.lines():
        print(line)
    say(f"{'would remove' if dry_run else 'removed'} {removed.summary()}")


def _keep(runs: int | None, gb: float | None) -> dict[str, float]:
    """Limits of retention as a parameter of the flow. Raises `BadInput`."""
    from pipeline_core.errors import BadInput

    if gb is not None and not 0 < gb < float("inf"):
        raise BadInput("--keep-gb: must be more than 0")
    return {name: value for name, value in {"runs": runs, "gb": gb}.items() if value is not None}


@contextlib.contextmanager
def _server() -> Iterator[None]:
    """Raise `BadInput` if no server is configured, or it does not answer."""
    from flows.environment import prepare

    prepare()
    from flows.server import require_server

    require_server()
    yield
