"""Environment variables of libraries, to be set before the libraries are imported."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from pipeline_core.network.proxies import exceptions

QUIET = {
    "DO_NOT_TRACK": "true",  # MLflow accepts only this value
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # stdout may carry JSON
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
}
"""Turns off telemetry, progress bars and warnings about forks."""

SAFE = {"TORCH_FORCE_WEIGHTS_ONLY_LOAD": "1"}
"""Libraries too (detoxify, plugins' own) load tensors from files of weights, and never code."""

CONSOLE = {
    # Levels of handlers, not of loggers: the server still gets every log line.
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
    "PREFECT_SERVER_LOGGING_LEVEL": "ERROR",
    "PREFECT_CLI_COLORS": "false",
}
"""Silences Prefect on the terminal of `evenhand run`, which has its own display."""


LOCAL = ("127.0.0.1", "localhost", "::1")


def prepare(console: bool = True) -> None:
    """Set defaults for unset variables, and exclude this machine from proxies."""
    for name, value in (QUIET | SAFE | (CONSOLE if console else {})).items():
        os.environ.setdefault(name, value)
    except_proxies(LOCAL)
    # Prefect's default, 180, is as long as the silence after which a stack's automation calls a run dead.
    os.environ.setdefault("PREFECT_FLOWS_HEARTBEAT_FREQUENCY", "30")
    _adopt_stack()
    if home := os.environ.get("PREFECT_HOME"):
        # Prefect makes the folder, but not its parents.
        Path(home).expanduser().mkdir(parents=True, exist_ok=True)


def except_proxies(more: Sequence[str]) -> None:
    """Exclude hosts from proxies."""
    hosts = exceptions()
    for name in ("no_proxy", "NO_PROXY"):  # libraries prefer one or the other
        os.environ[name] = ",".join(hosts + [host for host in more if host not in hosts])


def _adopt_stack() -> None:
    """Name the servers of the home's running stack and its login, unless the user has named others."""
    from flows.stack import auth
    from pipeline_core.errors import BadInput, EvenhandError

    if given := auth.given():
        auth.adopt(given.client_environment())
    from flows.stack.services import Stack
    from flows.stack.settings import client_environment
    from pipeline_core.store.places import Places

    try:
        stack = Stack(Places.from_environment().home)
    except EvenhandError:  # `up`, `down` and `status` say so
        return
    ports = [service.port for name in ("prefect", "mlflow") if (service := stack.runs(name))]
    if len(ports) != 2 or not all(ports):
        return
    host = next(service.host for service in stack.record.services if service.port)
    servers = client_environment(*map(int, ports), host)  # type: ignore[call-arg, arg-type]
    auth.adopt(servers)
    except_proxies([host])
    is_named = all(os.environ[name] == value for name, value in servers.items())
    if stack.record.user is None or not is_named:  # a secret goes to the servers alone that it is for
        return
    login = given or auth.kept(stack.folder)
    if login is None and not os.environ.get("PREFECT_API_AUTH_STRING"):
        raise BadInput("this home's stack asks for a login: set EVENHAND_AUTH to the user:secret it was started with")
    auth.adopt(login.client_environment() if login else {})


PLACES = ("EVENHAND_HOME", "EVENHAND_STORE", "EVENHAND_CACHE", "EVENHAND_DATA")


def refuse_relative_places() -> None:
    """Reject relative folders: a worker runs its flows in a temporary folder, which is deleted afterwards.

    Raises:
        BadInput: naming the variables.
    """
    from pipeline_core.errors import BadInput

    given = {name: os.environ[name] for name in PLACES if os.environ.get(name)}
    folders = {name: value for name, value in given.items() if "://" not in value}  # a bucket is no folder
    relative = [f"{name}={value}" for name, value in folders.items() if not Path(value).expanduser().is_absolute()]
    if relative:
        raise BadInput(f"a worker needs absolute folders, but has {', '.join(relative)}")
