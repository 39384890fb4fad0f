"""`evenhand run` as a process: killed, interrupted, run again, run twice at once."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.flows.conftest import ROOT

pytestmark = pytest.mark.slow

LONG = ["smoke", "policy=[{name: dpo, steps: 400, learning_rate: 1.0e-3}]", "evaluate=[]"]
SHORT = ["smoke", "base.steps=2", "policy=[{name: dpo, steps: 2}]"]


@pytest.fixture
def start(home):
    """Start `evenhand run`; whatever still runs at the end is killed."""
    started = []

    def call(*arguments):
        process = subprocess.Popen(
            [sys.executable, "-m", "flows.cli", "run", *arguments, "--json"],
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


def training(home):
    """The work order of a policy that has logged its first steps."""

    def found():
        for order in (home / "store" / ".partial").glob("*/order.json"):
            events = order.with_name("events.jsonl")
            if json.loads(order.read_text())["stage"] == "policy" and events.exists() and events.stat().st_size:
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


def test_a_killed_run_leaves_no_worker_and_the_next_one_finishes_it(start, home):
    process = start(*LONG)
    order = wait_for(training(home))
    process.kill()
    process.wait()
    wait_for(lambda: not workers(order), 30)
    again = start(*LONG)
    out, err = again.communicate(timeout=400)
    assert again.returncode == 0, err
    record = json.loads(out)
    assert record["status"] == "completed"
    reused = {stage["stage"]: stage["reused"] for stage in record["stages"]}
    assert reused == {"base": True, "extend": True, "reward": True, "policy": False}


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
