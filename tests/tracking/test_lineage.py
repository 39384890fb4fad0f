"""Data sets, logged models, origins and the machine's load, in a real SQLite store and a real `mlflow server`."""

from __future__ import annotations

import time

import pytest

from pipeline_core.stage.run import StageResult
from pipeline_core.tracking.mlflow.client import MlflowTracking
from pipeline_core.tracking.mlflow.logged_models import find_logged_models
from tests.tracking.test_outbox import AWAY

DIGEST = "0123456789abcdef" * 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("tracking home")


@pytest.fixture
def opened(folder, tmp_path):
    def call():
        return MlflowTracking(f"sqlite:///{folder}/mlflow.db", (folder / "artifacts").as_uri(), tmp_path / "unsent")

    return call


def data(name="bbq/test"):
    source = '{"entry": "bbq", "split": "test"}'
    return {"name": name, "digest": DIGEST, "source": source, "setting": "data", "context": "evaluation"}


def model(key, name="dpo: 50% / a"):
    place = {"folder": f"/store/model/{key}", "host": "here"}
    return {"name": name, "type": "policy", "key": key, "digest": DIGEST, **place, "params": {"seed": "0"}}


def result(folder, key, stage="policy", reused=False, **metrics):
    facts = {"stage": stage, "plugin": "dpo", "label": "dpo", "seed": 0, "kind": "model", "key": key}
    return StageResult(**facts, digest=DIGEST, reused=reused, seconds=1.0, metrics=metrics, path=folder)


def train_and_measure(tracking, folder, key, between=lambda: None):
    """A policy's run and that of its evaluation; `between`: called when both have begun."""
    with tracking.start_run("parent") as parent:
        policy = tracking.child(parent, "policy:dpo")
        time.sleep(0.01)  # the order of their starts, in milliseconds
        evaluation = tracking.child(parent, "evaluate:bbq:dpo")
        between()
        made, measured = model(key), {"made": [], "used": [model(key)], "measured": model(key)}
        policy.log_result(result(folder, key), models={"made": [made], "used": [], "measured": None})
        policy.finish()
        evaluation.log_data([data()])
        evaluation.log_result(result(folder, f"of {key}", "evaluate", **{"group/Q%/bias": 0.5}), models=measured)
        evaluation.finish()
    return policy, evaluation


def check(client, experiment_id, policy_id, evaluation_id, key):
    (logged,) = find_logged_models(client, experiment_id, key, DIGEST)
    assert (logged.name, logged.model_type, str(logged.status)) == ("dpo- 50- - a", "policy", "READY")
    assert (logged.source_run_id, logged.params) == (policy_id, {"seed": "0"})
    assert (logged.tags["evenhand.folder"], logged.tags["evenhand.digest"]) == (f"/store/model/{key}", DIGEST)
    policy, evaluation = client.get_run(policy_id), client.get_run(evaluation_id)
    assert [output.model_id for output in policy.outputs.model_outputs] == [logged.model_id]
    assert [used.model_id for used in evaluation.inputs.model_inputs] == [logged.model_id]
    (dataset,) = evaluation.inputs.dataset_inputs
    assert (dataset.dataset.name, dataset.dataset.digest) == ("bbq/test", DIGEST[:36])
    tags = {tag.key: tag.value for tag in dataset.tags}
    assert tags == {"mlflow.data.context": "evaluation", "setting": "data", "fingerprint": DIGEST}
    values = {metric.key: (metric.value, metric.run_id) for metric in client.get_logged_model(logged.model_id).metrics}
    assert len(values) == 1
    assert all(key.startswith("group_bias/Q_") for key in values)
    assert set(values.values()) == {(0.5, evaluation_id)}
    assert set(evaluation.data.metrics) == {*values, "perf/stage_seconds"}


def test_a_policy_is_a_logged_model_that_its_evaluation_measures(opened, tmp_path):
    with opened() as tracking:
        policy, evaluation = train_and_measure(tracking, tmp_path, "k1")
    check(tracking.client, tracking.experiment_id, policy.id, evaluation.id, "k1")
    assert tracking.unsent == {}


