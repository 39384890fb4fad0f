"""Tracking against a real SQLite store and a real `mlflow server`."""

from __future__ import annotations

import json
import logging
import math
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline_core.stage.run import StageResult
from pipeline_core.store.processes import Process
from pipeline_core.tracking.mlflow.client import PARENT_TAG, MlflowTracking
from pipeline_core.tracking.mlflow.owners import owner_tags
from pipeline_core.tracking.mlflow.values import clean_name
from pipeline_core.tracking.opening import open_tracking
from pipeline_core.tracking.protocol import TrackingUnavailable


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("tracking home")


@pytest.fixture(scope="module")
def uri(folder):
    return f"sqlite:///{folder}/mlflow.db"


@pytest.fixture
def tracking(uri, folder):
    with MlflowTracking(uri, (folder / "artifacts").as_uri()) as tracking:
        yield tracking


def look(tracking, run):
    tracking.flush()  # what the sender's thread has not sent yet
    return tracking.client.get_run(run.id)


def history(tracking, run, name):
    tracking.flush()
    return [(point.step, point.value) for point in tracking.client.get_metric_history(run.id, name)]


def test_a_parent_a_child_and_their_events(tracking, folder):
    with tracking.start_run("sandbox", {"beta": 0.1, "policy": [{"name": "dpo"}]}, {"preset": "sandbox"}) as parent:
        with tracking.child(parent, "policy:dpo", {"lr": 1e-4}, {"stage": "policy"}) as child:
            for step in range(1, 2301):
                metrics = {"loss": 1 / step, "group/Asian (East)/loss": 0.5}
                child.on_event({"step": step, "total": 2300, "time": time.time(), "metrics": metrics})
        tracking.flush()
        assert child not in tracking.open_runs()
    assert history(tracking, child, "loss") == [(step, 1 / step) for step in range(1, 2301)]
    assert any(name.startswith("group_loss/Asian _East_") for name in look(tracking, child).data.metrics)
    assert look(tracking, parent).data.params == {"beta": "0.1", "policy.0.name": "dpo"}
    assert look(tracking, child).data.tags[PARENT_TAG] == parent.id
    assert look(tracking, child).info.artifact_uri.startswith((folder / "artifacts").as_uri())
    assert {look(tracking, run).info.status for run in (parent, child)} == {"FINISHED"}
    assert parent.url is None


def table(tracking, run, name="samples"):
    import mlflow

    listed = json.loads(look(tracking, run).data.tags["mlflow.loggedArtifacts"])
    assert listed == [{"path": f"{name}.json", "type": "table"}]
    text = mlflow.artifacts.load_text(f"{look(tracking, run).info.artifact_uri}/{name}.json")
    return json.loads(text)


def test_samples_are_a_table_that_grows(tracking, monkeypatch):
    rows = [{"step": step, "completion": "2020\u2028“yes”", "reward": 0.5} for step in (1, 11, 21)]
    with tracking.start_run("samples") as run:
        run.on_event({"table": "samples", "rows": rows[:1]})
        run.flush()
        assert len(table(tracking, run)["data"]) == 1
        run.on_event({"table": "samples", "rows": rows[1:]})
        run.flush()
        assert len(table(tracking, run)["data"]) == 1, "a growing table is sent now and then"
        monkeypatch.setattr("pipeline_core.tracking.mlflow.tables.SECONDS", 0)
        run.flush()
        assert len(table(tracking, run)["data"]) == 3
    tracking.flush()
    assert run not in tracking.open_runs()
    expected = [list(row.values()) for row in rows]
    assert table(tracking, run) == {"columns": ["step", "completion", "reward"], "data": expected}


def test_a_table_that_could_not_be_sent_is_sent_at_the_end(tracking, monkeypatch):
    upload, failures = tracking.client.log_artifact, [OSError("no space left")] * 2

    def sometimes(*arguments):
        if failures:
            raise failures.pop()
        upload(*arguments)

    monkeypatch.setattr(tracking.client, "log_artifact", sometimes)
    with tracking.start_run("trouble") as run:
        run.log_rows("samples", [{"step": 1}])
        run.log_metrics({"loss": 0.5}, step=1)
        run.flush()
        assert history(tracking, run, "loss") == [(1, 0.5)], "nothing else waits for it"
    assert run in tracking.open_runs() and look(tracking, run).info.status == "FINISHED"
    tracking.flush()
    assert run not in tracking.open_runs()
    assert table(tracking, run)["data"] == [[1]]


