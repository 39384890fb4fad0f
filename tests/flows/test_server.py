"""The real thing: a Prefect server, two workers, an MLflow server, `prefect deploy --all`, and a triggered run."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from tests.flows.conftest import ROOT

pytestmark = pytest.mark.slow
BIN = Path(sys.executable).parent


def free_port():
    with contextlib.closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def answers(url):
    with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=5) as response:
        return response.status == 200
    return False


@pytest.fixture
def servers(tmp_path, home):
    """Both servers and a worker for each pool; ended in the order that lets each end well."""
    prefect, mlflow = free_port(), free_port()
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "EVENHAND_HOME": str(home),
        "PREFECT_HOME": str(tmp_path / "prefect"),
        "PREFECT_API_URL": f"http://127.0.0.1:{prefect}/api",
        "PREFECT_WORKER_QUERY_SECONDS": "2",
        "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{mlflow}",
        "COLUMNS": "200",
    }
    started = []

    def start(*command):
        with (tmp_path / f"{len(started)}.log").open("wb") as log:
            process = subprocess.Popen([BIN / command[0], *command[1:]], env=environment, stdout=log, stderr=log)
        started.append(process)

    def call(*command, timeout=300):
        done = subprocess.run(
            [BIN / command[0], *command[1:]],
            env=environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    store = f"sqlite:///{tmp_path / 'mlflow.db'}"
    start("prefect", "server", "start", "--port", str(prefect))
    start("mlflow", "server", "--backend-store-uri", store, "--artifacts-destination", str(tmp_path / "artifacts"),
          "--port", str(mlflow))  # fmt: skip
    try:
        end = time.monotonic() + 180
        while not (answers(f"http://127.0.0.1:{prefect}/api/health") and answers(f"http://127.0.0.1:{mlflow}/health")):
            assert time.monotonic() < end, [log.read_text()[-2000:] for log in tmp_path.glob("*.log")]
            time.sleep(0.5)
        for pool in ("cpu", "gpu"):
            call("prefect", "--no-prompt", "work-pool", "create", pool, "--type", "process")
        call("prefect", "--no-prompt", "deploy", "--all")
        for pool in ("cpu", "gpu"):
            start("prefect", "worker", "start", "--pool", pool)
        yield call, environment
    finally:
        for process in reversed(started):
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(20)
            process.kill()
            process.wait()


def test_a_triggered_run_completes_and_stands_in_tracking(servers, home):
    call, environment = servers
    overrides = ["base.steps=2", "extend=null", "policy=[{name: dpo, steps: 2}]", "runner.deployment=stage/gpu"]
    call(
        "prefect", "deployment", "run", "pipeline/on-demand", "--param", "preset=smoke",
        "--param", f"overrides={json.dumps(overrides)}", "--watch", timeout=540,
    )  # fmt: skip
    (run,) = (home / "runs").iterdir()
    record = json.loads((run / "run.json").read_text(encoding="utf-8"))
    assert record["status"] == "completed"
    assert Path(record["report"]).is_file()

    from mlflow import MlflowClient

    client = MlflowClient(environment["MLFLOW_TRACKING_URI"])
    runs = client.search_runs([client.get_experiment_by_name("evenhand").experiment_id])
    assert {one.info.status for one in runs} == {"FINISHED"}
    children = {one.info.run_name for one in runs if one.data.tags.get("mlflow.parentRunId") == run.name}
    assert children >= {"base", "reward", "policy:dpo", "evaluate:sandbox_bias:base", "evaluate:sandbox_bias:dpo"}
    listed = call("prefect", "flow-run", "ls", "--flow-name", "stage")
    assert listed.count("COMPLETED") == 4, "reward, policy and evaluations ran on the gpu pool"