def test_a_server_takes_the_same(server, tmp_path):
    with MlflowTracking(server.uri) as tracking:
        policy, evaluation = train_and_measure(tracking, tmp_path, "k1")
    check(tracking.client, tracking.experiment_id, policy.id, evaluation.id, "k1")


def test_what_a_server_that_is_away_has_not_taken_is_sent_by_the_next_process(opened, tmp_path, monkeypatch):
    from mlflow import MlflowClient

    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with opened() as tracking:
        working = tracking.client
        policy, evaluation = train_and_measure(
            tracking, tmp_path, "k2", lambda: setattr(tracking, "client", MlflowClient(AWAY))
        )
    assert "its models" in tracking.unsent["policy:dpo"]
    assert {"1 data set", "its models"} <= set(tracking.unsent["evaluate:bbq:dpo"])
    monkeypatch.setattr("pipeline_core.tracking.mlflow.outbox.Process.lives", lambda _: False)
    with opened() as later:
        assert later.left == {}
    check(working, later.experiment_id, policy.id, evaluation.id, "k2")


def test_a_model_that_is_made_twice_at_once_is_kept_once(opened, tmp_path, monkeypatch):
    with opened() as tracking:
        create = tracking.client.create_logged_model

        def twice(*arguments, **named):
            create(*arguments, **named)
            return create(*arguments, **named)

        monkeypatch.setattr(tracking.client, "create_logged_model", twice)
        policy, evaluation = train_and_measure(tracking, tmp_path, "k3")
    check(tracking.client, tracking.experiment_id, policy.id, evaluation.id, "k3")


def test_a_reused_stage_links_the_run_that_made_it_and_copies_nothing(opened, tmp_path):
    (tmp_path / "measures.json").write_text("{}", encoding="utf-8")
    (tmp_path / "samples.jsonl").write_text('{"item": 1}\n', encoding="utf-8")
    with opened() as tracking:
        with tracking.start_run("made") as made:
            made.log_result(result(tmp_path, "k4", loss=0.5))
        for _ in range(2):
            with tracking.start_run("reused", tags={"description": "Of Prefect."}) as reused:
                reused.log_result(result(tmp_path, "k4", reused=True, loss=0.5))
            tracking.flush()
            found = tracking.client.get_run(reused.id).data
            assert (found.tags["made_by_run"], found.metrics["loss"]) == (made.id, 0.5)
            page = f"#/experiments/{tracking.experiment_id}/runs/{made.id}?workflowType=machine_learning"
            assert found.tags["mlflow.note.content"].startswith("Of Prefect.\n\n[")
            assert f"]({page})" in found.tags["mlflow.note.content"]
            assert tracking.client.list_artifacts(reused.id) == []


def test_a_reused_stage_whose_maker_is_not_tracked_here_has_the_files(opened, tmp_path):
    (tmp_path / "measures.json").write_text("{}", encoding="utf-8")
    (tmp_path / "samples.jsonl").write_text('{"item": 1}\n', encoding="utf-8")
    with opened() as tracking:
        with tracking.start_run("reused") as reused:
            reused.log_result(result(tmp_path, "k5", reused=True))
        tracking.flush()
        assert tracking.open_runs() == []
    files = {entry.path for entry in tracking.client.list_artifacts(reused.id)}
    assert files == {"measures.json", "samples.json"}
    assert "made_by_run" not in tracking.client.get_run(reused.id).data.tags


def test_the_load_of_the_machine_is_recorded_until_the_run_ends(opened, monkeypatch):
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.1")
    with opened() as tracking:
        with tracking.start_run("watched") as run:
            run.watch_machine()
            end = time.monotonic() + 60
            while not len(run._metrics) and time.monotonic() < end:
                time.sleep(0.05)
        tracking.flush()
        names = set(tracking.client.get_run(run.id).data.metrics)
        assert {"system/cpu_utilization_percentage", "system/system_memory_usage_megabytes"} <= names
        assert {"system/disk_usage_percentage", "system/network_receive_megabytes"} <= names
        assert not run._load._thread.is_alive()


def test_the_load_can_be_turned_off(opened, monkeypatch):
    monkeypatch.setenv("MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING", "false")
    with opened() as tracking, tracking.start_run("unwatched") as run:
        run.watch_machine()
        assert not run._load._thread.is_alive()
