"""Commands over a store, a catalog and a scaffold."""

import importlib
import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from flows.records import RunRecord, StageRecord, abandoned
from pipeline_core.conformance.kit import check_plugin, commit_folder
from pipeline_core.plugin.registry import PluginOrigin, load_registry
from pipeline_core.plugin.specs import STAGES
from pipeline_core.store.artifacts import Store
from pipeline_core.store.places import Places
from pipeline_core.store.processes import Process
from tests.flows.conftest import ROOT
from tests.flows.test_cli import call


@pytest.fixture
def store(home):
    store = Store(Places.from_environment().store)
    store.prepare()
    for key in ("aa11", "bb22"):
        work = store.partial(key)
        work.mkdir(parents=True)
        (work / "x.txt").write_text(key * 100)
        commit_folder(store, "model", key, work)
    return store


def record_of(store, key, **facts):
    manifest = store.find("model", key)
    stage = StageRecord(
        stage="base",
        plugin="p",
        label="l",
        seed=0,
        key=key,
        digest=manifest.digest,
        reused=False,
        seconds=1,
        metrics={},
    )
    return RunRecord.begin("run1", "name", {}).model_copy(update={"stages": [stage], **facts})


def test_store_ls(store, capsys):
    assert call("store", "ls", "--json") == 0
    rows = json.loads(capsys.readouterr().out)
    assert {row["key"] for row in rows} == {"aa11", "bb22"}
    assert rows[0]["bytes"] == 400


def test_gc_keeps_what_runs_use_and_what_is_young(store, capsys):
    record_of(store, "aa11", status="completed").write(Places.from_environment().runs)
    assert call("store", "gc") == 0
    assert store.find("model", "bb22"), "made today"
    assert call("store", "gc", "--keep-days", "0", "--dry-run") == 0
    assert "bb22" in capsys.readouterr().out
    assert store.find("model", "bb22"), "a dry run removes nothing"
    assert call("store", "gc", "--keep-days", "0") == 0
    assert store.find("model", "aa11"), "a run uses it"
    assert store.find("model", "bb22") is None


def test_gc_keeps_the_stages_of_a_run_that_is_going_on(store):
    runs = Places.from_environment().runs
    record_of(store, "aa11", status="running").write(runs)
    RunRecord.begin("run2", "newer", {}).write(runs)
    assert call("store", "gc", "--keep-days", "0", "--keep-runs", "1") == 0
    assert store.find("model", "aa11")
    gone = {"started": 0.0, "process": replace(Process.current(), pid=2**22 + 1)}
    record_of(store, "aa11", **gone).write(runs)
    assert call("store", "gc", "--keep-days", "0", "--keep-runs", "1") == 0
    assert store.find("model", "aa11") is None


def test_gc_lists_what_it_finds(store, capsys):
    (store.scratch / "old").write_text("x" * 7)
    os.utime(store.scratch / "old", (0, 0))
    assert call("store", "gc", "--dry-run", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found == {"removed": False, "found": [{"path": str(store.scratch / "old"), "what": "cache"}], "bytes": 7}


def test_show_finds_runs_and_artifacts_by_their_beginning(store, capsys):
    record_of(store, "aa11", status="completed").write(Places.from_environment().runs)
    assert call("show", "run", "--json") == 0
    assert json.loads(capsys.readouterr().out)["run_id"] == "run1"
    assert call("show", "bb", "--json") == 0
    assert json.loads(capsys.readouterr().out)["key"] == "bb22"
    assert call("show", "cc") == 2


def test_a_run_whose_process_is_gone_is_abandoned(store):
    mine = record_of(store, "aa11")
    assert not abandoned(mine)
    gone = replace(Process.current(), pid=2**22 + 1)
    assert abandoned(mine.model_copy(update={"process": gone}))
    assert not abandoned(mine.model_copy(update={"process": gone, "status": "completed"}))
    assert not abandoned(mine.model_copy(update={"process": replace(gone, space="elsewhere")}))
    assert abandoned(mine.model_copy(update={"process": replace(Process.current(), started="0")}))
    assert mine.started == pytest.approx(time.time(), abs=60)


def test_data_ls_and_show(capsys):
    assert call("data", "ls", "--json") == 0
    entries = {entry["entry"]: entry for entry in json.loads(capsys.readouterr().out)}
    assert entries["sandbox_pairs"]["available"]
    assert call("data", "show", "sandbox_pairs", "--rows", "2", "--json") == 0
    assert len(json.loads(capsys.readouterr().out)["first_rows"]) == 2
    assert call("data", "show", "sandbox_pears") == 2
    assert "'sandbox_pairs'" in capsys.readouterr().err


def test_validate_names_entry_row_and_column(tmp_path, monkeypatch, capsys):
    rows = [{"id": "1", "prompt": "p", "chosen": "a", "rejected": "b"}, {"id": "2", "prompt": "p", "chosen": ""}]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "catalog.yaml").write_text(
        "mine: {kind: jsonl, path: rows.jsonl, rows: preference, title: t, licence: l, citation: c}\n"
    )
    monkeypatch.setenv("EVENHAND_CATALOG", str(tmp_path / "catalog.yaml"))
    monkeypatch.setenv("EVENHAND_DATA", str(tmp_path))
    assert call("data", "validate", "mine") == 2
    shown = capsys.readouterr().err
    assert "mine" in shown
    assert "rejected" in shown or "chosen" in shown
    assert "2" in shown


