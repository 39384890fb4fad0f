"""Addresses of this machine on which a stack's servers listen: loopback, or another one if they ask for a login."""

from __future__ import annotations

import contextlib
import ipaddress
import socket

from pipeline_core.errors import BadInput, quoted


def is_loopback(host: str) -> bool:
    """True for an address that only this machine reaches."""
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


def check_host(host: str, with_login: bool) -> None:
    """Refuse an address that others reach without a login, and one that servers cannot be found at.

    Raises:
        BadInput: also for an address that is not this machine's.
    """
    if host in ("0.0.0.0", "::", "*") or ":" in host:
        raise BadInput(
            f"--host: {quoted(host)}: give the name or the IPv4 address by which other machines reach this one"
        )
    if not is_loopback(host) and not with_login:
        raise BadInput(f"--host: others reach {quoted(host)}, so the servers need a login: add --auth")
    with contextlib.closing(socket.socket()) as probe:
        try:
            probe.bind((host, 0))
        except OSError as error:
            raise BadInput(f"--host: {quoted(host)} is no address of this machine ({error.strerror})") from None


def mlflow_host_environment(host: str, port: int) -> dict[str, str]:
    """Variables by which an MLflow server takes requests for `host`; it refuses public names and addresses else."""
    if is_loopback(host):
        return {}
    return {
        "MLFLOW_SERVER_ALLOWED_HOSTS": f"{host},{host}:{port}",
        "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS": f"http://{host}:{port}",
    }
