"""Environment variables of libraries, to be set before the libraries are imported."""

from __future__ import annotations

import os
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
    for name, value in (QUIET | (CONSOLE if console else {})).items():
        os.environ.setdefault(name, value)
    hosts = exceptions()
    for name in ("no_proxy", "NO_PROXY"):  # libraries prefer one or the other
        os.environ[name] = ",".join(hosts + [host for host in LOCAL if host not in hosts])
    # Prefect's default, 180, is as long as the silence after which a stack's automation calls a run dead.
    os.environ.setdefault("PREFECT_FLOWS_HEARTBEAT_FREQUENCY", "30")
    _adopt_stack()
    if home := os.environ.get("PREFECT_HOME"):
        # Prefect makes the folder, but not its parents.
        Path(home).expanduser().mkdir(parents=True, exist_ok=True)


def _adopt_stack() -> None:
    """Name the servers of the home's running stack, unless the user has named others."""
    from pipeline_core.errors import EvenhandError

    if os.environ.get("PREFECT_API_URL") and os.environ.get("MLFLOW_TRACKING_URI"):
        return
    from flows.stack.services import Stack
    from flows.stack.settings import client_environment
    from pipeline_core.store.places import Places

    try:
        stack = Stack(Places.from_environment().home)
    except EvenhandError:  # `up`, `down` and `status` say so
        return
    ports = [service.port for name in ("prefect", "mlflow") if (service := stack.runs(name))]
    if len(ports) == 2 and all(ports):
        for name, value in client_environment(*map(int, ports)).items():  # type: ignore[arg-type]
            os.environ.setdefault(name, value)


PLACES = ("EVENHAND_HOME", "EVENHAND_STORE", "EVENHAND_DATA")


def refuse_relative_places() -> None:
    """Reject relative folders: a worker runs its flows in a temporary folder, which is deleted afterwards.

    Raises:
        BadInput: naming the variables.
    """
    from pipeline_core.errors import BadInput

    given = {name: os.environ[name] for name in PLACES if os.environ.get(name)}
    relative = [f"{name}={value}" for name, value in given.items() if not Path(value).expanduser().is_absolute()]
    if relative:
        raise BadInput(f"a worker needs absolute folders, but has {', '.join(relative)}")
