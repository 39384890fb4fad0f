"""`evenhand doctor`: versions, devices, places, databases, network, hub, plugins and telemetry."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.output import AsJson, print_json, table

if TYPE_CHECKING:
    from pipeline_core.store.places import Places

LIBRARIES = ("evenhand", "torch", "transformers", "datasets", "peft", "prefect", "fastapi", "mlflow", "gguf")
CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE")


def doctor(as_json: AsJson = False) -> None:
    """Print the resources of this machine and Evenhand's setup on it."""
    from flows.environment import prepare

    prepare()
    checks = {name: _try(check) for name, check in CHECKS.items()}
    if as_json:
        print_json(checks)
        return
    rows = [[topic, name, str(value)] for topic, facts in checks.items() for name, value in facts.items()]
    table("evenhand doctor", ["topic", "what", "found"], rows)


def _try(check: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Facts of a check, or its error: a failed check must not end the command."""
    try:
        return check()
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}


def _versions() -> dict[str, Any]:
    versions = {"python": f"{platform.python_version()} ({sys.executable})"}
    for name in LIBRARIES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "not installed"
    return versions


def _devices() -> dict[str, Any]:
    import torch

    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return {"cores": os.cpu_count(), "gpus": ", ".join(gpus) or "none", "torch build": torch.version.cuda or "CPU"}


def _places() -> dict[str, Any]:
    from pipeline_core.store.places import Places, nearest

    places = Places.from_environment()
    return {
        "home": str(places.home),
        **({"bucket": _bucket(places)} if places.bucket else {}),
        "cache" if places.bucket else "store": (
            f"{places.store} ({'writable' if os.access(nearest(places.store), os.W_OK) else 'NOT WRITABLE'})"
        ),
        "data": str(places.data_root or "EVENHAND_DATA is not set"),
    }


def _bucket(places: Places) -> str:
    from pipeline_core.errors import EvenhandError
    from pipeline_core.objects.opening import open_store

    try:
        bucket = open_store(places).bucket
        bucket.check()
    except EvenhandError as error:
        return f"CANNOT BE USED: {error}"
    return f"{bucket.address} at {bucket.server}"


def _databases() -> dict[str, Any]:
    return {"tracking": _tracking(), "prefect": _prefect()}


def _tracking() -> str:
    from pipeline_core.errors import BadInput
    from pipeline_core.store.places import Places
    from pipeline_core.tracking.opening import backend_of

    places = Places.from_environment()
    try:
        backend, address = backend_of(places)
        return backend.described(address, places)
    except BadInput as error:
        return f"CANNOT BE USED: {error}"


def _prefect() -> str:
    from pipeline_core.errors import BadInput
    from pipeline_core.network.proxies import check_network

    try:
        check_network()
    except BadInput as error:  # Prefect cannot be imported then
        return f"NO CLIENT CAN BE MADE: {error}"
    from flows.server import configured_url
    from pipeline_core.network.addresses import answering

    url = configured_url()
    return "a private server for every run (PREFECT_API_URL is not set)" if url is None else answering(url)


def _hub() -> dict[str, Any]:
    from pipeline_core.network.addresses import answers
    from pipeline_core.network.hub_commits import HUB
    from pipeline_core.network.proxies import through

    if os.environ.get("HF_HUB_OFFLINE"):
        return {"access": "off (HF_HUB_OFFLINE): local and cached data and models work, entries of kind hub do not"}
    if answers(HUB):
        return {"access": "reachable"}
    where = f"NOT REACHABLE{through(HUB)}"
    return {"access": f"{where}: the sandbox, local files and what is cached work; set HF_HUB_OFFLINE=1"}


def _network() -> dict[str, Any]:
    """Proxies and certificates named in the environment, with their faults."""
    from pipeline_core.network.proxies import exceptions, proxies

    shown = {p.variable: f"{p.shown} (NOT USABLE: {p.fault})" if p.fault else p.shown for p in proxies()}
    return {
        "proxies": "none" if not shown else "never for this machine itself",
        **shown,
        **({"NO_PROXY": ", ".join(exceptions())} if shown else {}),
        **{name: f"{path}{_fault(name)}" for name in CERTIFICATES if (path := os.environ.get(name))},
    }


def _fault(variable: str) -> str:
    from pipeline_core.network.proxies import certificate_fault

    if not Path(os.environ[variable]).exists():
        return " (NOT THERE)"
    fault = certificate_fault(variable) if variable in CERTIFICATES[:2] else ""
    return f" (NOT USABLE: {fault.removeprefix('which ')})" if fault else ""


def _plugins() -> dict[str, Any]:
    from pipeline_core.plugin.registry import load_registry

    registry = load_registry()
    return {"usable": len(registry.specs()), "broken": "; ".join(map(str, registry.broken)) or "none"}


def _telemetry() -> dict[str, Any]:
    from flows.environment import QUIET

    return {
        name: os.environ.get(name, "") for name in QUIET if "TELEMETRY" in name or "TRACK" in name or "ANALYT" in name
    }


CHECKS: dict[str, Callable[[], dict[str, Any]]] = {
    "versions": _versions,
    "devices": _devices,
    "places": _places,
    "databases": _databases,
    "network": _network,
    "hub": _hub,
    "plugins": _plugins,
    "telemetry": _telemetry,
}
