"""Ports, addresses and environments of a local stack's processes."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from pipeline_core.errors import BadInput
from pipeline_core.files.sqlite_addresses import address_of
from pipeline_core.network.addresses import shown_uri
from pipeline_core.store.places import Places

PREFECT_PORT, MLFLOW_PORT = 4200, 5000
HOST = "127.0.0.1"
HEARTBEAT_SECONDS = 30
"""Seconds between two heartbeats of a run; Prefect takes no shorter ones."""
NEXT_PORTS = 50
"""Ports after the usual one that are tried."""


@dataclass(frozen=True)
class Databases:
    """Database addresses of both servers; they may hold a password."""

    prefect: str
    mlflow: str
    shown: str | None
    """The PostgreSQL server without credentials; None for SQLite files."""

    @classmethod
    def of(cls, address: str | None, home: Path) -> Databases:
        """SQLite files in `home`, or the databases `prefect` and `mlflow` of the server `postgresql://user:secret@host`.

        Raises:
            BadInput: the address is of another kind, or names a database.
        """
        if address is None:
            return cls(address_of(home / "prefect.db", "sqlite+aiosqlite"), address_of(home / "mlflow.db"), None)
        parts = urlsplit(address)
        if parts.scheme not in ("postgresql", "postgres") or not parts.hostname or parts.path not in ("", "/"):
            raise BadInput(
                f"--database: {shown_uri(address)} is no address of a PostgreSQL server, "
                "such as postgresql://user:secret@host:5432"
            )

        def database(scheme: str, name: str) -> str:
            return urlunsplit((scheme, parts.netloc, f"/{name}", parts.query, ""))

        return cls(database("postgresql+asyncpg", "prefect"), database("postgresql", "mlflow"), shown_uri(address))


def free_port(wanted: int | None, usual: int, option: str, host: str = HOST) -> int:
    """The wanted port, else the usual one or the next that is free.

    Raises:
        BadInput: the wanted port is in use, or none is free.
    """
    for port in [wanted] if wanted else range(usual, usual + NEXT_PORTS):
        with contextlib.closing(socket.socket()) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a server that has just ended holds nobody up
            with contextlib.suppress(OSError):
                probe.bind((host, port))
                return port
    where = f"port {wanted} is" if wanted else f"all ports from {usual} to {usual + NEXT_PORTS - 1} are"
    raise BadInput(f"{option}: {where} in use on {host}; give another one")


def client_environment(prefect_port: int, mlflow_port: int, host: str = HOST) -> dict[str, str]:
    """Variables by which commands and workers find the servers."""
    return {
        "PREFECT_API_URL": f"http://{host}:{prefect_port}/api",
        "MLFLOW_TRACKING_URI": f"http://{host}:{mlflow_port}",
    }


def prefect_environment(port: int, databases: Databases, home: Path, host: str = HOST) -> dict[str, str]:
    """Variables of the Prefect server."""
    return {
        "PREFECT_API_DATABASE_CONNECTION_URL": databases.prefect,
        "PREFECT_UI_API_URL": f"http://{host}:{port}/api",  # the pages ask this address, whatever the port is
        "PREFECT_HOME": str(home / "prefect"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    }


def mlflow_environment(databases: Databases, places: Places) -> dict[str, str]:
    """Variables of the MLflow server: on a command line every user of the machine could read a password."""
    return {
        "MLFLOW_BACKEND_STORE_URI": databases.mlflow,
        "MLFLOW_ARTIFACTS_DESTINATION": places.artifact_root,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
        # uvicorn kills a worker that is silent for 5 s: on a busy machine one that starts, over and over.
        "UVICORN_TIMEOUT_WORKER_HEALTHCHECK": "120",
    }


def worker_environment(clients: Mapping[str, str], places: Places, gpu: str | None) -> dict[str, str]:
    """Variables of a worker: servers, absolute places, and what a lost server means."""
    return {
        **clients,
        "EVENHAND_HOME": str(places.home),
        "EVENHAND_STORE": places.bucket or str(places.store),
        **({"EVENHAND_CACHE": str(places.store)} if places.bucket else {}),
        **({"EVENHAND_DATA": str(places.data_root)} if places.data_root else {}),
        "PREFECT_HOME": str(places.home / "prefect"),
        # Else a worker whose server was away for a while goes on, and no run of its can be cancelled any more (R19).
        "PREFECT_RUNNER_CRASH_ON_CANCELLATION_FAILURE": "true",
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT_SECONDS),
        "PREFECT_LOGGING_EXTRA_LOGGERS": "pipeline_core,plugins,flows",
        **({"CUDA_VISIBLE_DEVICES": gpu} if gpu is not None else {}),
    }
