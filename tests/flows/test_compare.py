"""`evenhand compare` over a run whose evaluations were made up."""

import json

import pytest

from flows.records import RunRecord, StageRecord
from pipeline_core.conformance.kit import commit_folder
from pipeline_core.evaluation.measures import write_evaluation
from pipeline_core.plugin.figures import Measure, Score
from pipeline_core.store.artifacts import Store
from pipeline_core.store.places import Places
from tests.flows.test_cli import call

SHARES = {("base", 0): 2, ("dpo", 0): 5, ("dpo", 1): 6, ("gr_dpo", 0): 8, ("gr_dpo", 1): 10}
"""Right answers out of ten by label and seed."""


def evaluation(store, label, seed, right):
    key = f"{label}{seed}"
    work = store.partial(key)
    work.mkdir(parents=True)
    scores = [Score(f"i{index}", "right", float(index < right)) for index in range(10)]
    metrics = write_evaluation(work, scores, [Measure("w/right", "right", "share", "higher", "%")])
    ref = commit_folder(store, "evaluation", key, work)
    facts = {"key": ref.key, "digest": ref.digest, "reused": False, "seconds": 1, "metrics": metrics}
    return StageRecord(stage="evaluate", plugin="w", label=label, seed=seed, **facts)


@pytest.fixture
def run(home):
    """A completed run and, newer, one that goes on and has evaluated nothing so far."""
    places = Places.from_environment()
    store = Store(places.store)
    store.prepare()
    stages = [evaluation(store, label, seed, right) for (label, seed), right in SHARES.items()]
    facts = {"stages": stages, "status": "completed", "started": 1.0}
    RunRecord.begin("run1", "study", {}).model_copy(update=facts).write(places.runs)
    RunRecord.begin("run2", "other", {}).write(places.runs)
    return store


def test_two_policies_as_json(run, capsys):
    assert call("compare", "run1", "gr_dpo", "dpo", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found) == ["run_id", "name", "status", "a", "b", "seeds", "rows", "notes"]
    assert found["seeds"] == {"a": [0, 1], "b": [0, 1], "both": [0, 1]}
    (row,) = found["rows"]
    assert (row["measure"], row["a"]["value"], row["b"]["value"]) == ("w/right", pytest.approx(90), pytest.approx(55))
    items, seeds = row["over_items"], row["over_seeds"]
    assert set(items) == {"difference", "low", "high", "p", "p_holm", "test", "effect", "verdict"}
    assert set(seeds) == {"difference", "low", "high", "se", "seeds", "below_zero"}
    assert items["difference"] == pytest.approx(35)
    assert (seeds["difference"], seeds["se"]) == pytest.approx((35, 5))


def test_the_table_and_the_newest_completed_run(run, capsys):
    assert call("compare", "last", "dpo", "base") == 0
    shown = capsys.readouterr().out
    for words in ("study run1", "A: dpo", "B: base", "+35.0", "Nothing is paired over training seeds"):
        assert words in shown
    assert call("show", "last", "--json") == 0
    assert json.loads(capsys.readouterr().out)["run_id"] == "run1"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nope", "dpo", "base"], ["no run", "'nope'"]),
        (["run", "dpo", "base"], ["2 runs", "'run'"]),
        (["run1", "gr_dop", "base"], ["unknown model 'gr_dop'", "Did you mean 'gr_dpo'"]),
        (["run1", "dpo", "dpo"], ["'dpo' cannot be compared with itself"]),
        (["run2", "dpo", "base"], ["run2", "evaluated nothing"]),
    ],
)
def test_what_cannot_be_compared_is_one_sentence(arguments, words, run, capsys):
    assert call("compare", *arguments) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert len(shown.err.splitlines()) == 1
    for word in words:
        assert word in shown.err


def test_an_evaluation_that_was_removed_is_named(run, capsys):
    run.discard(run.folder("evaluation", "dpo1"))
    assert call("compare", "run1", "gr_dpo", "base") == 0
    capsys.readouterr()
    assert call("compare", "run1", "gr_dpo", "dpo") == 2
    shown = capsys.readouterr().err
    assert "dpo, seed 1" in shown
    assert "no longer in the store" in shown
