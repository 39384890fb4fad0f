"""A proxy between the runs and a server that answers 500, hangs, or sends requests twice."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from benchmarks.chaos.checks import Expected
from benchmarks.chaos.failures import Lost
from benchmarks.chaos.place import ONE_POLICY, Place
from benchmarks.chaos.proxy import Manner, Proxy
from benchmarks.chaos.undisturbed import complete, until_training
from flows.records import RunRecord

SERVERS = ("prefect", "mlflow")
MANNERS: tuple[Manner, ...] = ("500", "hangs", "twice")
VARIABLES = {"prefect": "PREFECT_API_URL", "mlflow": "MLFLOW_TRACKING_URI"}


def fault(server: str, manner: Manner) -> Callable[[Place, Expected, Random], RunRecord]:
    """The fault of one server: of a whole run, and of one from its training on. The next, without it, completes."""

    def disturbed(place: Place, _: Expected, rng: Random) -> RunRecord:
        addresses = {name: place.address(name) for name in SERVERS}
        with Proxy(addresses[server], rng) as proxy:
            addresses[server] = proxy.address
            environment = {
                VARIABLES["prefect"]: f"{addresses['prefect']}/api",
                VARIABLES["mlflow"]: addresses["mlflow"],
            }
            proxy.manner = manner
            place.start(*ONE_POLICY, environment=environment).wait()  # from its start on; it may fail
            proxy.manner = None
            attempt = place.start(*ONE_POLICY, environment=environment)
            if not _has_trained(place):
                until_training(place, attempt)
                proxy.manner = manner
                attempt.wait()
            if not proxy.faults:
                raise Lost("the proxy had no fault")
            proxy.manner = None
            return complete(place, place.start(*ONE_POLICY, environment=environment))

    return disturbed


def _has_trained(place: Place) -> bool:
    return any(manifest.stage == "policy" for manifest in place.artifacts().values())
