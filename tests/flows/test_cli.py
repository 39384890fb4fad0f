"""The command line: quick start, exit codes, one message for bad input, JSON alone on stdout."""

import json
import subprocess
import sys

import pytest

from flows.cli import main
from pipeline_core.checks.presets import preset_names
from pipeline_core.plugin.specs import STAGES
from tests.flows.conftest import ROOT

HEAVY = {"torch", "transformers", "datasets", "mlflow", "prefect", "pydantic", "pluggy", "pyarrow", "numpy"}


def call(*arguments):
    """Run a command in this process and return its exit code."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    return ended.value.code


def test_help_loads_no_heavy_library():
    code = "import sys\nfrom flows.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    *shown, loaded = done.stdout.splitlines()
    assert any("run" in line for line in shown)
    assert not HEAVY & set(loaded.split())


def test_bad_input_is_one_message_and_exit_code_2(evenhand):
    done = evenhand("run", "sandbx")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: unknown preset 'sandbx'. Did you mean 'sandbox'?")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("error", [OSError(28, "No space left"), RuntimeError("(sqlite3) database or disk is full")])
def test_a_full_disk_is_one_sentence_however_deep_it_lies(error, monkeypatch, home, capsys):
    def fails(**_):
        raise RuntimeError("saving failed") from error

    monkeypatch.setattr("flows.cli.app", fails)
    assert call("run", "smoke") == 1
    told = capsys.readouterr().err
    assert told.startswith(f"error: the disk is full: {home}")
    assert "the same command goes on" in told


def test_debug_shows_the_traceback(evenhand):
    done = evenhand("check", "sandbx", "--debug")
    assert done.returncode != 0
    assert "Traceback" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["smoke", "base=tiny_ml"], ["base", "unknown base plugin 'tiny_ml'", "'tiny_lm'"]),
        (["smoke", "policy.0.bata=1"], ["policy.0.bata (dpo)", "unknown key 'bata'", "'beta'"]),
        (["smoke", "policy.dpo.beta=-1"], ["policy.0.beta (dpo)", "greater than 0", "given -1"]),
        (["smoke", "data=sandbox_pears"], ["data:", "unknown catalog entry 'sandbox_pears'", "'sandbox_pairs'"]),
        (["smoke", "data.split=trian"], ["data:", "unknown split 'trian'", "'train'"]),
        (
            ["smoke", "evaluate.0.facts=sandbox_fact"],
            ["evaluate.0 (sandbox_bias)", "unknown catalog entry 'sandbox_fact'", "'sandbox_facts'"],
        ),
        (["smoke", "reward=null"], ["policy.1 (grpo) needs a reward"]),
        (["smoke", "beta"], ["'beta'", "key=value"]),
        (["smoke", "policy.0.start_from=grop"], ["policy.0.start_from", "unknown policy label 'grop'", "'grpo'"]),
        (["./absent.yaml"], ["no configuration file", "absent.yaml"]),
    ],
)
@pytest.mark.parametrize("command", ["check", "run"])
def test_bad_configuration_says_where_and_what_is_nearest(command, arguments, words, capsys):
    assert call(command, *arguments) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    for word in words:
        assert word in shown.err


@pytest.mark.parametrize("preset", preset_names())
def test_every_preset_passes_check_without_hub_data_or_models(preset, capsys, monkeypatch):
    monkeypatch.delenv("EVENHAND_DATA", raising=False)
    assert call("check", preset, "--json") == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["config"]["name"] == preset
    assert plan["config"]["description"]
    assert plan["stages"][0]["stage"] == next(stage for stage in STAGES if plan["config"][stage])
    assert not any(stage["in_store"] for stage in plan["stages"])
    assert all(stage["steps"] for stage in plan["stages"] if stage["stage"] == "policy")


def test_presets_are_about_ten_lines_and_one_for_each_arm():
    for file in (ROOT / "data_catalog" / "presets").glob("*.yaml"):
        lines = file.read_text(encoding="utf-8").splitlines()
        assert sum(not line.startswith("  - ") for line in lines) <= 18, file.name


def test_missing_data_stops_a_run_before_it_begins(home, capsys, monkeypatch):
    monkeypatch.delenv("EVENHAND_DATA", raising=False)
    assert call("run", "smoke", "data=stereoset_pairs") == 2
    assert "EVENHAND_DATA" in capsys.readouterr().err
    assert not home.exists()


def test_seeds_fan_out_in_the_plan(capsys):
    assert call("check", "smoke", "seeds=3,4", "--json") == 0
    ids = [stage["id"] for stage in json.loads(capsys.readouterr().out)["stages"]]
    assert {"policy:dpo:seed3", "policy:dpo:seed4", "evaluate:sandbox_bias:dpo:seed4"} <= set(ids)
    assert ids.count("base") == 1


def test_plugins_as_json(capsys):
    assert call("plugins", "--json") == 0
    rows = json.loads(capsys.readouterr().out)
    assert {"stage", "name", "origin", "version", "schema"} == set(rows[0])
    dpo = next(row for row in rows if row["name"] == "dpo")
    assert dpo["stage"] == "policy"
    assert dpo["origin"] == "evenhand:plugins.policy.dpo"
    assert dpo["schema"]["properties"]["beta"]["description"]


def test_a_broken_plugin_is_told_and_fatal_when_strict(evenhand, tmp_path):
    (tmp_path / "crooked.py").write_text("import no_such_library\n")
    facts = tmp_path / "crooked-1.2.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: crooked\nVersion: 1.2\n")
    (facts / "entry_points.txt").write_text("[evenhand.plugins]\ncrooked = crooked\n")
    path = f"{ROOT}:{tmp_path}"
    lenient, strict = evenhand("plugins", PYTHONPATH=path), evenhand("plugins", "--strict", PYTHONPATH=path)
    assert (lenient.returncode, strict.returncode) == (0, 2)
    assert "crooked (crooked 1.2): ModuleNotFoundError" in lenient.stderr
    assert "dpo" in lenient.stdout


def test_store_on_an_impossible_place_is_one_sentence(evenhand, tmp_path):
    (tmp_path / "file").write_text("")
    done = evenhand("run", "smoke", EVENHAND_HOME=str(tmp_path / "file" / "home"))
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert str(tmp_path / "file") in done.stderr


def test_a_server_nobody_answers_at_is_named(evenhand):
    done = evenhand("run", "smoke", PREFECT_API_URL="http://127.0.0.1:9/api")
    assert done.returncode == 2
    assert "no Prefect server answers at http://127.0.0.1:9/api" in done.stderr


def test_doctor_reports_all_topics(evenhand):
    done = evenhand("doctor", "--json", HF_HUB_OFFLINE="1", MLFLOW_TRACKING_URI="http://127.0.0.1:9")
    assert done.returncode == 0
    found = json.loads(done.stdout)
    assert found["telemetry"]["DO_NOT_TRACK"] == "true"
    assert found["telemetry"]["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"
    assert found["versions"]["prefect"].startswith("3.")
    assert "HF_HUB_OFFLINE" in found["hub"]["access"]
    assert "DOES NOT ANSWER" in found["databases"]["tracking"]


@pytest.mark.parametrize(
    ("arguments", "catalog", "words"),
    [
        (["data", "ls"], "a" * 300, "EVENHAND_CATALOG: 'aaa"),
        (["data", "ls"], "~nobody-here/x.yaml", "EVENHAND_CATALOG: '~nobody-here/x.yaml' begins with a home folder"),
        (["data", "ls"], "b/" * 3000, "EVENHAND_CATALOG lists 'b/b"),
        (["check", "smoke"], "a" * 300, "EVENHAND_CATALOG: 'aaa"),
        (["plugins", "new", "n" * 300, "--stage", "policy"], "", "cannot be the name of a file"),
        (["plugins", "new", "nn", "--stage", "policy", "--into", "n" * 300], "", "cannot be the name of a file"),
        (["plugins", "new", "nn", "--stage", "policy", "--into", "n/" * 3000], "", "File name too long: n/n"),
        (["data", "validate", "sandbox_pairs", "--model", "/nope"], "", "--model: there is no folder '/nope'"),
        (["check", "smoke", "base.name.x=1"], "", "override 'base.name.x=1': 'name' is a single value, it has no keys"),
    ],
)
def test_d18_a_path_or_key_that_cannot_be_is_one_bounded_sentence(arguments, catalog, words, monkeypatch, capsys):
    monkeypatch.setenv("EVENHAND_CATALOG", catalog)
    assert call(*arguments) == 2
    told = capsys.readouterr().err
    assert words in told and len(told) < 700 and "Traceback" not in told


def test_d18_a_catalog_below_the_home_folder_is_read(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    entry = "pairs: {kind: jsonl, path: pairs.jsonl, rows: preference, licence: own, citation: own}"
    (tmp_path / "x.yaml").write_text(entry)
    monkeypatch.setenv("EVENHAND_CATALOG", "~/x.yaml")
    assert call("data", "ls") == 0
    assert "pairs" in capsys.readouterr().out
