"""A Prefect server, an MLflow server and workers as processes of their own, on ports of their own."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

from tests.flows.conftest import ROOT

BIN = Path(sys.executable).parent
START_SECONDS = 240


def free_port():
    with contextlib.closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def answers(url):
    with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=5) as response:
        return response.status == 200
    return False


@dataclass
class Serving:
    """Running servers. `environment` is that of their clients, `folder` holds their logs."""

    folder: Path
    home: Path
    environment: dict[str, str] = field(default_factory=dict)
    processes: list[subprocess.Popen] = field(default_factory=list)

    def start(self, *command, **environment):
        with (self.folder / f"{len(self.processes)}-{command[0]}.log").open("wb") as log:
            process = subprocess.Popen(
                [BIN / command[0], *command[1:]], env=self.environment | environment, stdout=log, stderr=log
            )
        self.processes.append(process)

    def call(self, *command, timeout=300, cwd=ROOT):
        """Run a command to its end; its stdout."""
        done = subprocess.run(
            [BIN / command[0], *command[1:]],
            env=self.environment,
            cwd=cwd,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr + self.logs()
        return done.stdout

    def api(self, path, body=None, method=None):
        """Ask the Prefect server: a GET, or a POST where there is a body."""
        request = urllib.request.Request(
            f"{self.environment['PREFECT_API_URL']}/{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
            method=method,
        )
        with urllib.request.urlopen(request, timeout=60) as response:
            answer = response.read()
        return json.loads(answer) if answer else None

    def deployment(self, name):
        """A deployment as the server knows it; `name` is FLOW/DEPLOYMENT."""
        return self.api(f"deployments/name/{name}")

    def runs(self, deployment, *states):
        """The runs of a deployment in one of these types of state, or in any."""
        states = {"state": {"type": {"any_": list(states)}}} if states else {}
        chosen = {"deployments": {"id": {"any_": [deployment["id"]]}}, "flow_runs": states}
        return self.api("flow_runs/filter", chosen | {"sort": "EXPECTED_START_TIME_ASC"})

    def wait(self, found, seconds, what):
        """What `found` returns as soon as it is not empty."""
        end = time.monotonic() + seconds
        while not (result := found()):
            assert time.monotonic() < end, f"{what} within {seconds} seconds: no\n{self.logs()}"
            time.sleep(0.5)
        return result

    def completed(self, run, seconds=900):
        """Wait until a flow run has ended, and see that it completed."""

        def state():
            now = self.api(f"flow_runs/{run['id']}")["state"]
            return now if now["type"] in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED") else None

        ended = self.wait(state, seconds, "the end of the run")
        assert ended["type"] == "COMPLETED", f"{ended['name']}: {ended['message']}\n{self.logs()}"

    def logs(self):
        """The ends of all logs."""
        return "\n".join(f"{log.name}: {log.read_text()[-3000:]}" for log in sorted(self.folder.glob("*.log")))

    def stop(self):
        """End the workers, then the servers, so that each can end well."""
        for process in reversed(self.processes):
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(20)
            process.kill()
            process.wait()


@contextlib.contextmanager
def serving(folder, home, prefect_database=None, mlflow_database=None, deploy=True):
    """Both servers; with `deploy` also everything of prefect.yaml and a worker for each pool.

    The databases are files below `folder` where no address is given.
    """
    prefect, mlflow = free_port(), free_port()
    store = mlflow_database or f"sqlite:///{folder / 'mlflow.db'}"
    served = Serving(folder, home)
    served.environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "EVENHAND_HOME": str(home),
        "PREFECT_HOME": str(folder / "prefect"),
        "PREFECT_API_URL": f"http://127.0.0.1:{prefect}/api",
        "PREFECT_WORKER_QUERY_SECONDS": "2",
        "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{mlflow}",
        "COLUMNS": "200",
    }
    address = {"PREFECT_API_DATABASE_CONNECTION_URL": prefect_database} if prefect_database else {}
    try:
        served.start("prefect", "server", "start", "--port", str(prefect), **address)
        served.start("mlflow", "server", "--backend-store-uri", store, "--artifacts-destination",
                     str(folder / "artifacts"), "--port", str(mlflow))  # fmt: skip
        healthy = (f"http://127.0.0.1:{prefect}/api/health", f"http://127.0.0.1:{mlflow}/health")
        served.wait(lambda: all(map(answers, healthy)), START_SECONDS, "both servers answer")
        if deploy:
            _deploy(served)
        yield served
    finally:
        served.stop()


def _deploy(served):
    for pool in ("cpu", "gpu"):
        served.call("prefect", "--no-prompt", "work-pool", "create", pool, "--type", "process")
    served.call("prefect", "--no-prompt", "deploy", "--all")
    for pool in ("cpu", "gpu"):
        served.start("prefect", "worker", "start", "--pool", pool)
