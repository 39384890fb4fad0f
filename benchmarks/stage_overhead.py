"""What a stage costs besides its work: making a small artifact, and finding it again."""

from __future__ import annotations

import tempfile
from itertools import count
from pathlib import Path

from benchmarks.interleaved import machine, measure, table
from pipeline_core.plugin.registry import Registry
from pipeline_core.stage.key import Job
from pipeline_core.stage.run import run_stage
from pipeline_core.stage.settings import ExecutionSettings
from pipeline_core.store.artifacts import Store
from tests.stage import probes


def main() -> None:
    """Print the table."""
    registry = Registry()
    registry.add(probes.Probes(), probes.origin())
    store, seeds = Store(Path(tempfile.mkdtemp())), count()

    def stage(seed: int) -> None:
        config = {"name": "probe_base", "size": 10_000}
        job = Job(stage="base", config=config, label="probe", seed=seed, runner=ExecutionSettings(launch="in_process"))
        run_stage(job, store, registry)

    print(machine())
    print(table("One stage in process", measure({"made": lambda: stage(next(seeds)), "reused": lambda: stage(0)}, 30)))


if __name__ == "__main__":
    main()
