"""R16: what a server could not take is kept on the disk, and a later process sends it."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading

import pytest

from pipeline_core.tracking.mlflow.client import PARENT_TAG, MlflowTracking
from pipeline_core.tracking.mlflow.run import TOKEN_TAG
from tests.flows.conftest import ROOT

AWAY = "http://127.0.0.1:9"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("tracking home")


@pytest.fixture
def opened(folder, tmp_path):
    def call():
        return MlflowTracking(f"sqlite:///{folder}/mlflow.db", (folder / "artifacts").as_uri(), tmp_path / "unsent")

    return call


ENDING = """
import os, sys, time
from pathlib import Path
from mlflow import MlflowClient
from pipeline_core.tracking.mlflow.client import MlflowTracking
uri, folder, unsent, end, away = sys.argv[1:]
tracking = MlflowTracking(uri, folder, Path(unsent))
parent = tracking.start_run("parent", {"beta": 0.1})
child = tracking.child(parent, "policy:dpo")
child.log_metrics({"loss": 0.5}, step=1)
child.flush()
tracking.client = MlflowClient(away)  # the server goes away
child.log_metrics({"loss": 0.25}, step=2)
child.log_rows("samples", [{"step": 2, "completion": "yes"}])
late = tracking.child(parent, "evaluate:bbq", {"items": 3})
late.log_metrics({"bias": 0.5})
late.log_text("words", "notes.txt")
print(parent.id, child.id, flush=True)
if end == "killed":
    time.sleep(2)
    late.flush()
    child.flush()
    print("kept", flush=True)
    time.sleep(600)
late.finish()
child.finish()
parent.finish("FAILED")
tracking.close()
print(sorted(tracking.unsent), flush=True)
"""


def ended(folder, tmp_path, end):
    """A process that loses its server and ends, by itself or by a kill; the ids of its parent and child."""
    command = [sys.executable, "-c", ENDING, f"sqlite:///{folder}/mlflow.db", (folder / "artifacts").as_uri()]
    process = subprocess.Popen(
        [*command, str(tmp_path / "unsent"), end, AWAY],
        cwd=ROOT,
        env=os.environ | {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"},
        stdout=subprocess.PIPE,
        text=True,
    )
    ids = process.stdout.readline().split()
    if end == "killed":
        assert process.stdout.readline() == "kept\n"
        process.send_signal(signal.SIGKILL)
    else:
        assert process.stdout.readline() == "['evaluate:bbq', 'parent', 'policy:dpo']\n"
    process.communicate()
    return ids


@pytest.mark.parametrize(
    ("end", "statuses"),
    [("closed", ["FAILED", "FINISHED", "FINISHED"]), ("killed", ["KILLED", "KILLED", "KILLED"])],
)
def test_what_was_left_is_sent_by_the_next_process_with_the_state_it_had(opened, folder, tmp_path, end, statuses):
    parent, child = ended(folder, tmp_path, end)
    with opened() as tracking:
        assert tracking.left == {}
        runs = tracking.client.search_runs([tracking.experiment_id], f"tags.`{PARENT_TAG}` = '{parent}'")
        late = next(run for run in runs if run.info.run_name == "evaluate:bbq")
        assert len(runs) == 2
        found = [tracking.client.get_run(run) for run in (parent, child, late.info.run_id)]
        history = tracking.client.get_metric_history(child, "loss")
        assert [entry.path for entry in tracking.client.list_artifacts(late.info.run_id)] == ["notes.txt"]
        assert [entry.path for entry in tracking.client.list_artifacts(child)] == ["samples.json"]
    assert [run.info.status for run in found] == statuses
    assert [(point.step, point.value) for point in history] == [(1, 0.5), (2, 0.25)]
    assert (late.data.params, late.data.metrics) == ({"items": "3"}, {"bias": 0.5})
    assert late.info.start_time < late.info.end_time
    assert not list((tmp_path / "unsent").glob("*.json"))


def test_a_server_that_stays_away_keeps_it_waiting(opened, folder, tmp_path, monkeypatch):
    ended(folder, tmp_path, "closed")
    kept = {file.name: json.loads(file.read_text())["run"] for file in (tmp_path / "unsent").glob("*.json")}

    def refuse(*_, **__):
        raise OSError("no route to host")

    with monkeypatch.context() as patch:
        patch.setattr("mlflow.MlflowClient.log_batch", refuse)
        patch.setattr("mlflow.MlflowClient.create_run", refuse)
        patch.setattr("mlflow.MlflowClient.set_terminated", refuse)
        with opened() as tracking:
            assert set(tracking.left) == {"parent", "policy:dpo", "evaluate:bbq"}
    assert {file.name: json.loads(file.read_text())["run"] for file in (tmp_path / "unsent").glob("*.json")} == kept
    with opened() as tracking:
        assert tracking.left == {}


def test_a_file_that_cannot_be_read_is_named_and_stays(opened, tmp_path, caplog):
    (tmp_path / "unsent").mkdir()
    bad = tmp_path / "unsent" / "bad.json"
    bad.write_text("{")
    opened().close()
    assert f"left out: {bad} cannot be read" in caplog.text
    assert bad.exists()


def test_a_stage_waits_for_no_request_and_its_end_is_kept_before_it_is_sent(opened, tmp_path, monkeypatch):
    """The server hangs: the stage's calls return all the same, and a process that is killed then loses nothing."""
    answers = threading.Event()
    with opened() as tracking:
        parent = tracking.start_run("parent")
        child = tracking.child(parent, "policy:dpo", {"lr": 0.1})
        tracking.flush()
        send = tracking.client.log_batch
        monkeypatch.setattr(
            tracking.client, "log_batch", lambda *some, **named: answers.wait(60) and send(*some, **named)
        )
        for step in range(3000):
            child.log_metrics({"loss": 1 / (1 + step)}, step=step)
        child.log_text("words", "notes.txt")
        child.set_tags({"key": "k"})
        child.finish()
        assert not answers.is_set()
        kept = [json.loads(file.read_text())["run"] for file in (tmp_path / "unsent").glob("*.json")]
        assert [(one["name"], one["status"], len(one["metrics"])) for one in kept] == [("policy:dpo", "FINISHED", 3000)]
        assert kept[0]["texts"] == {"notes.txt": "words"}
        answers.set()
    assert list((tmp_path / "unsent").glob("*.json")) == []
    found = tracking.client.get_run(child.id)
    assert (found.info.status, found.data.metrics) == ("FINISHED", {"loss": 1 / 3000})


