"""The command line with runs as plain files: no MLflow, the same records, and what cannot be registered is refused."""

import json
import os
import subprocess
import sys

import pytest

from tests.flows.conftest import ROOT

FEW = ["base.steps=2", "base.data.rows=100", "reward=null", "extend=null", "policy=[]", "runner.launch=in_process"]
NO_MLFLOW = """
import sys
sys.modules["mlflow"] = None  # an import of it fails
from flows.cli import main
try:
    main(sys.argv[1:])
finally:
    assert [name for name in sys.modules if name.startswith("mlflow")] == ["mlflow"]
"""


@pytest.fixture
def without_mlflow(home):
    def call(*arguments):
        return subprocess.run(
            [sys.executable, "-c", NO_MLFLOW, *arguments],
            env=os.environ | {"PYTHONPATH": str(ROOT), "EVENHAND_TRACKING": "json-lines"},
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )

    return call


@pytest.mark.slow
def test_a_run_is_tracked_in_files_without_mlflow(without_mlflow, home):
    done = without_mlflow("run", "smoke", *FEW)
    assert done.returncode == 0, done.stderr
    (record,) = (json.loads(file.read_text()) for file in home.glob("runs/*/run.json"))
    runs = [json.loads(file.read_text()) for file in home.glob("tracking/*/run.json")]
    assert {run["status"] for run in runs} == {"FINISHED"}
    (parent,) = [run for run in runs if run["parent"] is None]
    assert (parent["id"], parent["name"]) == (record["run_id"], record["run_name"])
    assert parent["params"]["preset"] == parent["tags"]["preset"] == "smoke"
    assert {run["name"] for run in runs if run["parent"] == parent["id"]} == {"base", "evaluate:sandbox_bias:base"}
    folder = home / "tracking" / parent["id"]
    assert (folder / "artifacts" / "report" / "report.html").exists()
    assert f"tracking: {folder.as_uri()}" in done.stderr
    assert not (home / "mlflow.db").exists()
    shown = without_mlflow("show", "last")
    assert f"tracking: {folder.as_uri()}" in shown.stdout


def test_a_study_is_tracked_in_files_without_mlflow(without_mlflow, home, tmp_path):
    few = ["--features=same", "--scenarios=uneven-imbalanced", "--methods=gr_dpo", "--seeds=2", "--iterations=4"]
    done = without_mlflow("study", "log-linear", "--out", str(tmp_path / "out"), *few)
    assert done.returncode == 0, done.stderr
    (file,) = home.glob("tracking/*/run.json")
    run = json.loads(file.read_text())
    assert (run["name"], run["status"], run["tags"]) == ("log-linear study", "FINISHED", {"study": "log-linear"})
    assert (file.parent / "artifacts" / "results.json").read_text() == (tmp_path / "out" / "results.json").read_text()
    lines = [json.loads(line) for line in (file.parent / "metrics.jsonl").read_text().splitlines()]
    curve = [line["step"] for line in lines if "same/uneven-imbalanced/gr_dpo/max_validation_loss" in line["metrics"]]
    assert curve == [0, 1, 2, 3, 4]
    assert f"tracking: {file.parent.as_uri()}" in done.stderr


def test_doctor_tells_the_folder(without_mlflow, home):
    found = json.loads(without_mlflow("doctor", "--json").stdout)["databases"]["tracking"]
    assert found == f"{home / 'tracking'} (writable; JSON lines, no MLflow)"


def test_a_registration_is_refused_before_the_run(monkeypatch, capsys):
    from flows.cli import main

    def told(tracking):
        monkeypatch.setenv("EVENHAND_TRACKING", tracking)
        with pytest.raises(SystemExit) as left:
            main(["check", "gated"])
        assert left.value.code == 2
        return capsys.readouterr().err

    assert "register_as: the tracking 'json-lines' registers no models; MLflow does" in told("json-lines")
    assert "EVENHAND_TRACKING: unknown tracking 'jsonl'. Did you mean 'json-lines'?" in told("jsonl")
