"""Many stage runs through one Prefect server, one MLflow server and several workers, with PostgreSQL behind both.

    python -m benchmarks.server_load --runs 500 --workers 4

Each run makes an artifact of its own (an extension of eight rows), below one tracking run. Every submission is sent
twice with its idempotency key, as by a client that has not heard the answer. The command ends with 1 if a run did not
complete, was lost or doubled, or if a server logged an error; its last line sums up. What a run costs the servers,
`docs/scaling.md` counts with.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil

from flows.environment import prepare
from pipeline_core.data.refs import DataRef
from pipeline_core.stage.key import Job
from pipeline_core.stage.settings import ExecutionSettings
from pipeline_core.store.artifacts import Store
from tests.flows.postgres import cluster
from tests.flows.serving import Serving, serving

CLIENTS = 8
"""Threads that submit."""
FINAL = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
ERRORS = re.compile(r"\b(ERROR|CRITICAL)\b|deadlock|Traceback|Internal Server Error", re.IGNORECASE)


def main() -> None:
    """Run the load and print what was held."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument("--workers", type=int, default=4)
    options = parser.parse_args()
    prepare(console=False)
    folder = Path(tempfile.mkdtemp(prefix="load-"))
    home = folder / "home"
    with (
        cluster("prefect", "mlflow") as address,
        serving(
            folder, home, f"postgresql+asyncpg://{address}/prefect", f"postgresql://{address}/mlflow", deploy=False
        ) as served,
    ):
        served.call("prefect", "--no-prompt", "work-pool", "create", "gpu", "--type", "process")
        served.call("prefect", "--no-prompt", "deploy", "--name", "gpu")
        for _ in range(options.workers):
            served.start("prefect", "worker", "start", "--pool", "gpu", "--limit", "1")
        began, before = time.monotonic(), _processor_seconds(served)
        submitted = _submit(served, options.runs, _parent(served))
        taken = time.monotonic() - began
        print(f"{2 * options.runs} submissions of {options.runs} runs in {taken:.1f} s", flush=True)
        states = _wait(served, options.runs)
        seconds = time.monotonic() - began
        print(_costs(before, _processor_seconds(served), options.runs))
        faults = [*_lost(served, submitted, states, Store(home / "store")), *_logged(folder)]
    for fault in faults:
        print(fault)
    print(f"{len(states)} runs on {options.workers} workers in {seconds / 60:.1f} min, {len(faults)} errors or losses")
    sys.exit(bool(faults))


def _parent(served: Serving) -> str:
    """Id of the tracking run above all of them."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient(served.environment["MLFLOW_TRACKING_URI"])
    found = client.get_experiment_by_name("evenhand")
    experiment = found.experiment_id if found else client.create_experiment("evenhand")
    return str(client.create_run(experiment, run_name="load").info.run_id)


def _job(number: int) -> Job:
    return Job(
        stage="extend",
        config={"name": "counterfactual"},
        label="counterfactual",
        seed=number,
        inputs={},
        data=DataRef(entry="sandbox_pairs", rows=8),
        runner=ExecutionSettings(launch="in_process", threads=1),
    )


def _submit(served: Serving, runs: int, parent: str) -> list[str]:
    """Ids of the flow runs, in the order of their jobs; each is asked for twice."""
    deployment = served.deployment("stage/gpu")["id"]

    def submit(number: int) -> str:
        parameters = {"job": _job(number).model_dump(mode="json"), "name": f"extend {number}", "parent": parent}
        body = {"parameters": parameters, "idempotency_key": f"load-{number}", "state": {"type": "SCHEDULED"}}
        ids = {served.api(f"deployments/{deployment}/create_flow_run", body)["id"] for _ in range(2)}
        return "doubled" if len(ids) > 1 else str(ids.pop())

    with ThreadPoolExecutor(CLIENTS) as clients:
        return list(clients.map(submit, range(runs)))


def _wait(served: Serving, runs: int) -> dict[str, dict[str, Any]]:
    """All flow runs by id, once every one has its end."""
    told = 0.0
    while True:
        found: dict[str, dict[str, Any]] = {}
        for offset in range(0, runs + 200, 200):
            page = served.api("flow_runs/filter", {"limit": 200, "offset": offset, "sort": "START_TIME_ASC"})
            found |= {run["id"]: run for run in page}
        counts = Counter(run["state"]["type"] for run in found.values())
        if time.monotonic() - told > 60:
            print(", ".join(f"{count} {state.lower()}" for state, count in counts.most_common()), flush=True)
            told = time.monotonic()
        if sum(counts[state] for state in FINAL) >= runs:
            return found
        time.sleep(5)


def _costs(before: dict[str, float], after: dict[str, float], runs: int) -> str:
    words = [f"{name} {(seconds - before[name]) / runs:.2f}" for name, seconds in after.items()]
    return f"processor seconds for each run: {', '.join(words)}"


def _processor_seconds(served: Serving) -> dict[str, float]:
    """Processor seconds so far of both servers and the workers, with their descendants, ended ones included."""

    def seconds(processes: Sequence[subprocess.Popen[bytes]]) -> float:
        roots = [psutil.Process(process.pid) for process in processes]
        trees = [process for root in roots for process in (root, *root.children(recursive=True))]
        return sum(sum(process.cpu_times()[:4]) for process in trees)

    prefect, mlflow, *workers = served.processes
    return {
        "Prefect server": seconds([prefect]),
        "MLflow server": seconds([mlflow]),
        "workers and their runs": seconds(workers),
    }


def _lost(served: Serving, submitted: list[str], runs: dict[str, dict[str, Any]], store: Store) -> list[str]:
    """Sentences on what was lost or doubled: flow runs, artifacts, tracked runs."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient(served.environment["MLFLOW_TRACKING_URI"])
    experiment = client.get_experiment_by_name("evenhand")
    assert experiment
    tracked: list[Any] = []
    token = None
    while token != "":
        page = client.search_runs([experiment.experiment_id], "attributes.run_name LIKE 'extend %'", page_token=token)
        tracked, token = tracked + page, page.token or ""
    faults = [
        f"{run['name']}: {run['state']['name']}: {run['state']['message']}"
        for run in runs.values()
        if run["state"]["type"] != "COMPLETED"
    ]
    if len(set(submitted)) != len(submitted) or set(runs) != set(submitted):
        faults.append(f"{len(runs)} flow runs, {len(set(submitted))} ids, {len(submitted)} jobs")
    artifacts = list(store.ls())
    if len(artifacts) != len(submitted):
        faults.append(f"{len(artifacts)} artifacts of {len(submitted)} jobs")
    ends = Counter(run.info.status for run in tracked)
    if ends != Counter(FINISHED=len(submitted)):
        faults.append(f"tracked runs: {dict(ends)}")
    return faults


def _logged(folder: Path) -> list[str]:
    """Lines of the servers' and workers' logs that tell an error."""
    found = []
    for log in sorted(folder.glob("*.log")):
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
        found += [f"{log.name}: {line.strip()}" for line in lines if ERRORS.search(line)]
    return found


if __name__ == "__main__":
    main()