def test_statuses_tell_how_a_run_ended(tracking):
    with pytest.raises(ValueError, match="boom"), tracking.start_run("fails") as failed:
        raise ValueError("boom")
    with pytest.raises(KeyboardInterrupt), tracking.start_run("is stopped") as killed:
        raise KeyboardInterrupt
    assert look(tracking, failed).info.status == "FAILED"
    assert look(tracking, killed).info.status == "KILLED"


def test_closing_ends_what_nobody_finished_and_sends_what_waits(uri, tracking):
    with MlflowTracking(uri) as other:
        run = other.start_run("left open")
        run.log_metrics({"loss": 0.25}, step=3)
    assert look(tracking, run).info.status == "KILLED"
    assert history(tracking, run, "loss") == [(3, 0.25)]


def test_runs_of_a_process_that_was_killed_are_ended_by_the_next(uri, tracking):
    mine = Process.current()
    owners = {
        "dead": replace(mine, pid=2**22 + 1),
        "its number was given to another": replace(mine, started="0"),
        "in another container": replace(mine, pid=2**22 + 1, space=mine.space.replace("pid:[", "pid:[_")),
        "lives": mine,
    }
    made = {
        name: tracking.client.create_run(tracking.experiment_id, tags=owner_tags(owner)).info.run_id
        for name, owner in owners.items()
    }
    with tracking.start_run("alive") as alive:
        MlflowTracking(uri).close()
        assert look(tracking, alive).info.status == "RUNNING"
    statuses = {name: tracking.client.get_run(run).info.status for name, run in made.items()}
    assert list(statuses.values()) == ["KILLED", "KILLED", "RUNNING", "RUNNING"]


def test_awkward_parameters_and_metrics_arrive(tracking):
    long = "word " * 2000
    with tracking.start_run("awkward") as run:
        run.log_params({f"p{index}": index for index in range(250)})
        run.log_params({"a[0]": 1, "a(0)": 2, "prompt": long, "/": "root", "n" * 300: "long name"})
        run.log_metrics({"kl": math.inf, "ratio": math.nan, "loss[0]": 1.0, "x/../y": 2.0}, step=1)
    found = look(tracking, run).data
    assert len(found.params) == 255
    assert {found.params[clean_name("a[0]")], found.params[clean_name("a(0)")]} == {"1", "2"}
    assert len(found.params["prompt"]) == 6000
    awkward = {clean_name("loss[0]"): 1.0, clean_name("x/../y"): 2.0}
    assert found.metrics == {"nonfinite/kl": 1.0, "nonfinite/ratio": 1.0} | awkward
    local = Path(tracking.client.download_artifacts(run.id, "params.json"))
    assert long in local.read_text(encoding="utf-8")


def test_a_long_parameter_costs_no_run_where_no_file_can_be_written(tracking, tmp_path, monkeypatch, caplog):
    with tracking.start_run("parent") as parent, caplog.at_level(logging.WARNING):
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
        child = tracking.child(parent, "child", {"prompt": "word " * 2000})
        child.finish()
    assert len(look(tracking, child).data.params["prompt"]) == 6000
    assert "nowhere" in caplog.text


def test_credentials_are_not_shown(monkeypatch, caplog):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(TrackingUnavailable) as caught:
        MlflowTracking("http://user:pa55word@127.0.0.1:9")
    assert "http://127.0.0.1:9" in str(caught.value)
    assert "pa55word" not in str(caught.value)


def test_a_changed_parameter_is_given_up_and_the_rest_still_arrives(tracking, caplog):
    with caplog.at_level(logging.WARNING), tracking.start_run("changes its mind", {"beta": 1}) as run:
        run.flush()
        run.log_params({"beta": 2})
        run.log_metrics({"loss": 1.0})
    assert look(tracking, run).data.params == {"beta": "1"}
    assert look(tracking, run).data.metrics == {"loss": 1.0}
    assert look(tracking, run).info.status == "FINISHED"
    assert "in trouble" in caplog.text


