"""R1, R7: schedules fire, and every deployment of prefect.yaml runs, on real servers and workers.

Under SQLAlchemy 2.1 the scheduler of Prefect 3.8 failed at every tick; nobody saw it, for every test had triggered its
runs by hand.
"""

import contextlib
import json
import re
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

from tests.flows.conftest import ROOT
from tests.flows.postgres import NoPostgres, cluster
from tests.flows.serving import serving

DEPLOYMENTS = {
    f"{entry['entrypoint'].rsplit('.', 1)[1].replace('_', '-')}/{entry['name']}": entry
    for entry in yaml.safe_load((ROOT / "prefect.yaml").read_text(encoding="utf-8"))["deployments"]
}
"""The entries of prefect.yaml, as FLOW/DEPLOYMENT."""
SMALL_BASE = (
    "base={name: tiny_lm, data: {entry: sandbox_corpus, rows: 400}, vocab_size: 400, hidden_size: 32, layers: 1, "
    "heads: 2, steps: 2}"
)
SMALL_POLICY = "policy=[{name: dpo, steps: 2, batch_size: 4}]"
SMALL_SUITE = (
    "evaluate=[{name: sandbox_bias, prompts: {entry: sandbox_prompts, rows: 4}, "
    "questions: {entry: sandbox_questions, rows: 4}, facts: {entry: sandbox_facts, rows: 4}, "
    "texts: {entry: sandbox_heldout_text, rows: 4}, samples_per_prompt: 2}]"
)


def test_r1_the_environment_and_the_pins_keep_to_the_bounds():
    """Every bound of pyproject.toml admits what constraints.txt pins, and SQLAlchemy is the one that is installed."""
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    pins = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").split() if line)
    pins = {name.lower().replace("_", "-"): number for name, number in pins.items()}
    wanted = [*project["dependencies"], *(one for extra in project["optional-dependencies"].values() for one in extra)]
    bounds = {need.name.lower(): need.specifier for need in map(Requirement, wanted)}
    assert {name: pins[name] for name in bounds if name in pins and pins[name] not in bounds[name]} == {}
    assert {"sqlalchemy", "psycopg2-binary", "prefect", "mlflow"} <= set(bounds) & set(pins)
    assert version("sqlalchemy") in bounds["sqlalchemy"]


def test_r1_the_server_makes_runs_of_a_cron(prefect_server):
    """The route that the scheduler's ticks share: it inserts runs in bulk."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import DeploymentScheduleCreate
    from prefect.client.schemas.schedules import CronSchedule

    from flows.pipeline import pipeline

    every_night = DeploymentScheduleCreate(schedule=CronSchedule(cron="0 2 * * *"))
    with get_client(sync_client=True) as client:
        made = client.create_deployment(client.create_flow(pipeline), name="cron", schedules=[every_night])
        client.request("POST", "/deployments/{id}/schedule", path_params={"id": made}, json={}).raise_for_status()
        runs = [run for run in client.read_flow_runs() if run.deployment_id == made]
        client.delete_deployment(made)
    assert len(runs) >= 3
    assert all(run.state.is_scheduled() and run.auto_scheduled for run in runs)


@pytest.fixture(scope="module", params=["SQLite", "PostgreSQL"])
def served(request, tmp_path_factory):
    """Servers and workers with everything of prefect.yaml deployed, on either database."""
    folder = tmp_path_factory.mktemp("serving")
    if request.param == "SQLite":
        with serving(folder, folder / "home") as running:
            yield running
        return
    with contextlib.ExitStack() as stack:
        try:
            address = stack.enter_context(cluster("prefect", "mlflow"))
        except NoPostgres as error:
            pytest.skip(str(error))
        databases = f"postgresql+asyncpg://{address}/prefect", f"postgresql://{address}/mlflow"
        yield stack.enter_context(serving(folder, folder / "home", *databases))


def trigger(served, deployment, **parameters):
    """Start a run of a deployment as a person would, and wait until it has completed."""
    given = [word for name, value in parameters.items() for word in ("--param", f"{name}={json.dumps(value)}")]
    before = {run["id"] for run in served.runs(served.deployment(deployment))}
    served.call("prefect", "deployment", "run", deployment, *given)
    new = [run for run in served.runs(served.deployment(deployment)) if run["id"] not in before]
    (run,) = [run for run in new if not run["auto_scheduled"]]
    served.completed(run)
    return run


PARENT = "mlflow.parentRunId"


def mlflow_runs(served):
    """All runs in MLflow, none before the first has begun."""
    from mlflow import MlflowClient

    client = MlflowClient(served.environment["MLFLOW_TRACKING_URI"])
    experiment = client.get_experiment_by_name("evenhand")
    return client.search_runs([experiment.experiment_id]) if experiment else []


def tracked(served):
    """The pipeline runs in MLflow, by status."""
    return {run.info.run_id: run.info.status for run in mlflow_runs(served) if PARENT not in run.data.tags}


@pytest.mark.slow
def test_r1_a_server_schedules_nightly_and_its_run_completes(served):
    """The cron's own run exists a minute after the deployment; brought forward and made small, it completes."""
    nightly = served.deployment("pipeline/nightly")
    runs = served.wait(lambda: served.runs(nightly, "SCHEDULED"), 90, "a SCHEDULED run of nightly")
    assert len(runs) >= 3
    assert {datetime.fromisoformat(run["expected_start_time"]).strftime("%H:%M %Z") for run in runs} == {"02:00 UTC"}
    first = runs[0]
    assert first["auto_scheduled"]
    assert first["parameters"] == nightly["parameters"] == DEPLOYMENTS["pipeline/nightly"]["parameters"]
    small = ["seeds=0,1,2", SMALL_BASE, SMALL_POLICY, SMALL_SUITE]
    served.api(f"flow_runs/{first['id']}", {"parameters": {"preset": "sandbox", "overrides": small}}, "PATCH")
    due = {"type": "SCHEDULED", "state_details": {"scheduled_time": datetime.now(UTC).isoformat()}}
    served.api(f"flow_runs/{first['id']}/set_state", {"state": due, "force": True})
    served.completed(first)


