"""Time that a stage costs besides its work: its key, lock, manifest and tracking, its process, and its reuse.

    python -m benchmarks.stage_overhead

The parts run in turn in this process, with an MLflow server on this machine. Then `smoke` runs twice by the command,
with a Prefect server and that MLflow server: the second run reuses every stage, and Prefect knows how long each took.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

from benchmarks.interleaved import machine, measure, table
from pipeline_core.data.catalog import Catalog
from pipeline_core.data.refs import DataRef
from pipeline_core.plugin.registry import Registry, load_registry
from pipeline_core.stage.key import Job, key_of
from pipeline_core.stage.run import run_stage
from pipeline_core.stage.settings import ExecutionSettings
from pipeline_core.store.artifacts import Store
from pipeline_core.store.places import Places
from pipeline_core.tracking.opening import open_tracking
from pipeline_core.tracking.protocol import Tracking
from tests.flows.serving import Serving, serving
from tests.stage import probes

EVENTS = 100
"""Training events that the tracked stage logs, of five metrics each."""


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=30)
    rounds = parser.parse_args().rounds
    folder = Path(tempfile.mkdtemp(prefix="overhead-"))
    print(machine())
    with serving(folder, folder / "home", deploy=False) as served:
        os.environ["MLFLOW_TRACKING_URI"] = served.environment["MLFLOW_TRACKING_URI"]
        with open_tracking(Places.from_environment()) as tracking:
            print(table("Parts of one stage", measure(_parts(folder, tracking), rounds)))
        print(_reused(served))


def _parts(folder: Path, tracking: Tracking) -> dict[str, Callable[[], object]]:
    registry = Registry()
    registry.add(probes.Probes(), probes.origin())
    store, numbers = Store(folder / "store"), count()
    store.prepare()
    parent = tracking.start_run("overhead")
    catalog = Catalog.from_environment()
    real = Job(stage="policy", config={"name": "dpo"}, label="dpo", data=DataRef(entry="sandbox_pairs"))

    def job(seed: int) -> Job:
        config = {"name": "probe_base", "size": 10_000}
        return Job(stage="base", config=config, label="probe", seed=seed, runner=ExecutionSettings(launch="in_process"))

    def lock() -> None:
        with store.lock("model", f"{next(numbers):064x}"):
            pass

    def commit() -> None:
        key = f"{next(numbers):064x}"
        work = store.partial(key) / "work"
        work.mkdir(parents=True)
        (work / "weights.txt").write_text("0 " * 10_000)
        facts: dict[str, Any] = {
            "stage": "base",
            "plugin": "probe",
            "revision": 1,
            "label": "probe",
            "seed": 0,
            "config": {},
        }
        store.commit("model", key, work, **facts, inputs={}, data={}, metrics={}, seconds=0.0, versions={})

    def tracked() -> None:
        result = run_stage(job(0), store, registry)
        with tracking.child(parent, "probe", {"config": real.config, "seed": 0}, {}) as child:
            for step in range(EVENTS):
                child.on_event({"step": step, "metrics": {f"loss/{name}": 0.5 for name in "abcde"}})
            child.log_result(result)

    return {
        "made, in process, all but tracking": lambda: run_stage(job(next(numbers)), store, registry),
        "reused, all but tracking": lambda: run_stage(job(0), store, registry),
        "key of a policy": lambda: key_of(real, load_registry(), catalog),
        "lock": lock,
        "manifest and commit": commit,
        f"tracking, MLflow server, {EVENTS} events": tracked,
    }


def _reused(served: Serving) -> str:
    """Markdown: seconds of the stages of a run that reuses all of them, by Prefect, and of the run."""
    seconds = {}
    for number in ("first", "second"):
        record = json.loads(served.call("evenhand", "run", "smoke", "--json"))
        tasks = served.api("task_runs/filter", {"sort": "END_TIME_DESC", "limit": len(record["stages"])})
        seconds[number] = [task["total_run_time"] for task in tasks]
        assert all(stage["reused"] == (number == "second") for stage in record["stages"])
    lines = ["### Stages of `smoke`, by Prefect", "", "| | stages | median, s | most, s |", "|---|---|---|---|"]
    for name, values in (("made", seconds["first"]), ("reused", seconds["second"])):
        lines.append(f"| {name} | {len(values)} | {statistics.median(values):.3f} | {max(values):.3f} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
