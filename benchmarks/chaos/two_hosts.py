"""`python -m benchmarks.chaos.two_hosts`: two hosts with one store and a clock an hour apart make the same artifacts.

They begin at once; then the host that makes something is killed, once each, and the other takes over.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx

from benchmarks.chaos import checks
from benchmarks.chaos.failures import LeftOver, Lost, Skipped, wait
from benchmarks.chaos.hosts import SERVERS, Host, two_hosts
from benchmarks.chaos.place import ONE_POLICY, Attempt, Place, free_port
from benchmarks.chaos.processes import processes_of, send, stopped, until_gone
from benchmarks.chaos.undisturbed import complete, expected_digests, until_training
from flows.records import RunRecord

START_SECONDS = 240.0
WAITS = "policy:dpo  waits for process"


class PlaceOnHost(Place):
    """A home of its own on a host, with the store of both."""

    def __init__(self, folder: Path, host: Host, store: Path, addresses: Mapping[str, str]) -> None:
        super().__init__(folder / host.name)
        self.store = store
        self.host = host
        self._addresses = addresses

    @property
    def environment(self) -> dict[str, str]:
        """Variables of commands, with the addresses of the servers."""
        servers = {
            "PREFECT_API_URL": f"{self._addresses['prefect']}/api",
            "MLFLOW_TRACKING_URI": self._addresses["mlflow"],
        }
        return {**super().environment, **servers, "EVENHAND_STORE": str(self.store)}

    def begin(self) -> Attempt:
        """Start the run on the host."""
        # Its clock is set behind `nsenter`, which needs none.
        clock = ["env", *(f"{name}={value}" for name, value in self.host.environment.items())]
        return self.start(*ONE_POLICY, before=[*self.host.words, *clock])

    def address(self, name: str) -> str:
        """Address of a server."""
        return self._addresses[name]

    def die(self) -> None:
        """`kill -9` of all that runs on the host."""
        for found in processes_of(self.home):
            send(found, signal.SIGKILL)
        if left := until_gone(self.home, 60):
            raise Lost(f"processes outlive kill -9: {left}")


@contextmanager
def _servers(folder: Path) -> Iterator[Mapping[str, str]]:
    """A Prefect and an MLflow server at the bridge's address, as they are started by hand."""
    addresses = {name: f"http://{SERVERS}:{free_port()}" for name in ("prefect", "mlflow")}
    ports = {name: address.rpartition(":")[2] for name, address in addresses.items()}
    place = Place(folder / "servers")
    environment = {**place.environment, "PREFECT_HOME": str(folder / "prefect")}
    commands = (
        ["prefect", "server", "start", "--host", SERVERS, "--port", ports["prefect"]],
        ["mlflow", "server", "--host", SERVERS, "--port", ports["mlflow"], "--workers", "1",
         "--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}",
         "--artifacts-destination", str(folder / "artifacts"), "--allowed-hosts", f"{SERVERS}:*"],
    )  # fmt: skip
    with ExitStack() as stack:
        for words in commands:
            log = stack.enter_context((folder / f"{words[0]}.log").open("wb"))
            command = [str(Path(sys.executable).parent / words[0]), *words[1:]]
            process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
            stack.callback(_end, process)
        for url in (f"{addresses['prefect']}/api/health", f"{addresses['mlflow']}/health"):
            wait(lambda url=url: _answers(url), START_SECONDS, f"an answer of {url}")  # type: ignore[misc]
        yield addresses


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()


def clocks_differ(places: Sequence[PlaceOnHost]) -> None:
    """The time of day differs by an hour, and the monotonic clock does not. Else the test would show nothing."""
    look = (
        "import time; a = time.monotonic(); time.sleep(1); print(time.time(), time.monotonic(), time.monotonic() - a)"
    )
    child = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {look!r}], check=True)"
    seen = []
    for place in places:
        words = [*place.host.words, "env", *(f"{k}={v}" for k, v in place.host.environment.items())]
        done = subprocess.run([*words, sys.executable, "-c", child], capture_output=True, text=True, check=True)
        seen.append([float(number) for number in done.stdout.split()])
    (day, steady, _), (later_day, later_steady, slept) = seen
    if not 3590 < later_day - day < 3700 or not 0 <= later_steady - steady < 100 or slept < 1:
        raise Skipped(f"libfaketime does not set the clock of Python's children alone: {seen}")


def at_once(places: Sequence[PlaceOnHost]) -> Sequence[RunRecord]:
    """Both begin at the same time and complete; every stage is made by one of them."""
    attempts = [place.begin() for place in places]
    records = [complete(place, attempt) for place, attempt in zip(places, attempts, strict=True)]
    made = Counter(stage.key for record in records for stage in record.stages if not stage.reused)
    if len(made) != len(records[0].stages) or set(made.values()) != {1}:
        raise Lost(f"stages were made this often: {dict(made)}")
    return records


def taken_over(owner: PlaceOnHost, other: PlaceOnHost) -> Sequence[RunRecord]:
    """The host that trains is killed while the other waits for it: the other takes over; then the first tries again."""
    first = owner.begin()
    until_training(owner, first)
    with stopped(processes_of(owner.home)):  # the training lasts until the other host has come to it
        second = other.begin()
        wait(
            lambda: WAITS in second.err.read_text(errors="replace"),
            START_SECONDS,
            "the second host waits for the first",
        )
        owner.die()
    first.process.wait()
    return [complete(other, second), complete(owner, owner.begin())]


def main(words: Sequence[str] | None = None) -> int:
    """Exit code: 1 if anything was lost or left over."""
    parser = argparse.ArgumentParser("python -m benchmarks.chaos.two_hosts", description=__doc__)
    parser.add_argument("--folder", type=Path, help="where the homes are made (default: the system's)")
    folder = Path(tempfile.mkdtemp(prefix="evenhand-hosts-", dir=parser.parse_args(words).folder))
    began = time.monotonic()
    try:
        passed = _carry_out(folder)
    except Skipped as error:
        print(f"two hosts: skipped: {error}")
        return 0
    except (Lost, LeftOver) as error:
        print(f"two hosts: {'lost' if isinstance(error, Lost) else 'left over'}: {error}\nkept: {folder}")
        return 1
    shutil.rmtree(folder)
    minutes = (time.monotonic() - began) / 60
    print(f"two hosts an hour apart: {passed} tests passed, 0 lost, 0 left over, {minutes:.0f} min")
    return 0


def _carry_out(folder: Path) -> int:
    expected, _ = expected_digests(folder / "undisturbed")
    with two_hosts() as hosts, _servers(folder) as addresses:
        left, right = places = [PlaceOnHost(folder, host, folder / "shared", addresses) for host in hosts]
        clocks_differ(places)
        tests = {
            "both at once": lambda: at_once(places),
            "the host that is ahead takes over": lambda: taken_over(left, right),
            "the host that is behind takes over": lambda: taken_over(right, left),
        }
        for name, test in tests.items():
            began = time.monotonic()
            for record, place in zip(test(), reversed(places) if "ahead" in name else places, strict=True):
                checks.completed(place, record, expected, {})
            print(f"{name}: {time.monotonic() - began:.0f} s", flush=True)
            shutil.rmtree(folder / "shared")
        return len(tests)


if __name__ == "__main__":
    sys.exit(main())
