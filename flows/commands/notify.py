"""`evenhand notify`: notifications by webhooks, over the automations of a Prefect server."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Annotated

import typer

from flows.output import AsJson, print_json, say, table

app = typer.Typer(
    help="Tells a webhook of failed runs, broken gates, dead runs and figures that got worse. Needs `evenhand up`.",
    no_args_is_help=True,
)
VARIABLE = "EVENHAND_WEBHOOK"
NotificationName = Annotated[str, typer.Argument(metavar="NAME", help="Name of the notification; `ls` lists them.")]
OnOption = Annotated[
    list[str] | None, typer.Option("--on", help="Kind: failed, gate, dead or worsened; may be repeated. Default: all.")
]
VariableOption = Annotated[
    str, typer.Option("--address-from", metavar="VARIABLE", help="Environment variable that holds the address.")
]
BlockOption = Annotated[
    str | None, typer.Option(metavar="TYPE/NAME", help="Block of the server instead: slack-webhook/team.")
]


@app.command("add")
def add(
    name: NotificationName, on: OnOption = None, address_from: VariableOption = VARIABLE, block: BlockOption = None
) -> None:
    """Notify the webhook whose address EVENHAND_WEBHOOK holds, or a block of the server.

    The address may hold a token: it goes into an encrypted block of the Prefect server and is printed nowhere in full.
    """
    from pipeline_core.errors import BadInput

    address = None if block else os.environ.get(address_from)
    if not (address or block):
        raise BadInput(f"no address: set {address_from} to that of the webhook, or name a block with --block TYPE/NAME")
    with _server():
        from flows.notify import automations

        made = automations.add(name, address, block, on or [])
    say(f"{name} tells {made.to} of: {', '.join(made.kinds)}; `evenhand notify test {name}` tries it")


@app.command("ls")
def ls(as_json: AsJson = False) -> None:
    """List notifications: their kinds, and the host of the address."""
    with _server():
        from flows.notify import automations

        found = automations.find_all()
    if as_json:
        print_json([one.model_dump() for one in found])
        return
    rows = [[one.name, _kinds(one.kinds), one.block, one.to] for one in found]
    table("notifications", ["name", "kinds", "block", "to"], rows)


def _kinds(kinds: dict[str, bool]) -> str:
    return ", ".join(kind if enabled else f"{kind} (paused)" for kind, enabled in kinds.items())


@app.command("rm")
def rm(name: NotificationName) -> None:
    """Remove a notification, with the block that `add` has made for it."""
    with _server():
        from flows.notify import automations

        automations.remove(name)
    say(f"{name} is removed")


@app.command("test")
def test(name: NotificationName) -> None:
    """Send a message of every kind on its real way; exit code 1 if one was not taken."""
    with _server():
        from flows.notify import automations

        answers = automations.test(name)
    for answer in answers:
        say(f"{answer.kind}: {answer.fault or 'taken'}")
    if any(answer.fault for answer in answers):
        raise typer.Exit(1)


@contextlib.contextmanager
def _server() -> Iterator[None]:
    from flows.environment import prepare

    prepare()
    from flows.server import require_server

    require_server("notifications")
    yield