@pytest.mark.slow
def test_r1_an_interval_of_seconds_starts_and_completes_smoke(served, tmp_path):
    """R7 too: on PostgreSQL its run is tracked by an MLflow server on PostgreSQL."""
    smoke = {
        "name": "every-few-seconds",
        "entrypoint": "flows.pipeline.pipeline",
        "work_pool": {"name": "cpu"},
        "schedules": [{"interval": 20}],
        "concurrency_limit": {"limit": 1, "collision_strategy": "CANCEL_NEW"},
        "parameters": {"preset": "smoke"},
    }
    pull = [{"prefect.deployments.steps.set_working_directory": {"directory": "."}}]
    file = tmp_path / "prefect.yaml"
    file.write_text(yaml.safe_dump({"name": "smoke", "pull": pull, "deployments": [smoke]}), encoding="utf-8")
    before = set(tracked(served))
    served.call("prefect", "--no-prompt", "deploy", "--all", "--prefect-file", str(file))
    deployment = served.deployment("pipeline/every-few-seconds")
    begun = served.wait(lambda: served.runs(deployment, "RUNNING"), 180, "a run by the interval")[0]
    served.api(f"deployments/{deployment['id']}/pause_deployment", {})
    assert begun["auto_scheduled"]
    served.completed(begun)
    served.wait(lambda: not served.runs(deployment, "RUNNING", "PENDING"), 540, "an end of its runs")
    new = {run: status for run, status in tracked(served).items() if run not in before}
    assert new
    assert set(new.values()) == {"FINISHED"}
    records = [json.loads((served.home / "runs" / run / "run.json").read_text(encoding="utf-8")) for run in new]
    assert {record["name"] for record in records} == {"smoke"}
    assert {record["status"] for record in records} == {"completed"}
    due = datetime.fromisoformat(begun["expected_start_time"])
    assert datetime.fromisoformat(begun["start_time"]) - due < timedelta(seconds=120)


