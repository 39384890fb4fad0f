"""`evenhand up`, `down` and `status`: a stack on this machine, in the background."""

from __future__ import annotations

import shlex
import time
from typing import Annotated

import typer

from flows.output import AsJson, print_json, say, table

PortOption = Annotated[int | None, typer.Option(help="Port of the Prefect server: 4200, or the next free one.")]
MlflowPortOption = Annotated[int | None, typer.Option(help="Port of the MLflow server: 5000, or the next free one.")]
DATABASE = "PostgreSQL for both: postgresql://user:secret@host. EVENHAND_DATABASE keeps it off the command line."
AUTH = "Both servers ask for a login: EVENHAND_AUTH (user:secret), or one made and kept. It stays until --no-auth."
AuthOption = Annotated[bool | None, typer.Option("--auth/--no-auth", help=AUTH)]
HOST = "Listen on this address, by which other machines reach this one, and not on 127.0.0.1. Needs --auth."
HostOption = Annotated[str | None, typer.Option(help=HOST)]
DatabaseOption = Annotated[str | None, typer.Option(help=DATABASE)]


def up(
    port: PortOption = None,
    mlflow_port: MlflowPortOption = None,
    database: DatabaseOption = None,
    auth: AuthOption = None,
    host: HostOption = None,
) -> None:
    """Start Prefect, MLflow, work pools, workers and deployments in the background; what runs is left alone."""
    from flows.environment import prepare

    prepare()
    from flows.stack.auth import exports, given, login_file
    from flows.stack.up import Wanted, addresses_of, login_of, start
    from pipeline_core.store.places import Places

    began, places = time.monotonic(), Places.from_environment()
    places.check(writable=True)
    stack = start(places, Wanted(port, mlflow_port, database, auth, host), say)
    for service in stack.record.services:
        if service.pool:
            say(f"{service.name}: takes runs of the pool {service.pool}")
    say(f"ready in {time.monotonic() - began:.0f} s; logs are in {stack.folder}; `evenhand down` stops it")
    say("`evenhand` finds it by EVENHAND_HOME; for `prefect` and other programs:")
    for name, value in addresses_of(stack).items():
        print(f"export {name}={shlex.quote(value)}")
    if login := login_of(stack):
        kept = "EVENHAND_AUTH" if given() else login_file(stack.folder)
        say(f"pages ask for the user {login.user} and the secret in {kept}")
        for line in exports(stack.folder, login):
            print(line)


def down() -> None:
    """Stop the stack: workers first, then the servers. Data, schedules and logs are kept."""
    from flows.stack.up import stop
    from pipeline_core.store.places import Places

    home = Places.from_environment().home
    if not stop(home, say):
        say(f"no stack runs in {home}")


def status(as_json: AsJson = False) -> None:
    """Show the stack's processes; exit code 1 if one of them has ended or does not answer."""
    from flows.stack.services import Stack
    from pipeline_core.store.places import Places

    stack = Stack(Places.from_environment().home)
    rows = [
        {
            "name": service.name,
            "address": service.address,
            "pool": service.pool,
            "pid": service.process.pid,
            "state": service.state(),
            "log": str(stack.log(service.name)),
        }
        for service in stack.record.services
    ]
    if as_json:
        print_json(rows)
    elif rows:
        columns = ["name", "address", "pool", "pid", "state", "log"]
        table(str(stack.folder), columns, [[str(row[column] or "") for column in columns] for row in rows])
    else:
        say(f"no stack runs in {stack.folder.parent}; `evenhand up` starts one")
    if not rows or any(row["state"] in ("ended", "does not answer") for row in rows):
        raise typer.Exit(1)
