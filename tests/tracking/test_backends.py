"""Behaviour that all backends of tracking share, against a real SQLite database and real files."""

from __future__ import annotations

import json
import math
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline_core.errors import BadInput, UnknownName
from pipeline_core.stage.run import StageResult
from pipeline_core.store.places import Places
from pipeline_core.tracking.mlflow import values
from pipeline_core.tracking.opening import backend_of, open_tracking
from pipeline_core.tracking.protocol import TrackingUnavailable
from pipeline_core.tracking.values import flatten

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module", params=["mlflow", "json-lines"])
def backend(request, tmp_path_factory):
    """A backend's name and the home of its runs: MLflow's database takes seconds to make."""
    return request.param, tmp_path_factory.mktemp("tracking home")


@pytest.fixture
def places(backend, monkeypatch):
    monkeypatch.setenv("EVENHAND_TRACKING", backend[0])
    monkeypatch.setenv("EVENHAND_HOME", str(backend[1]))
    return Places.from_environment()


@pytest.fixture
def tracking(places):
    with open_tracking(places) as tracking:
        yield tracking


def kept(places, run_id, table="samples"):
    """A run as its backend has kept it."""
    if places.tracking == "json-lines":
        folder = places.home / "tracking" / run_id
        facts = json.loads((folder / "run.json").read_text())
        lines = lines_of(folder / "metrics.jsonl")
        metrics: dict = {}
        for line in lines:
            for name, value in line["metrics"].items():
                metrics.setdefault(name, []).append((line["step"], value))
        rows = lines_of(folder / "artifacts" / f"{table}.jsonl")
        files = {path.relative_to(folder / "artifacts").as_posix() for path in (folder / "artifacts").rglob("*.*")}
        owned = (folder / "owner.json").exists()
        assert owned == (facts["status"] == "RUNNING")
        facts |= {"params": flatten(facts["params"]), "files": files - {f"{table}.jsonl"}}
        return facts | {"metrics": metrics, "rows": [list(row.values()) for row in rows]}
    from mlflow import MlflowClient

    client = MlflowClient(places.tracking_uri)
    run = client.get_run(run_id)
    metrics = {
        name: [(point.step, point.value) for point in client.get_metric_history(run_id, name)]
        for name in run.data.metrics
    }
    top = client.list_artifacts(run_id)
    files = {one.path for entry in top for one in (client.list_artifacts(run_id, entry.path) or [entry])}
    rows = []
    if f"{table}.json" in files:
        rows = json.loads(Path(client.download_artifacts(run_id, f"{table}.json")).read_text())["data"]
    return {
        "name": run.info.run_name,
        "status": run.info.status,
        "parent": run.data.tags.get("mlflow.parentRunId"),
        "params": run.data.params,
        "tags": run.data.tags,
        "metrics": metrics,
        "rows": rows,
        "files": files - {f"{table}.json"},
    }


def charted(name, places):
    """A metric's name: MLflow's pages need another order of its parts."""
    return name if places.tracking == "json-lines" else values.charted(name)


def lines_of(file):
    return [json.loads(line) for line in file.read_text(encoding="utf-8").split("\n")[:-1]] if file.exists() else []


def test_a_parent_and_a_child_are_kept_whole(places, tracking, tmp_path):
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "a.md").write_text("a")
    config = {"beta": 0.1, "policy": [{"name": "dpo"}], "seeds": [0, 1]}
    with tracking.start_run("sandbox", config, {"preset": "sandbox"}) as parent:
        with tracking.child(parent.id, "policy:dpo", {"lr": 1e-4}) as child:
            for step in (1, 2, 3):
                metrics = {"loss": 1 / step, "group/中国/loss": 0.5}
                child.on_event({"step": step, "total": 3, "time": 5.0, "metrics": metrics})
            child.on_event({"table": "samples", "rows": [{"step": 1, "completion": "“no”\u2028"}]})
            child.on_event({"table": "samples", "rows": [{"step": 2, "completion": "yes"}]})
        parent.set_tags({"gate/dpo": "passed"})
        parent.log_artifact(tmp_path / "report", "report")
        parent.log_artifact(tmp_path / "report" / "a.md", "report/more")
        parent.log_metrics({"kl": math.inf, "loss": 2.0})
    if places.tracking == "mlflow":
        tracking.flush()  # what the sender's thread has not sent yet
    found, below = kept(places, parent.id), kept(places, child.id)
    assert (found["name"], found["status"], found["parent"]) == ("sandbox", "FINISHED", None)
    assert (below["name"], below["status"], below["parent"]) == ("policy:dpo", "FINISHED", parent.id)
    assert found["params"] == flatten(config)
    assert {"preset": "sandbox", "gate/dpo": "passed"}.items() <= found["tags"].items()
    assert found["metrics"] == {"nonfinite/kl": [(0, 1.0)], "loss": [(0, 2.0)]}
    assert below["metrics"] == {
        "loss": [(1, 1.0), (2, 0.5), (3, 1 / 3)],
        charted("group/中国/loss", places): [(1, 0.5), (2, 0.5), (3, 0.5)],
    }
    assert below["rows"] == [[1, "“no”\u2028"], [2, "yes"]]
    assert "report/a.md" in found["files"]


