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
) -> None:
    """Schedule a preset or a configuration with changes: one of --cron, --interval, --rrule."""
    with _server():
        from flows.schedules import Times, add_schedule

        made = add_schedule(name, source, overrides or [], Times(cron, interval, rrule, timezone), pool)
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


@contextlib.contextmanager
def _server() -> Iterator[None]:
    """Raise `BadInput` if no server is configured, or it does not answer."""
    from flows.environment import prepare

    prepare()
    from flows.server import require_server

    require_server()
    yield
