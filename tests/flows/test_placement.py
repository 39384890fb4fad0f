"""Stages sent to the workers of named pools: two pools, retries, cancellation, what is in the store, what is absent."""

import json
import os
import re
from pathlib import Path

import pytest

from flows.placement import placement_problems
from pipeline_core.checks.whole import load_config
from pipeline_core.errors import BadInput
from tests.flows.serving import serving
from tests.flows.test_schedules import SMALL_POLICY, SMALL_SUITE

PLACED = "runner.placement={policy: gpu, evaluate: gpu, extend: cpu}"


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    folder = tmp_path_factory.mktemp("placement")
    with serving(folder, folder / "home") as running:
        yield running


def evenhand(served, *words, code=0, **environment):
    import subprocess
    import sys

    done = subprocess.run(
        [sys.executable, "-m", "flows.cli", *words],
        env=served.environment | environment,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr + served.logs()
    return done


def children(served, flow_run):
    """Flow runs of stages that a pipeline's run has sent, by the stage's name: through the parent's task runs."""
    tasks = {task["id"] for task in served.api("task_runs/filter", {"flow_runs": {"id": {"any_": [flow_run]}}})}
    sent = served.api("flow_runs/filter", {"flow_runs": {"parent_flow_run_id": {"any_": [flow_run]}}})
    assert {run["parent_task_run_id"] for run in sent} <= tasks
    assert len({run["parent_task_run_id"] for run in sent}) == len(sent), "each has a place of its own in the parent"
    return {run["name"].partition("/")[2]: run for run in sent}


def small(steps=3, policy=SMALL_POLICY):
    return ["smoke", f"base.steps={steps}", "reward=null", policy, SMALL_SUITE, PLACED, "runner.concurrency=3"]


@pytest.mark.slow
def test_stages_run_in_their_pools_and_stand_below_their_parent(served):
    done = json.loads(evenhand(served, "run", *small(), "--json").stdout)
    record = json.loads((served.home / "runs" / done["run_id"] / "run.json").read_text())
    sent = children(served, record["flow_run_id"])
    pools = {name: run["work_pool_name"] for name, run in sent.items()}
    assert pools.pop("extend") == "cpu"
    assert pools == dict.fromkeys(["policy:dpo", "evaluate:sandbox_bias:base", "evaluate:sandbox_bias:dpo"], "gpu")
    assert {run["state_type"] for run in sent.values()} == {"COMPLETED"}
    assert {tag for run in sent.values() for tag in run["tags"]} >= {"stage:extend", "stage:policy", "stage:evaluate"}
    again = json.loads(evenhand(served, "run", *small(), "--json").stdout)
    record = json.loads((served.home / "runs" / again["run_id"] / "run.json").read_text())
    assert children(served, record["flow_run_id"]) == {}, "what is in the store needs no worker"
    assert all(stage["reused"] for stage in again["stages"])


@pytest.mark.slow
def test_a_cancelled_parent_cancels_its_children_and_their_processes(served):
    long = "policy=[{name: dpo, steps: 40000, batch_size: 4}, {name: ipo, steps: 40000, batch_size: 4}]"
    given = ["--param", "preset=smoke", "--param", f"overrides={json.dumps(small(4, long)[1:])}"]
    served.call("prefect", "deployment", "run", "pipeline/on-demand", *given, "--flow-run-name", "to be cancelled")
    (parent,) = served.api("flow_runs/filter", {"flow_runs": {"name": {"any_": ["to be cancelled"]}}})

    def trainings():
        sent = children(served, parent["id"])
        orders = {order for order in served.home.glob("store/.partial/*/*/order.json") if begun(order)}
        running = [
            sent[name] for name in ("policy:dpo", "policy:ipo") if sent.get(name, {}).get("state_type") == "RUNNING"
        ]
        return len(running) == 2 and len(orders) == 2 and orders

    orders = served.wait(trainings, 300, "two trainings on workers")
    assert all(map(processes_of, orders))
    served.api(f"flow_runs/{parent['id']}/set_state", {"state": {"type": "CANCELLING"}})
    served.wait(lambda: served.api(f"flow_runs/{parent['id']}")["state_type"] == "CANCELLED", 120, "the parent's end")

    def ended():
        states = {run["state_type"] for run in children(served, parent["id"]).values()}
        return states <= {"COMPLETED", "CANCELLED"} and states

    assert served.wait(ended, 120, "the children's end") == {"COMPLETED", "CANCELLED"}
    served.wait(lambda: not any(map(processes_of, orders)), 60, "the end of the processes")


def begun(order):
    """True for the training of a policy that has made steps."""
    events = order.parent / "events.jsonl"
    return json.loads(order.read_text())["stage"] == "policy" and events.exists() and events.stat().st_size > 0


def processes_of(order):
    """Processes that carry out a work order."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if os.fsencode(order) in words:
            found.append(int(folder.name))
    return found


@pytest.mark.slow
def test_a_retried_stage_is_sent_again_and_completes(served):
    """A child that is killed by its worker's machine ends; its retry is a run of its own, with a key of its own."""
    long = "policy=[{name: dpo, steps: 600, batch_size: 4}]"
    settings = [*small(5, long), "runner.retries=1", "runner.checkpoint_seconds=0.1"]
    given = ["--param", "preset=smoke", "--param", f"overrides={json.dumps(settings[1:])}"]
    served.call("prefect", "deployment", "run", "pipeline/on-demand", *given, "--flow-run-name", "to be retried")
    (parent,) = served.api("flow_runs/filter", {"flow_runs": {"name": {"any_": ["to be retried"]}}})

    def training():
        orders = [order for order in served.home.glob("store/.partial/*/*/order.json") if begun(order)]
        return [pid for order in orders for pid in processes_of(order)]

    for pid in served.wait(training, 300, "a training on a worker"):
        os.kill(pid, 9)
    served.completed(parent)
    query = {"flow_runs": {"parent_flow_run_id": {"any_": [parent["id"]]}}}
    tries = [run for run in served.api("flow_runs/filter", query) if run["name"].endswith("policy:dpo")]
    assert sorted(run["state_type"] for run in tries) == ["COMPLETED", "FAILED"]
    assert len({run["idempotency_key"] for run in tries}) == 2


@pytest.mark.slow
def test_what_is_absent_is_one_message_before_anything_runs(served):
    told = evenhand(served, "run", "smoke", "base.steps=6", "runner.placement.policy=gpus", code=2).stderr
    assert "policy.0 (dpo): the Prefect server knows no deployment 'stage/gpus'. Did you mean 'stage/gpu'" in told
    assert told.count("stage/gpus") == 1
    assert not [file for file in served.home.glob("runs/*/run.json") if "base:6" in file.read_text()]
    served.call("prefect", "--no-prompt", "work-pool", "create", "idle", "--type", "process")
    served.call("prefect", "--no-prompt", "deploy", "flows/stage.py:stage", "--name", "idle", "--pool", "idle")
    told = evenhand(served, "check", "smoke", "base.steps=6", "runner.placement.policy=idle")
    assert "no worker of the pool 'idle' is online" in told.stdout + told.stderr


def test_without_a_server_the_stages_place_and_the_remedy_are_told(home, monkeypatch):
    monkeypatch.setattr("flows.placement.configured_url", lambda: None)
    problems, waiting = placement_problems(load_config("smoke", ["runner.placement={reward: gpu, evaluate: gpu}"]))
    assert list(problems) == ["reward.0 (tfidf_ridge)"], "each message once"
    assert re.search(
        r"sent to the deployment 'stage/gpu', and no Prefect server is set\. `evenhand up`", str(*problems.values())
    )
    assert waiting == []


def test_settings_of_placement():
    config = load_config("smoke", [PLACED, "runner.deployment=stage/a100"])
    assert {
        stage: config.runner.deployment_of(stage) for stage in ("base", "extend", "reward", "policy", "evaluate")
    } == {
        "base": None,
        "extend": "stage/cpu",
        "reward": "stage/a100",
        "policy": "stage/gpu",
        "evaluate": "stage/gpu",
    }
    assert load_config("smoke", ["runner.placement.base=mine/own"]).runner.deployment_of("base") == "mine/own"
    with pytest.raises(BadInput, match=r"runner\.placement\.polcy"):
        load_config("smoke", ["runner.placement.polcy=gpu"])
