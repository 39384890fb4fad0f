"""Homes of earlier commits still open: `stores/before_rooms.tar.gz` is a run of `smoke` by a core without rooms."""

import json
import shutil
from pathlib import Path

import pytest

from flows.records import find_run
from pipeline_core.store.places import Places
from pipeline_core.tracking.opening import open_tracking
from tests.flows.test_cli import call

STORES = Path(__file__).parent / "stores"


@pytest.fixture
def before(tmp_path, monkeypatch):
    shutil.unpack_archive(STORES / "before_rooms.tar.gz", tmp_path)
    home = tmp_path / "home"
    monkeypatch.setenv("EVENHAND_HOME", str(home))
    for name in ("EVENHAND_STORE", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    return home


def test_a_run_of_before_is_shown_and_its_stages_are_found(before, capsys):
    assert call("show", "last", "--json") == 0
    record = json.loads(capsys.readouterr().out)
    assert (record["name"], record["status"], len(record["stages"])) == ("smoke", "completed", 8)
    for stage in record["stages"]:
        assert call("show", stage["key"], "--json") == 0
        assert json.loads(capsys.readouterr().out)["digest"]


def test_figures_of_before_are_the_same(before, capsys):
    record = find_run(Places.from_environment().runs, "last")
    written = json.loads((before / "runs" / record.run_id / "report.json").read_text(encoding="utf-8"))
    assert call("compare", "last", "dpo", "base", "--json") == 0
    pair = json.loads(capsys.readouterr().out)
    rows = {row["title"]: row for row in written["rows"]}
    compared = 0
    for row in pair["rows"]:
        (cell,) = (one for one in rows[row["title"]]["cells"] if one["model"] == "dpo")
        assert {name: row["a"][name] for name in ("value", "low", "high", "n")} == {
            name: cell[name] for name in ("value", "low", "high", "n")
        }
        if cell["test"]:
            found = row["over_items"]
            assert (found["difference"], found["low"], found["high"], found["p"]) == (
                cell["difference"],
                cell["difference_low"],
                cell["difference_high"],
                cell["p"],
            )
            compared += 1
    assert compared >= 1


def test_artifacts_of_before_leave(before, tmp_path, capsys):
    record = find_run(Places.from_environment().runs, "last")
    key = next(stage.key for stage in record.stages if stage.label == "grpo" and stage.stage == "policy")
    assert call("export", key, str(tmp_path / "out")) == 0
    from transformers import AutoModelForCausalLM

    assert AutoModelForCausalLM.from_pretrained(tmp_path / "out").num_parameters() > 0


def test_tracking_of_before_goes_on(before):
    with open_tracking(Places.from_environment()) as tracking:
        run = tracking.start_run("after")
        run.finish("FINISHED")
        names = {one.info.run_name for one in tracking.client.search_runs([tracking.experiment_id])}
    assert {"after", "smoke", "extend"} <= names


def test_stages_of_before_are_reused(before, capsys):
    assert call("check", "smoke", "--json") == 0
    plan = json.loads(capsys.readouterr().out)
    there = {stage["id"] for stage in plan["stages"] if stage["in_store"]}
    assert {"base", "extend", "reward", "evaluate:sandbox_bias:base"} <= there
