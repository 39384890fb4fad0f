"""Connects to a Ray cluster, or starts one on loopback, for prefect-ray's task runner."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from flows.environment import LOCAL as LOOPBACK
from flows.server import configured_url
from pipeline_core.errors import BadInput, shortened
from pipeline_core.network.addresses import shown_uri
from pipeline_core.store.places import Places

if TYPE_CHECKING:
    from prefect_ray import RayTaskRunner

LOCAL = "local"
"""Stands for a cluster that lives as long as this process, on loopback."""
QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
ON_LOOPBACK = ("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
"""Keeps Ray on loopback, on any system: else it replaces 127.0.0.1 by the host's address, and binds all interfaces."""
HANDED_ON = ("EVENHAND_DATA", "EVENHAND_CATALOG", "EVENHAND_STORE_PATIENCE", "AWS_ENDPOINT_URL", "AWS_REGION", *(
    "AWS_DEFAULT_REGION", "HF_HUB_OFFLINE", "HF_HOME", "DO_NOT_TRACK", "MLFLOW_DISABLE_TELEMETRY",
    "PREFECT_LOGGING_LEVEL"))  # fmt: skip
"""Variables of this process that the cluster's workers get, besides the places."""


@contextmanager
def ray_runner(address: str) -> Iterator[RayTaskRunner[Any]]:
    """A started task runner on the cluster at `address`, or on one of its own for `LOCAL`.

    Raises:
        BadInput: Ray is not installed, no cluster answers, or its nodes could not reach this process's Prefect server.
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    if address == LOCAL:  # before the import, which reads it
        os.environ.setdefault(*ON_LOOPBACK)
    try:
        import ray
        from prefect_ray import RayTaskRunner
    except ImportError as error:
        raise BadInput(f"--ray needs Ray, which is not installed here ({error}): pip install 'evenhand[ray]'") from None
    runner = RayTaskRunner(None if address == LOCAL else address, _options(address))
    handler = signal.getsignal(signal.SIGTERM)
    try:
        runner.__enter__()
        signal.signal(signal.SIGTERM, handler)  # Ray has set its own, which ends the process at once
    except (ConnectionError, ValueError, RuntimeError) as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise BadInput(f"--ray: no cluster can be used at {address}: {shortened(first)}") from None
    try:
        _check_reach([node["NodeManagerAddress"] for node in ray.nodes() if node["Alive"]])
        yield runner
    finally:
        runner.__exit__(None, None, None)


def gpus_of_cluster() -> float:
    """Number of GPUs of the connected cluster."""
    import ray

    return float(ray.cluster_resources().get("GPU", 0.0))


def _options(address: str) -> dict[str, Any]:
    shared: dict[str, Any] = {
        "runtime_env": {"env_vars": variables()},
        "log_to_driver": False,
        "logging_level": "ERROR",
    }
    if address == LOCAL:
        shared |= {"address": LOCAL, "_node_ip_address": LOOPBACK[0], "include_dashboard": False}
    return shared


def variables() -> dict[str, str]:
    """Variables that workers of the cluster get. Ray's pages show them, so an address with a secret is left out.

    The number of threads is not among them: each task gets as many as it has CPUs.
    """
    places = Places.from_environment()
    named = {
        "EVENHAND_HOME": str(places.home),
        "EVENHAND_STORE": places.bucket or str(places.store),
        "EVENHAND_CACHE": str(places.store) if places.bucket else "",
        "EVENHAND_TRACKING": places.tracking,
        "MLFLOW_TRACKING_URI": places.tracking_uri,
        "PREFECT_API_URL": configured_url() or "",
    }
    given = {name: value for name in HANDED_ON if (value := os.environ.get(name))}
    return {name: value for name, value in (named | given | QUIET).items() if value and shown_uri(value) == value}


def _check_reach(nodes: list[str]) -> None:
    """Refuse nodes on other machines if the Prefect server listens on loopback.

    Raises:
        BadInput: naming the nodes and the server.
    """
    import ray

    url = configured_url() or ""
    elsewhere = sorted({node for node in nodes if not node.startswith("127.")} - {ray.util.get_node_ip_address()})
    if elsewhere and urlsplit(url).hostname in LOOPBACK:
        raise BadInput(
            f"--ray: the nodes {', '.join(elsewhere[:5])} cannot reach the Prefect server at {shown_uri(url)}; "
            "set PREFECT_API_URL to a server that they reach"
        )
