"""`evenhand run` as a process: killed, interrupted, run again, run twice at once."""

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.flows.conftest import ROOT

TRAININGS = [
    "smoke",
    "base.steps=60",
    "extend=null",
    "policy=[{name: dpo, steps: 120, batch_size: 8}, "
    "{name: grpo, steps: 40, prompts_per_step: 4, sampling: {max_new_tokens: 8}}]",
    "evaluate=[]",
    "runner.checkpoint_seconds=0.1",
    "runner.concurrency=2",
]
LONG = ["smoke", "policy=[{name: dpo, steps: 400, learning_rate: 1.0e-3}]", "evaluate=[]"]
HEEDING = ["env", "--default-signal=INT"]
"""A shell has its commands in the background ignore SIGINT, and so would what these start."""
SHORT = ["smoke", "base.steps=2", "policy=[{name: dpo, steps: 2}]"]


@pytest.fixture
def start(home):
    """Start `evenhand run`; whatever still runs at the end is killed."""
    started = []

    def call(*arguments, home=home):
        process = subprocess.Popen(
            [*HEEDING, sys.executable, "-m", "flows.cli", "run", *arguments, "--json"],
            env=os.environ | {"PYTHONPATH": str(ROOT), "EVENHAND_HOME": str(home)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield call
    for process in started:
        if process.poll() is None:
            process.kill()
            process.wait()


def wait_for(condition, seconds=240):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.1)
    raise AssertionError("it did not happen in time")


def training(home, plugin="dpo", file="events.jsonl"):
    """The work order of a training that has got as far as leaving `file`."""

    def found():
        for order in (home / "store" / ".partial").glob("*/*/order.json"):
            made = order.parent / file
            if json.loads(order.read_text())["config"]["name"] == plugin and made.exists() and made.stat().st_size:
                return order
        return None

    return found


def workers(order):
    """Processes that carry out a work order."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if str(order).encode() in (folder / "cmdline").read_bytes():
                found.append(folder.name)
        except OSError:
            continue
    return found


def status_of(home):
    (run,) = (home / "runs").iterdir()
    from mlflow import MlflowClient

    tracked = MlflowClient(f"sqlite:///{home / 'mlflow.db'}").get_run(run.name)
    return json.loads((run / "run.json").read_text())["status"], tracked.info.status


def digests(process):
    out, err = process.communicate(timeout=400)
    assert process.returncode == 0, err
    return {stage["label"]: stage["digest"] for stage in json.loads(out)["stages"]}


@pytest.mark.slow  # tests/stage/test_launch.py kills workers, tests/training compares bytes; this does all at once
def test_trainings_killed_half_way_end_in_the_same_bytes(start, home, tmp_path):
    undisturbed = digests(start(*TRAININGS, home=tmp_path / "undisturbed"))
    for trained_together in (["tiny_lm"], ["dpo", "grpo"]):
        process = start(*TRAININGS)
        orders = [wait_for(training(home, plugin, "../checkpoint/checkpoint.pt")) for plugin in trained_together]
        process.kill()
        process.wait()
        wait_for(lambda orders=orders: not any(map(workers, orders)), 30)
        assert all(order.parent.with_name("checkpoint").exists() for order in orders), "killed before their end"
    assert digests(start(*TRAININGS)) == undisturbed


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_interrupted_run_is_closed_and_its_worker_ends(start, home, number):
    process = start(*LONG)
    order = wait_for(training(home))
    assert workers(order)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "interrupted" in err
    assert "Traceback" not in err
    assert out == ""
    assert not workers(order)
    assert status_of(home) == ("killed", "KILLED")
    flows, tasks = prefect_states(home)
    assert set(flows) <= {"CRASHED", "CANCELLED"}, "R20: nothing is Running, Pending or Failed"
    assert set(tasks) <= {"COMPLETED", "CRASHED", "CANCELLED"}


def prefect_states(home):
    """Types of state of all flow runs and of all task runs in the private server's database."""
    with contextlib.closing(sqlite3.connect(home / "prefect.db")) as database:
        return [
            sorted(state for (state,) in database.execute(f"select state_type from {table}"))
            for table in ("flow_run", "task_run")
        ]


@pytest.mark.slow
def test_r6_a_killed_run_is_closed_in_prefect_by_the_next(start, home):
    process = start(*LONG)
    wait_for(training(home))
    process.kill()
    process.wait()
    flows, tasks = prefect_states(home)
    assert flows == ["RUNNING"]
    assert "RUNNING" in tasks or "PENDING" in tasks
    digests(start(*SHORT))
    flows, tasks = prefect_states(home)
    assert flows == ["COMPLETED", "CRASHED"]
    assert set(tasks) <= {"COMPLETED", "CANCELLED", "CRASHED"}
    assert {"CRASHED", "COMPLETED"} <= set(tasks)
    records = [json.loads(file.read_text()) for file in (home / "runs").glob("*/run.json")]
    assert sorted(record["status"] for record in records) == ["completed", "killed"]
    assert not list((home / "runs").glob("*/begun"))


@pytest.mark.slow
def test_two_first_runs_at_once_share_the_work(start):
    runs = [start(*SHORT), start(*SHORT)]
    ended = [process.communicate(timeout=400) for process in runs]
    assert [process.returncode for process in runs] == [0, 0], [err for _, err in ended]
    records = [json.loads(out) for out, _ in ended]
    assert records[0]["run_id"] != records[1]["run_id"]
    digests = [[stage["digest"] for stage in record["stages"]] for record in records]
    assert digests[0] == digests[1]
    made = [stage["reused"] for record in records for stage in record["stages"]].count(False)
    assert made == len(digests[0]), "every stage is made once"