def on_demand(served):
    """A pipeline that sends its heavy stages to the pool `gpu`; all of it stands in tracking.

    Its base is of no other test, so that nothing is reused.
    """
    before = set(tracked(served))
    overrides = ["base.steps=3", "extend=null", SMALL_POLICY, SMALL_SUITE, "runner.deployment=stage/gpu",
                 "runner.placement.base=cpu"]  # fmt: skip
    trigger(served, "pipeline/on-demand", preset="smoke", overrides=overrides)
    stages = served.runs(served.deployment("stage/gpu"))
    heavy = ["evaluate:sandbox_bias:base", "evaluate:sandbox_bias:dpo", "policy:dpo", "reward"]
    names = sorted(run["name"] for run in stages)
    parent = names[0].partition("/")[0]
    assert re.fullmatch(r"smoke-\d{4}-\d\d-\d\d-\d+", parent), "R15: repeats can be told apart"
    assert names == [f"{parent}/{stage}" for stage in heavy]
    assert {run["state_type"] for run in stages} == {"COMPLETED"}
    (base,) = served.runs(served.deployment("stage/cpu"))
    assert (base["name"], base["state_type"]) == (f"{parent}/base", "COMPLETED")
    (run,) = set(tracked(served)) - before
    record = json.loads((served.home / "runs" / run / "run.json").read_text(encoding="utf-8"))
    assert record["status"] == "completed"
    assert Path(record["report"]).is_file()
    children = {one.info.run_name: one for one in mlflow_runs(served) if one.data.tags.get(PARENT) == run}
    assert {one.info.status for one in children.values()} == {"FINISHED"}
    assert set(children) >= {"base", *heavy}


def evaluation_only(served):
    trigger(served, "pipeline/evaluation-only", overrides=[SMALL_BASE, SMALL_SUITE])


def log_linear(served):
    trigger(served, "log-linear-study/log-linear", features=["swapped"], seeds=2, iterations=200)
    assert (served.home / "studies" / "log-linear" / "results.json").is_file()


TRIGGERED = {
    "pipeline/on-demand": on_demand,
    "stage/gpu": on_demand,
    "stage/cpu": on_demand,
    "pipeline/evaluation-only": evaluation_only,
    "log-linear-study/log-linear": log_linear,
}


@pytest.mark.slow
@pytest.mark.parametrize("served", ["SQLite"], indirect=True)
def test_r20_a_cancelled_run_is_cancelled_with_its_tasks(served):
    """Also those that had not begun; the name that the run was given stays (R22)."""
    overrides = ["base.steps=4", "extend=null", "reward=null", "policy=[{name: dpo, steps: 4000}]", SMALL_SUITE]
    given = ["--param", "preset=smoke", "--param", f"overrides={json.dumps(overrides)}"]
    served.call("prefect", "deployment", "run", "pipeline/on-demand", *given, "--flow-run-name", "to be cancelled")
    named = {"flow_runs": {"name": {"any_": ["to be cancelled"]}}}

    def tasks(state):
        found = served.api("task_runs/filter", named)
        return [one for one in found if one["state_type"] == state]

    served.wait(lambda: [one for one in tasks("RUNNING") if one["name"] == "policy:dpo"], 240, "a policy in training")
    (run,) = served.api("flow_runs/filter", named)
    cancelling = {"state": {"type": "CANCELLING"}}
    served.api(f"flow_runs/{run['id']}/set_state", cancelling)
    served.wait(lambda: served.api(f"flow_runs/{run['id']}")["state_type"] == "CANCELLED", 120, "the end of the run")
    served.wait(lambda: not (tasks("RUNNING") or tasks("PENDING")), 30, "the end of its tasks")
    states = {
        re.sub("-[0-9a-f]{3}$", "", one["name"]): one["state_type"] for one in served.api("task_runs/filter", named)
    }
    assert states.pop("base") == "COMPLETED"
    assert set(states.values()) == {"CANCELLED"}
    assert set(states) >= {"policy:dpo", "evaluate:sandbox_bias:dpo"}
    (record,) = [one for one in records(served) if one["flow_run_id"] == run["id"]]
    assert record["status"] == "killed"
    of_run = [one for one in mlflow_runs(served) if record["run_id"] in (one.info.run_id, one.data.tags.get(PARENT))]
    statuses = {one.info.run_name: one.info.status for one in of_run}
    assert statuses["to be cancelled"] == statuses["policy:dpo"] == "KILLED"


def records(served):
    """The records of all runs that the workers have begun."""
    return [json.loads(file.read_text(encoding="utf-8")) for file in (served.home / "runs").glob("*/run.json")]


def test_every_deployment_is_scheduled_or_triggered_by_a_test():
    scheduled = {name for name, entry in DEPLOYMENTS.items() if "schedules" in entry}
    assert scheduled == {"pipeline/nightly"}
    assert scheduled | set(TRIGGERED) == set(DEPLOYMENTS)


@pytest.mark.slow
@pytest.mark.parametrize("served", ["SQLite"], indirect=True)
@pytest.mark.parametrize("start", dict.fromkeys(TRIGGERED.values()), ids=lambda start: start.__name__)
def test_every_other_deployment_completes_when_triggered(served, start):
    start(served)
