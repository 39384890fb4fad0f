"""Runs as plain files: what their folders hold, and what happens where they cannot be written."""

from __future__ import annotations

import json
import logging
import math
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from pipeline_core.errors import BadInput
from pipeline_core.store.places import Places
from pipeline_core.tracking.json_lines import Backend
from pipeline_core.tracking.opening import open_tracking

ROOT = Path(__file__).parent.parent.parent


def test_a_folder_holds_a_run(tmp_path):
    with Backend(tmp_path / "runs") as tracking, tracking.start_run("one", {"n": {"b": None}}, {"t": "x"}) as run:
        run.log_rows("a/b", [{"reward": math.nan, "each": {"z": [math.inf, 1]}, "text": "\ud800"}])
        assert (run.folder / "owner.json").exists()
    assert run.url == run.folder.as_uri()
    assert {path.name for path in run.folder.iterdir()} == {"run.json", "artifacts"}
    facts = json.loads((run.folder / "run.json").read_text())
    assert (facts["id"], facts["params"], facts["tags"]) == (run.folder.name, {"n": {"b": None}}, {"t": "x"})
    assert facts["process"]["pid"] and facts["started"] <= facts["ended"]
    (table,) = (run.folder / "artifacts").iterdir()
    assert (table.name, json.loads(table.read_text())) == (
        "a%2Fb.jsonl",
        {"reward": None, "each": {"z": [None, 1]}, "text": "?"},
    )


def test_threads_write_whole_lines(tmp_path):
    with Backend(tmp_path) as tracking, tracking.start_run("threads") as run:

        def log(index):
            for step in range(200):
                run.log_metrics({f"loss/{index}": float(step)}, step=step)

        threads = [threading.Thread(target=log, args=(index,)) for index in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    lines = [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]
    for index in range(4):
        own = [line["step"] for line in lines if f"loss/{index}" in line["metrics"]]
        assert own == list(range(200))


def test_files_that_cannot_be_written_cost_one_warning(tmp_path, caplog):
    with caplog.at_level(logging.WARNING), Backend(tmp_path / "runs") as tracking, tracking.start_run("run") as run:
        shutil.rmtree(tracking.folder)
        tracking.folder.write_text("")
        run.log_metrics({"loss": 1.0})
        run.set_tags({"a": "b"})
        run.log_rows("samples", [{"a": 1}])
        run.log_artifact(Path(__file__))
        child = tracking.child(run, "child", {"a": 1})
        child.log_metrics({"loss": 1.0})
        child.finish()
        assert (child.id, child.url, child.name) == ("", None, "child")
    told = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(told) == 1 and f"tracking at {tmp_path / 'runs'} is in trouble, the run goes on:" in told[0]


def test_a_full_disk_leaves_whole_lines(tmp_path):
    """A limit on the size of files ends a write in the middle, as a full disk does."""
    code = (
        "import resource, sys; from pathlib import Path; from pipeline_core.tracking.json_lines import Backend\n"
        "run = Backend(Path(sys.argv[1])).start_run('full')\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "for step in range(100): run.log_metrics({'loss': 0.5}, step=step)\n"
        "run.finish()"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("in trouble") == 1
    (metrics,) = tmp_path.glob("*/metrics.jsonl")
    steps = [json.loads(line)["step"] for line in metrics.read_text().splitlines()]
    assert steps == list(range(len(steps))) and 5 < len(steps) < 100
    assert metrics.read_text().endswith("\n")
    assert json.loads(metrics.with_name("run.json").read_text())["status"] == "FINISHED"


def test_spoilt_files_of_others_are_passed_over(tmp_path, caplog):
    for name, owner in {"odd": "{", "list": "[]", "none": "{}"}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "owner.json").write_text(owner)
    with caplog.at_level(logging.WARNING), Backend(tmp_path) as tracking, tracking.start_run("run") as run:
        pass
    assert json.loads((run.folder / "run.json").read_text())["status"] == "FINISHED"
    assert len([record for record in caplog.records if record.levelno == logging.WARNING]) == 1


@pytest.mark.parametrize("address", ["runs", "./runs", "~nobody-here/runs"])
def test_a_folder_that_no_worker_would_find_is_refused(monkeypatch, address):
    monkeypatch.setenv("EVENHAND_TRACKING", f"json-lines:{address}")
    with pytest.raises(BadInput, match=address):
        open_tracking(Places.from_environment())


def test_a_folder_of_the_users_choice(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("EVENHAND_TRACKING", "json-lines:~/my runs")
    with open_tracking(Places.from_environment()) as tracking, tracking.start_run("run") as run:
        pass
    assert run.folder.parent == tmp_path / "my runs"
