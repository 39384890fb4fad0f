"""A proxy between the runs and a server that answers 500, hangs, or sends requests twice."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from benchmarks.chaos.checks import Expected
from benchmarks.chaos.failures import Lost
from benchmarks.chaos.place import ONE_POLICY, Place
from benchmarks.chaos.proxy import Manner, Proxy
from benchmarks.chaos.undisturbed import complete
from flows.records import RunRecord

SERVERS = ("prefect", "mlflow")
MANNERS: tuple[Manner, ...] = ("500", "hangs", "twice")
VARIABLES = {"prefect": "PREFECT_API_URL", "mlflow": "MLFLOW_TRACKING_URI"}


def fault(server: str, manner: Manner) -> Callable[[Place, Expected, Random], RunRecord]:
    """The fault of one server; a run under it may fail, and the next one by way of a proxy without faults completes."""

    def disturbed(place: Place, _: Expected, rng: Random) -> RunRecord:
        addresses = {name: place.address(name) for name in SERVERS}
        with Proxy(addresses[server], rng) as proxy:
            addresses[server] = proxy.address
            environment = {
                VARIABLES["prefect"]: f"{addresses['prefect']}/api",
                VARIABLES["mlflow"]: addresses["mlflow"],
            }
            proxy.manner = manner
            attempt = place.start(*ONE_POLICY, environment=environment)
            attempt.wait()
            if not proxy.faults:
                raise Lost("the proxy had no fault")
            proxy.manner = None
            return complete(place, place.start(*ONE_POLICY, environment=environment))

    return disturbed
