"""The flow itself, against Prefect's test server and a real MLflow database; stages run in this process."""

import json
import re
import time
from types import SimpleNamespace

import pytest

from pipeline_core.checks.whole import load_config
from pipeline_core.errors import BadInput, StageFailed
from pipeline_core.store.places import Places
from tests.flows.conftest import ROOT

pytestmark = pytest.mark.usefixtures("prefect_server", "shared_tracking")

TINY = [
    "runner.launch=in_process",
    "base.steps=2",
    "base.data.rows=100",
]
TINY_POLICIES = ["policy.dpo.steps=2", "policy.grpo.steps=2", "policy.grpo.sampling.max_new_tokens=4"]


def run(*overrides):
    from flows.pipeline import pipeline

    theirs = any(override.startswith("policy=") for override in overrides)
    return pipeline(preset="smoke", overrides=[*TINY, *([] if theirs else TINY_POLICIES), *overrides])


def tracked():
    from mlflow import MlflowClient

    client = MlflowClient(Places.from_environment().tracking_uri)
    experiment = client.get_experiment_by_name("evenhand").experiment_id
    return {run.info.run_id: run for run in client.search_runs([experiment])}


def task_states(flow_run_id):
    """Types of state of a flow run's tasks, once the server has recorded the last of them."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter

    chosen = FlowRunFilter.model_validate({"id": {"any_": [flow_run_id]}})
    end = time.monotonic() + 30
    with get_client(sync_client=True) as client:
        while True:
            tasks = client.read_task_runs(flow_run_filter=chosen)
            if all(task.state.is_final() for task in tasks) or time.monotonic() > end:
                # Prefect names a task when it begins; before that its name has an end of three digits.
                return {re.sub("-[0-9a-f]{3}$", "", task.name): task.state_type.value for task in tasks}
            time.sleep(0.2)


def children_of(run_id):
    runs = tracked().values()
    return {run.info.run_name: run for run in runs if run.data.tags.get("mlflow.parentRunId") == run_id}


def test_a_run_is_recorded_and_a_second_one_reuses_everything():
    first = run()
    assert first.status == "completed"
    assert not any(stage.reused for stage in first.stages)
    assert [stage.stage for stage in first.stages] == ["base", "extend", "reward", "policy", "policy"] + [
        "evaluate"
    ] * 3
    report = Places.from_environment().runs / first.run_id / "report.html"
    assert first.report == str(report)
    assert "grpo" in report.read_text(encoding="utf-8")

    assert tracked()[first.run_id].info.status == "FINISHED"
    figures = tracked()[first.run_id].data.metrics
    measured = {stage.label: stage.metrics for stage in first.stages if stage.stage == "evaluate"}
    for label in ("base", "dpo", "grpo"):
        for name in ("sandbox/perplexity", "sandbox/invalid_share"):
            assert figures.get(f"{label}/{name}") == pytest.approx(measured[label][name]), figures
    made = children_of(first.run_id)
    assert set(made) >= {"base", "extend", "reward", "policy:dpo", "policy:grpo", "evaluate:sandbox_bias:dpo"}
    assert {child.info.status for child in made.values()} == {"FINISHED"}
    assert "loss" in made["policy:dpo"].data.metrics

    second = run()
    assert all(stage.reused for stage in second.stages)
    assert [stage.digest for stage in second.stages] == [stage.digest for stage in first.stages]
    reused = children_of(second.run_id)["policy:dpo"]
    assert reused.data.tags["reused_from"]
    assert reused.data.metrics["loss"] == made["policy:dpo"].data.metrics["loss"]


def test_prefect_shows_tasks_by_name_and_links_the_report(shared_store, shared_folder):
    from prefect.client.orchestration import get_client

    run("policy=[]", "reward=null", "extend=null")
    with get_client(sync_client=True) as client:
        newest = client.read_flow_runs(sort="START_TIME_DESC", limit=1)[0]
        tasks = {task.name for task in client.read_task_runs() if task.flow_run_id == newest.id}
        artifacts = {one.key: one for one in client.read_artifacts() if one.flow_run_id == newest.id}
    assert tasks == {"base", "evaluate:sandbox_bias:base", "report"}
    progress = {"progress-base"}  # if this run is the one that trains it
    assert set(artifacts) - progress == {"base", "evaluate-sandbox-bias-base", "report"}, "one for each task"
    assert "sandbox" in artifacts["report"].data
    assert "file:" not in "".join(str(one.data) for one in artifacts.values()), "R14: no browser elsewhere opens it"
    assert f"`{shared_folder / 'store' / 'model'}" in artifacts["base"].data
    assert re.fullmatch(r"smoke-\d{4}-\d\d-\d\d-\d+", newest.name)
    assert {"preset:smoke", "seeds:0", "suite:sandbox_bias"} <= set(newest.tags)


def test_a_failing_stage_fails_the_run_and_stops_only_what_needs_it(shared_store):
    from flows.pipeline import RunFailed

    with pytest.raises(RunFailed, match="policy:dpo") as caught:
        run("policy.dpo.learning_rate=1.0e+30", "policy.dpo.steps=20", "policy.dpo.max_grad_norm=1.0e+30")
    record = caught.value.record
    assert caught.value.exit_code == 1
    assert record.status == "failed"
    done = {f"{stage.stage}:{stage.label}" for stage in record.stages}
    assert done == {
        "base:tiny_lm",
        "extend:counterfactual",
        "reward:tfidf_ridge",
        "policy:grpo",
        "evaluate:base",
        "evaluate:grpo",
    }
    assert set(record.failures) == {"policy:dpo"}
    states = task_states(record.flow_run_id)
    assert states.pop("policy:dpo") == "FAILED"
    assert states.pop("evaluate:sandbox_bias:dpo") == "CANCELLED", "it never began, and never will"
    assert set(states.values()) == {"COMPLETED"}
    assert tracked()[record.run_id].info.status == "FAILED"
    assert children_of(record.run_id)["policy:dpo"].info.status == "FAILED"
    assert "evaluate:sandbox_bias:dpo" not in children_of(record.run_id)
    written = json.loads((Places.from_environment().runs / record.run_id / "run.json").read_text(encoding="utf-8"))
    assert written["status"] == "failed"
    assert written["report"], "what was measured is reported"


@pytest.mark.parametrize(("error", "attempts"), [(StageFailed("ended by SIGKILL"), 2), (BadInput("no rows"), 1)])
def test_a_failed_stage_is_tried_again_and_bad_input_is_not(home, monkeypatch, error, attempts):
    from flows.pipeline import RunFailed
    from flows.run import PipelineRun

    carry_out, tried = PipelineRun.carry_out, []

    def fails_once(self, planned, made):
        tried.append(planned.id)
        if tried.count("extend") == 1 and planned.id == "extend":
            raise error
        return carry_out(self, planned, made)

    monkeypatch.setattr(PipelineRun, "carry_out", fails_once)
    small = ("reward=null", "policy=[]", "evaluate=[]", "runner.retries=2")
    if attempts > 1:
        assert run(*small).status == "completed"
    else:
        with pytest.raises(RunFailed, match="extend: no rows"):
            run(*small)
    assert tried.count("extend") == attempts


def test_an_interrupt_closes_the_run_as_killed(shared_store, monkeypatch):
    import flows.pipeline

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(flows.pipeline, "_collect", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run("policy=[]", "reward=null", "extend=null")
    (only,) = Places.from_environment().runs.iterdir()
    assert json.loads((only / "run.json").read_text(encoding="utf-8"))["status"] == "killed"
    assert tracked()[only.name].info.status == "KILLED"


def test_policies_and_seeds_start_from_each_other(shared_store):
    record = run(
        "policy=[{name: dpo, steps: 2}, {name: dpo, label: second, steps: 2, start_from: dpo}]",
        "seeds=0,1",
        "evaluate=[]",
    )
    policies = [(stage.label, stage.seed) for stage in record.stages if stage.stage == "policy"]
    assert sorted(policies) == [("dpo", 0), ("dpo", 1), ("second", 0), ("second", 1)]
    keys = {stage.key for stage in record.stages}
    assert len(keys) == len(record.stages)
    assert record.report is None, "nothing was evaluated"


def test_a_record_tells_evaluations_apart(shared_store):
    small = "{name: preference_gap, data: {entry: sandbox_pairs, split: heldout, rows: 16}"
    record = run(
        "policy=[{name: dpo, steps: 2}]", "seeds=0,1", f"evaluate=[{small}}}, {small}, label: again}}]", "reward=null"
    )
    shown = [stage for stage in record.public()["stages"] if stage["stage"] == "evaluate"]
    found = {(stage["plugin"], stage["label"], stage["seed"], stage.get("suite")) for stage in shown}
    models = [("base", 0), ("dpo", 0), ("dpo", 1)]
    assert found == {("preference_gap", *model, suite) for model in models for suite in (None, "again")}


def test_a_deployment_nobody_made_is_bad_input(shared_store):
    with pytest.raises(BadInput, match=r"^reward\.0 \(tfidf_ridge\): .* no deployment 'stage/nowhere'"):
        run("runner.deployment=stage/nowhere", "policy=[]", "reward.ngrams=1", "evaluate=[]")


def test_the_form_knows_presets_plugins_and_their_limits():
    from flows.pipeline import pipeline

    schema = pipeline.parameters.model_dump()
    text = json.dumps(schema)
    assert "sandbox" in text
    assert "samples_per_prompt" in text
    with pytest.raises(Exception, match="beta"):
        pipeline.validate_parameters(
            {"config": {"base": "tiny_lm", "data": "sandbox_pairs", "policy": [{"name": "dpo", "beta": -1}]}}
        )
    assert pipeline.validate_parameters({"config": load_config("smoke").model_dump(mode="json")})


def test_deployments_name_real_flows_and_valid_parameters():
    import importlib

    import yaml
    from prefect import Flow
    from prefect.client.schemas.schedules import CronSchedule

    document = yaml.safe_load((ROOT / "prefect.yaml").read_text(encoding="utf-8"))
    assert document["pull"], "without a pull step a deployment pins the folder of whoever deploys"
    names = {}
    for deployment in document["deployments"]:
        module, _, name = deployment["entrypoint"].rpartition(".")
        flow = getattr(importlib.import_module(module), name)
        assert isinstance(flow, Flow)
        names[f"{flow.name}/{deployment['name']}"] = deployment["work_pool"]["name"]
        if parameters := deployment.get("parameters"):
            flow.validate_parameters(parameters)
            load_config(parameters["preset"], parameters["overrides"])
        for schedule in deployment.get("schedules", []):
            assert CronSchedule(cron=schedule["cron"], timezone=schedule["timezone"])
    assert names == {
        "pipeline/nightly": "cpu",
        "pipeline/on-demand": "cpu",
        "pipeline/evaluation-only": "cpu",
        "stage/gpu": "gpu",
        "stage/cpu": "cpu",
        "log-linear-study/log-linear": "cpu",
    }


def stage_job(**config):
    from pipeline_core.stage.key import Job

    base = load_config("smoke", TINY).base.model_dump(mode="json")
    return Job(stage="base", label="tiny_lm", config=base | config, runner={"launch": "in_process"})


def test_a_stage_on_its_own_is_tracked_to_its_end(shared_store):
    from flows.stage import stage

    result = stage(stage_job(steps=1))
    assert result["kind"] == "model"
    alone = [one for one in tracked().values() if one.info.run_name == "base:tiny_lm"]
    (own,) = [one for one in alone if "mlflow.parentRunId" not in one.data.tags]
    assert own.info.status == "FINISHED"
    assert set(children_of(own.info.run_id)) == {"base:tiny_lm"}


def test_a_stage_whose_input_is_at_fault_says_so_in_its_state():
    from flows.stage import BAD_INPUT, stage

    state = stage(stage_job(data={"entry": "sandbox_corpse"}), return_state=True)
    assert (state.type.value, state.name) == ("FAILED", BAD_INPUT)
    assert "sandbox_corpus" in state.message


def test_figures_of_a_report_are_tracked_beside_it(tmp_path, monkeypatch):
    """As `report/figures/LABEL/NAME.svg`, so that two models' figures stay apart."""
    import flows.report_stage
    from pipeline_core.report import ReportPaths

    logged = []
    parent = SimpleNamespace(
        id="run", log_artifact=lambda path, folder: logged.append((path.name, folder)), log_metrics=len
    )
    figure = tmp_path / "figures" / "gr_dpo" / "weight_of_groups.svg"
    written = ReportPaths(
        *(tmp_path / f"report.{end}" for end in ("html", "md", "json")),
        SimpleNamespace(rows=[], rewards=None),
        (figure,),
    )
    monkeypatch.setattr(flows.report_stage, "write_report", lambda *_: written)
    monkeypatch.setattr(flows.report_stage, "link_report", lambda *_: None)
    config = SimpleNamespace(model_dump=lambda **_: {})
    made = SimpleNamespace(config=config, parent=parent, stages={}, results={})
    flows.report_stage.report.fn(made, tmp_path, None)
    assert logged == [
        *((f"report.{end}", "report") for end in ("html", "md", "json")),
        ("weight_of_groups.svg", "report/figures/gr_dpo"),
    ]


