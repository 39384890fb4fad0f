"""`evenhand data quality`: entries, artifacts, and what it refuses."""

import json

import pytest

from pipeline_core.conformance.kit import commit_folder, store_rows
from pipeline_core.store.artifacts import Store
from pipeline_core.store.places import Places
from tests.flows.test_cli import call


def test_an_entry_is_measured_against_others(capsys):
    arguments = ("sandbox_pairs", "--rows", "60", "--human", "sandbox_pairs/heldout", "--against", "sandbox_prompts")
    assert call("data", "quality", *arguments, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["overall"]["rows"], found["human"]) == (60, "sandbox_pairs/heldout")
    assert sum(scope["rows"] for scope in found["domains"].values()) == 60
    assert found["contamination"][0]["entry"] == "sandbox_prompts"
    assert found["overall"]["diversity"]["relative"]["mean"] > 0


def test_an_artifact_is_found_by_the_beginning_of_its_key(home, capsys):
    store = Store(Places.from_environment().store)
    store.prepare()
    store_rows(store, "beef01", "train")
    assert call("data", "quality", "bee") == 0
    shown = capsys.readouterr()
    assert shown.out.startswith("all rows\t24\t24\t")
    assert "near-duplicates" in shown.err
    assert call("data", "quality", "bee", "--rows", "3") == 2
    work = store.partial("cafe01")
    work.mkdir(parents=True)
    (work / "x.txt").write_text("x")
    commit_folder(store, "model", "cafe01", work)
    capsys.readouterr()
    assert call("data", "quality", "cafe") == 2
    assert "of kind model, and preferences are needed" in capsys.readouterr().err


def test_a_gate_ends_with_its_exit_code_after_the_report(capsys):
    measured = ("data", "quality", "sandbox_pairs", "--rows", "40")
    assert call(*measured, "--gate", "max_near_duplicates=1", "--gate", "min_vendi=1") == 0
    capsys.readouterr()
    assert call(*measured, "--gate", "min_rows_per_domain=1000") == 3
    shown = capsys.readouterr()
    assert "all rows\t40\t40\t" in shown.out
    assert "below the limit 1000" in shown.err


def test_several_sets_stand_side_by_side(home, capsys):
    store = Store(Places.from_environment().store)
    store.prepare()
    store_rows(store, "beef01", "train")
    assert call("data", "quality", "sandbox_pairs", "beef", "--json") == 0
    one, two = json.loads(capsys.readouterr().out)
    assert (one["name"], two["overall"]["rows"]) == ("sandbox_pairs", 24)
    assert call("data", "quality", "sandbox_pairs", "beef") == 0
    first, second, *_ = capsys.readouterr().out.splitlines()
    assert first.startswith(f"sandbox_pairs\t{one['overall']['rows']}\t")
    assert second.startswith(f"{two['name']}\t24\t24\t")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["sandbox_facts"], "sandbox_facts holds choice rows, and preference rows are needed"),
        (["sandbox_pears"], "Did you mean 'sandbox_pairs'"),
        (["abcdef"], "0 artifacts"),
        (["sandbox_pairs", "--against", "nothing"], "unknown catalog entry 'nothing'"),
        (["sandbox_pairs", "--human", "sandbox_facts"], "sandbox_facts holds choice rows"),
        (["sandbox_pairs", "--embedding", "no such thing"], "is no hub id"),
        (["sandbox_pairs", "--gate", "max_contaminated=0"], "name some with --against"),
        (["sandbox_pairs", "--gate", "min_vendi=1", "--gate", "min_vendi=0"], "--gate min_vendi is given twice"),
        (["sandbox_pairs", "--gate", "min_vendi"], "give a limit as name=value"),
        (["sandbox_pairs", "--gate", "min_vendy=3"], "--gate min_vendy: Extra inputs"),
        (
            ["sandbox_pairs", "--gate", "min_vendi_relative=0.5"],
            "--gate: gate.min_vendi_relative compares",
        ),
    ],
)
def test_bad_input_is_named(arguments, words, capsys):
    assert call("data", "quality", *arguments) == 2
    assert words in capsys.readouterr().err