@pytest.mark.parametrize("stage", STAGES)
def test_a_scaffold_conforms_as_it_is(stage, tmp_path, monkeypatch):
    name, folder = f"fresh_{stage}", tmp_path / "new"
    assert call("plugins", "new", name, "--stage", stage, "--into", str(folder)) == 0
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("PYTHONPATH", f"{folder}{os.pathsep}{ROOT}")
    registry = load_registry.__wrapped__()
    registry.add(importlib.import_module(name), PluginOrigin(name, "unpackaged", "0"))
    assert check_plugin(stage, name, tmp_path, registry=registry).kind == STAGES[stage].kind
    compile((folder / f"test_{name}.py").read_text(), "test", "exec")
    for path in (
        f"plugins/{stage}/{name}.py",
        f"tests/plugins/{stage}/test_{name}.py",
    ):  # where they belong
        ruff = [sys.executable, "-m", "ruff", "check", "--output-format", "concise", "--stdin-filename", path, "-"]
        text = (folder / path.rpartition("/")[2]).read_text()
        found = subprocess.run(ruff, cwd=ROOT, input=text, capture_output=True, text=True, check=False).stdout
        assert found == "All checks passed!\n"


@pytest.mark.parametrize(
    ("name", "stage", "words"),
    [("Nice", "policy", "small letters"), ("a-b", "policy", "small letters"), ("fine", "polcy", "'policy'")],
)
def test_scaffold_refuses_what_cannot_be(name, stage, words, tmp_path, capsys):
    assert call("plugins", "new", name, "--stage", stage, "--into", str(tmp_path)) == 2
    assert words in capsys.readouterr().err
    assert not list(tmp_path.glob("*.py"))


def test_scaffold_overwrites_nothing(tmp_path):
    (tmp_path / "mine.py").write_text("precious")
    assert call("plugins", "new", "mine", "--stage", "policy", "--into", str(tmp_path)) == 2
    assert (tmp_path / "mine.py").read_text() == "precious"


def test_a_scaffold_in_the_repository_stands_where_it_belongs_and_its_test_finds_it(tmp_path, monkeypatch, capsys):
    shutil.copytree(ROOT / "plugins", tmp_path / "plugins", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "tests" / "plugins").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("plugins.__file__", str(tmp_path / "plugins" / "__init__.py"))
    assert call("plugins", "new", "fresh", "--stage", "extend") == 0
    assert "plugins/extend/fresh.py" in capsys.readouterr().err
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/plugins/extend/test_fresh.py"]
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert "1 passed" in done.stdout, done.stdout + done.stderr


def test_last_without_a_completed_run_says_so_and_where_it_looked(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("EVENHAND_HOME", str(tmp_path))
    for command in (["show", "last"], ["compare", "last", "dpo", "base"]):
        assert call(*command) == 2
        told = capsys.readouterr().err
        assert f"no run is completed in {tmp_path / 'runs'}" in told and "EVENHAND_HOME" in told