def test_a_report_that_fails_loses_nothing_else(shared_store, monkeypatch):
    import flows.report_stage
    from flows.pipeline import RunFailed

    def full(*_):
        raise OSError(28, "No space left on device", "report.json")

    monkeypatch.setattr(flows.report_stage, "write_report", full)
    with pytest.raises(RunFailed, match="No space left on device") as caught:
        run("policy=[]", "reward=null", "extend=null")
    assert {stage.stage for stage in caught.value.record.stages} == {"base", "evaluate"}
    assert set(caught.value.record.failures) == {"report"}


def test_links_that_cannot_be_made_are_warnings(shared_store, monkeypatch):
    import flows.links

    def away(*_, **__):
        raise ConnectionError("server gone")

    monkeypatch.setattr(flows.links, "create_markdown_artifact", away)
    assert run("policy=[]", "reward=null", "extend=null", "evaluate=[]").status == "completed"


def test_a_stage_that_waits_keeps_nobody_from_starting(shared_store):
    """With one slot, a policy that waits for its start must not hold it."""
    record = run(
        "runner.concurrency=1",
        "policy=[{name: dpo, steps: 2}, {name: dpo, label: second, steps: 2, start_from: dpo}, {name: sft, steps: 2}]",
        "evaluate=[]",
    )
    assert record.status == "completed"


def test_a_worker_wants_absolute_folders(monkeypatch):
    from flows.environment import refuse_relative_places

    refuse_relative_places()
    monkeypatch.setenv("EVENHAND_DATA", "../data")
    with pytest.raises(BadInput, match=r"EVENHAND_DATA=\.\./data"):
        refuse_relative_places()


def test_the_parent_run_has_the_figures_of_the_table():
    from flows.report_stage import headlines
    from pipeline_core.report.figures.cells import MeasureRow, ReportCell
    from pipeline_core.report.figures.model import Report

    def row(title, measure, **more):
        cells = [ReportCell(model="base", value=2.0), ReportCell(model="dpo", value=None)]
        return MeasureRow(suite="again", measure=measure, title=title, cells=cells, **more)

    rows = [
        row("gap/loss", "gap/loss"),
        row("gap/loss/worst_group", "gap/loss/worst_group", part="worst_group"),
        row("again: gap/loss", "gap/loss"),
    ]
    report = Report.model_construct(rows=rows)
    assert set(headlines(report)) == {"base/gap/loss", "base/gap/loss/worst_group", "base/again/gap/loss"}