def test_a_stage_result_is_recorded_and_a_reused_one_is_marked(tracking, tmp_path):
    (tmp_path / "measures.json").write_text("{}", encoding="utf-8")
    facts = {"stage": "evaluate", "plugin": "bbq", "label": "dpo", "seed": 1, "kind": "evaluation"}
    result = StageResult(
        **facts, key="k" * 64, digest="d" * 64, reused=True, seconds=2.0, metrics={"acc": 0.5}, path=tmp_path
    )
    with tracking.start_run("evaluate:bbq:dpo") as run:
        run.log_result(result)
    tracking.flush()
    found = look(tracking, run).data
    assert found.tags["reused_from"] == "k" * 64
    assert (found.tags["plugin"], found.tags["seed"]) == ("bbq", "1")
    assert found.metrics == {"acc": 0.5, "perf/stage_seconds": 2.0}
    assert [entry.path for entry in tracking.client.list_artifacts(run.id)] == ["measures.json"]


def test_stages_in_threads_do_not_mix(tracking):
    with tracking.start_run("threads") as parent:

        def stage(index):
            with tracking.child(parent, f"stage {index}", {"index": index}) as run:
                for step in range(300):
                    run.log_metrics({"loss": index + step / 1000}, step=step)
            runs[index] = run

        runs = {}
        threads = [threading.Thread(target=stage, args=(index,)) for index in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for index, run in runs.items():
        assert history(tracking, run, "loss") == [(step, index + step / 1000) for step in range(300)]
        assert look(tracking, run).data.params == {"index": str(index)}


def test_an_outage_costs_one_warning_and_no_metric(tracking, caplog, monkeypatch, tmp_path):
    from mlflow import MlflowClient

    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    (tmp_path / "report.md").write_text("text")
    working, run = tracking.client, tracking.start_run("outage")
    with caplog.at_level(logging.WARNING):
        monkeypatch.setattr(tracking, "client", MlflowClient("http://127.0.0.1:9"))
        run.log_metrics({"loss": 0.2}, step=2)
        run.set_tags({"seen": "late"})
        run.log_artifact(tmp_path)
        late = tracking.child(run, "evaluate:bbq", {"a": 1})
        late.log_metrics({"x": 1.0})
        late.log_artifact(tmp_path / "report.md", "report")
        late.log_text("words", "notes.txt")
        late.finish()
        assert (late.id, late.url) == ("", None)
        assert late.waiting == ["the run itself", "1 parameter", "4 tags", "1 metric", "2 files", "its end"]
        run.finish("FAILED")
        assert run in tracking.open_runs()
        monkeypatch.setattr(tracking, "client", working)
        tracking.flush()
    assert tracking.open_runs() == []
    assert history(tracking, run, "loss") == [(2, 0.2)]
    assert [entry.path for entry in tracking.client.list_artifacts(run.id)] == ["report.md"]
    found = look(tracking, late)
    assert (found.info.run_name, found.info.status, found.data.tags[PARENT_TAG]) == ("evaluate:bbq", "FINISHED", run.id)
    assert (found.data.params, found.data.metrics) == ({"a": "1"}, {"x": 1.0})
    assert {entry.path for entry in tracking.client.list_artifacts(late.id)} == {"report", "notes.txt"}
    assert (look(tracking, run).info.status, look(tracking, run).data.tags["seen"]) == ("FAILED", "late")
    assert len([record for record in caplog.records if record.levelno == logging.WARNING]) == 1


def test_two_processes_may_start_on_a_new_database_at_once(tmp_path):
    uri = f"sqlite:///{tmp_path}/new/mlflow.db"
    code = (
        "import sys; from pipeline_core.tracking.mlflow.client import MlflowTracking\n"
        "with MlflowTracking(sys.argv[1], sys.argv[2]) as t, t.start_run('race') as run: run.log_metrics({'x': 1.0})"
    )
    command = [sys.executable, "-c", code, uri, (tmp_path / "artifacts").as_uri()]
    racers = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    errors = [racer.communicate(timeout=120)[1] for racer in racers]
    assert [racer.returncode for racer in racers] == [0, 0], errors
    with MlflowTracking(uri) as tracking:
        runs = tracking.client.search_runs([tracking.experiment_id])
    assert [run.info.status for run in runs] == ["FINISHED", "FINISHED"]
    assert all(run.data.metrics == {"x": 1.0} for run in runs)


@pytest.mark.parametrize("uri", ["http://127.0.0.1:9", "sqlite:////proc/nowhere/mlflow.db"])
def test_no_tracking_at_the_start_is_an_error_that_names_the_address(uri, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(TrackingUnavailable, match=uri) as caught:
        MlflowTracking(uri)
    assert caught.value.exit_code == 2
    assert "MLFLOW_TRACKING_URI" in str(caught.value)


GROUPS = (
    *("中国", "日本", "हिन्दी", "Ωμέγα", "𠮷", "e\u0301", "é"),
    *("50% mixed", "50# mixed", "Black", " Black ", "Q/A", "Q//A"),
)
"""D11: groups whose names were once the same to MLflow, and others like these."""


def kept_apart(tracking):
    """The metrics of two runs that log the groups in opposite orders; every group has to keep its value and name."""
    runs = []
    for order in (GROUPS, GROUPS[::-1]):
        with tracking.start_run("groups") as run:
            run.log_metrics({f"bias/group/{group}": float(GROUPS.index(group)) for group in order})
        runs.append(look(tracking, run).data.metrics)
    assert runs[0] == runs[1]
    return runs[0]


def test_d11_groups_of_any_script_have_the_same_name_in_every_run(tracking):
    kept = kept_apart(tracking)
    assert sorted(kept.values()) == [float(number) for number in range(len(GROUPS))]
    assert {"bias/group/中国", "bias/group/日本", "bias/group/Black", "bias/group/Q/A", "bias/group/𠮷"} <= set(kept)


@pytest.mark.slow
def test_d11_a_server_takes_them_too(server):
    with MlflowTracking(server.uri) as tracking:
        assert sorted(kept_apart(tracking).values()) == [float(number) for number in range(len(GROUPS))]


@pytest.mark.parametrize("name", ["a?b #c%20d é\"'", "slash/", "./relative?"])
def test_d12_a_home_of_any_name_holds_its_database_and_artifacts(tmp_path, monkeypatch, name):
    from mlflow import MlflowClient

    from pipeline_core.store.places import Places

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EVENHAND_HOME", "a?b #c%20d é\"'/")  # relative, and with a slash at its end
    places = Places.from_environment()
    with open_tracking(places) as tracking, tracking.start_run("odd") as run:
        run.log_metrics({"loss": 0.5})
        run.log_text("text", "report/report.md")
    assert [entry.name for entry in tmp_path.iterdir()] == [places.home.name]  # nothing lies beside it
    assert {entry.name for entry in places.home.iterdir()} >= {"mlflow.db", "mlflow.db.lock", "mlartifacts"}
    client = MlflowClient(tracking_uri=places.tracking_uri)
    assert client.get_run(run.id).data.metrics == {"loss": 0.5}
    assert [entry.path for entry in client.list_artifacts(run.id, "report")] == ["report/report.md"]


def test_a_server_takes_runs_and_artifacts(server):
    with MlflowTracking(server.uri) as tracking, tracking.start_run("remote", {"beta": 0.1}) as run:
        run.log_metrics({"loss": 0.5}, step=1)
        run.log_text("hello", "report/report.md")
    assert (look(tracking, run).info.status, look(tracking, run).data.params) == ("FINISHED", {"beta": "0.1"})
    assert history(tracking, run, "loss") == [(1, 0.5)]
    page = f"{server.uri}/#/experiments/{tracking.experiment_id}/runs/{run.id}"
    assert run.url == f"{page}?workflowType=machine_learning"
    assert run.artifact_url("report/a b.html") == f"{page}/artifacts/report%2Fa%20b.html?workflowType=machine_learning"
    assert [entry.path for entry in tracking.client.list_artifacts(run.id, "report")] == ["report/report.md"]


@pytest.mark.slow
def test_a_server_that_goes_away_costs_a_warning_and_no_data(server, caplog, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with caplog.at_level(logging.WARNING), MlflowTracking(server.uri) as tracking:
        parent = tracking.start_run("through a restart", {"beta": 0.1})
        run = tracking.child(parent, "policy:grpo")
        run.log_metrics({"reward/mean": 0.1}, step=1)
        tracking.flush()
        server.stop()
        run.log_metrics({"reward/mean": 0.2}, step=2)
        run.finish()
        late = tracking.child(parent, "evaluate:bbq:grpo", {"a": 1})
        late.log_metrics({"x": 1.0})
        late.finish()
        assert run in tracking.open_runs()
        assert len([record for record in caplog.records if record.levelno == logging.WARNING]) == 1
        server.start()
        parent.log_text("hello", "report/report.md")
        parent.finish()
    assert run not in tracking.open_runs()
    assert history(tracking, run, "reward/mean") == [(1, 0.1), (2, 0.2)]
    assert {look(tracking, one).info.status for one in (parent, run, late)} == {"FINISHED"}
    assert history(tracking, late, "x") == [(0, 1.0)]
    assert [entry.path for entry in tracking.client.list_artifacts(parent.id, "report")] == ["report/report.md"]