def test_what_another_live_process_keeps_is_left_to_it(opened, tmp_path, monkeypatch):
    first = opened()
    run = first.start_run("goes on")
    with monkeypatch.context() as patch:
        patch.setattr(first.client, "log_batch", lambda *_, **__: 1 / 0)
        run.log_metrics({"loss": 1.0})
        run.flush()
    (file,) = (tmp_path / "unsent").glob("*.json")
    opened().close()
    assert file.exists()
    run.finish()
    first.flush()
    assert not file.exists()
    assert first.client.get_run(run.id).data.metrics == {"loss": 1.0}
    first.close()


def test_a_request_whose_answer_was_lost_makes_no_second_run(opened, monkeypatch):
    with opened() as tracking:
        parent, create = tracking.start_run("parent"), tracking.client.create_run
        monkeypatch.setattr("pipeline_core.tracking.mlflow.client.FLUSH_SECONDS", 600)

        def lose_the_answer(*arguments, **named):
            create(*arguments, **named)
            raise TimeoutError("no answer")

        with monkeypatch.context() as patch:
            patch.setattr(tracking.client, "create_run", lose_the_answer)
            child = tracking.child(parent, "policy:dpo", {"beta": 1})
            assert child.id == ""
        child.finish()
        tracking.flush()
        children = tracking.client.search_runs([tracking.experiment_id], f"tags.`{PARENT_TAG}` = '{parent.id}'")
        assert [run.info.run_id for run in children] == [child.id]
        assert children[0].data.params == {"beta": "1"}


@pytest.mark.slow
def test_a_request_that_a_proxy_doubles_leaves_no_second_run(server, monkeypatch):
    with MlflowTracking(server.uri) as tracking:
        create = tracking.client.create_run

        def twice(*arguments, **named):
            create(*arguments, **named)
            return create(*arguments, **named)

        monkeypatch.setattr(tracking.client, "create_run", twice)
        with tracking.start_run("parent") as parent:
            tracking.child(parent, "policy:dpo").finish()
    runs = tracking.client.search_runs([tracking.experiment_id], f"tags.`{TOKEN_TAG}` != ''")
    names = [run.info.run_name for run in runs if run.info.run_id == parent.id or run.data.tags.get(PARENT_TAG)]
    assert sorted(names) == ["parent", "policy:dpo"]


def test_a_run_that_the_server_never_takes_does_not_hold_back_the_others(opened, monkeypatch):
    monkeypatch.setattr("pipeline_core.tracking.mlflow.client.FLUSH_SECONDS", 600)
    with opened() as tracking:
        parent, send = tracking.start_run("parent"), tracking.client.log_batch
        first, second = tracking.child(parent, "first"), tracking.child(parent, "second")

        def refuse_the_first(run_id, **named):
            if run_id == first.id:
                raise OSError("internal error")
            send(run_id, **named)

        with monkeypatch.context() as patch:
            patch.setattr(tracking.client, "log_batch", refuse_the_first)
            for run in (first, second):
                run.log_metrics({"loss": 1.0})
            tracking.flush()
            assert tracking.client.get_run(second.id).data.metrics == {"loss": 1.0}
            assert first.waiting == ["1 metric"]


def test_a_stage_does_not_wait_while_another_thread_asks_a_server_that_is_away(opened, monkeypatch):
    monkeypatch.setattr("pipeline_core.tracking.mlflow.client.FLUSH_SECONDS", 600)
    with opened() as tracking:
        run, asked, answer = tracking.start_run("slow"), threading.Event(), threading.Event()

        def hang(*_, **__):
            asked.set()
            answer.wait(60)
            raise TimeoutError("no answer")

        with monkeypatch.context() as patch:
            patch.setattr(tracking.client, "log_batch", hang)
            tracking.in_trouble = True
            run.log_metrics({"loss": 1.0})
            sender = threading.Thread(target=tracking.flush)
            sender.start()
            assert asked.wait(60)
            run.set_tags({"seen": "now"})  # returns although the sender still waits
            assert sender.is_alive()
            answer.set()
            sender.join(60)
        tracking.flush()
        assert tracking.client.get_run(run.id).data.tags["seen"] == "now"


def test_a_run_that_somebody_has_deleted_ends_with_a_warning(opened, caplog):
    with caplog.at_level(logging.WARNING), opened() as tracking:
        run = tracking.start_run("deleted")
        tracking.client.delete_run(run.id)
        run.log_metrics({"loss": 1.0})
        run.finish()
        tracking.flush()
        assert tracking.open_runs() == []
    assert tracking.unsent == {}
    assert "in trouble" in caplog.text