def test_a_stage_result_has_its_files_samples_and_tags(places, tracking, tmp_path):
    (tmp_path / "measures.json").write_text("{}", encoding="utf-8")
    (tmp_path / "samples.jsonl").write_text('{"item": 1}\n{"item": 2}\n', encoding="utf-8")
    facts = {"stage": "evaluate", "plugin": "bbq", "label": "dpo", "seed": 1, "kind": "evaluation"}
    more = {"key": "k" * 64, "digest": "d" * 64, "reused": True, "seconds": 2.0, "metrics": {"acc": 0.5}}
    with tracking.start_run("evaluate:bbq:dpo") as run:
        run.log_rows("samples", [{"item": 0}])
        run.log_result(StageResult(**facts, **more, path=tmp_path))
    if places.tracking == "mlflow":
        tracking.flush()  # files of a reused stage are sent after its end
    found = kept(places, run.id)
    assert (found["tags"]["plugin"], found["tags"]["reused_from"], found["tags"]["seed"]) == ("bbq", "k" * 64, "1")
    assert found["metrics"] == {"acc": [(0, 0.5)], "perf/stage_seconds": [(0, 2.0)]}
    assert (found["rows"], found["files"]) == ([[1], [2]], {"measures.json"})


def test_the_first_end_of_a_run_counts_and_closing_ends_what_is_open(places):
    with open_tracking(places) as tracking:
        with pytest.raises(ValueError, match="boom"), tracking.start_run("fails") as failed:
            raise ValueError("boom")
        with pytest.raises(KeyboardInterrupt), tracking.start_run("is stopped") as stopped:
            raise KeyboardInterrupt
        with tracking.start_run("is killed by its flow") as killed:
            killed.finish("KILLED")
        left = tracking.start_run("left open")
        left.log_metrics({"loss": 0.25}, step=3)
        assert kept(places, left.id)["status"] == "RUNNING"
    tracking.close()
    statuses = [kept(places, run.id)["status"] for run in (failed, stopped, killed, left)]
    assert statuses == ["FAILED", "KILLED", "KILLED", "KILLED"]
    assert kept(places, left.id)["metrics"] == {"loss": [(3, 0.25)]}


DYING = """
import sys, time
from pipeline_core.store.places import Places
from pipeline_core.tracking.opening import open_tracking
tracking = open_tracking(Places.from_environment())
parent = tracking.start_run("parent")
child = tracking.child(parent, "child")
child.log_metrics({"loss": 0.5}, step=7)
child.flush()
done = tracking.start_run("done")
done.finish()
done.flush()
print(parent.id, child.id, done.id, flush=True)
time.sleep(600)
"""


def test_runs_of_a_killed_process_are_ended_by_the_next_start(places, tracking):
    mine = tracking.start_run("mine")
    process = subprocess.Popen([sys.executable, "-c", DYING], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        parent, child, done = process.stdout.readline().split()
        open_tracking(places).close()
        assert [kept(places, run)["status"] for run in (parent, child, done)] == ["RUNNING", "RUNNING", "FINISHED"]
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    open_tracking(places).close()
    assert [kept(places, run)["status"] for run in (parent, child, done)] == ["KILLED", "KILLED", "FINISHED"]
    assert kept(places, child)["metrics"] == {"loss": [(7, 0.5)]}
    assert kept(places, mine.id)["status"] == "RUNNING"


@pytest.mark.parametrize(
    "address",
    ["mlflow:sqlite:////proc/nowhere/mlflow.db", "json-lines:/proc/nowhere/runs"],
    ids=["mlflow", "json-lines"],
)
def test_a_place_that_cannot_be_is_named_at_the_start(monkeypatch, address):
    monkeypatch.setenv("EVENHAND_TRACKING", address)
    with pytest.raises(TrackingUnavailable, match=address.partition(":")[2]) as caught:
        open_tracking(Places.from_environment()).start_run("none")
    assert caught.value.exit_code == 2


def test_a_backend_is_a_module_of_the_package(monkeypatch):
    assert backend_of(Places.from_environment())[0].__name__ == "MlflowTracking"
    for given in ("json-line", "protocol", "/folder", "../x"):
        monkeypatch.setenv("EVENHAND_TRACKING", f"{given}:/x")
        with pytest.raises(UnknownName, match="EVENHAND_TRACKING: unknown tracking .*json-lines") as caught:
            backend_of(Places.from_environment())
        assert given in str(caught.value)


def test_only_a_registry_registers(places, tracking):
    if type(tracking).registers:
        assert tracking.models.artifact_uri(tracking.start_run("run").id)
    else:
        with pytest.raises(BadInput, match="no models can be registered at"):
            _ = tracking.models
