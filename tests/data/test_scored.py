"""Scored rows: halves, wholes and continuations of scored texts, and which scores are better."""

import json

import pytest

from pipeline_core.data.refs import DataRef
from pipeline_core.errors import BadInput
from pipeline_core.evaluation.units import units_of
from pipeline_core.rewards.scored_text import TextSource, hold_out, joined

ENTRY = "mine: {kind: jsonl, path: rows.jsonl, rows: scored, licence: none, citation: none%s}\n"
SENTENCE = {"prompt": {"text": "The tram", "toxicity": 0.25}, "continuation": {"text": " is late.", "toxicity": 0.75}}


def scored(catalog, root, rows, more=""):
    (root / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return catalog(ENTRY % more).load(DataRef(entry="mine"))


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ("scored_continuations", [("rows/1", "The tram", " is late.", 0.75)]),
        ("scored_wholes", [("rows/1", "", "The tram is late.", 0.75)]),
        ("scored_halves", [("rows/1/prompt", "", "The tram", 0.25), ("rows/1/continuation", "", "is late.", 0.75)]),
    ],
)
def test_a_cut_text_is_read_in_three_ways(catalog, root, shape, expected):
    rows = scored(catalog, root, [SENTENCE], f", shape: {shape}")
    assert [(row["id"], row["prompt"], row["completion"], row["score"]) for row in rows] == expected


def test_halves_of_one_sentence_are_one_unit(catalog, root):
    sentences = [SENTENCE] * 60
    rows = scored(catalog, root, sentences, ", shape: scored_halves, keep: [template_id]")
    assert rows["template_id"][:4] == ["rows/1", "rows/1", "rows/2", "rows/2"]
    assert units_of(rows.to_list()).names[:3] == ["rows/1", "rows/1", "rows/2"]
    learned, held = hold_out(joined([TextSource(rows)]), 0.5, seed=0)
    assert len(learned) == len(held) == 60
    assert not set(learned.units) & set(held.units)


def test_halves_without_a_score_are_named_or_counted(catalog, root):
    unscored = SENTENCE | {"continuation": {"text": " stops.", "toxicity": None}}
    for shape, left in (("scored_continuations", 1), ("scored_wholes", 1), ("scored_halves", 3)):
        with pytest.raises(BadInput, match=r"rows.jsonl, line 2: column 'score' has no value"):
            scored(catalog, root, [SENTENCE, unscored], f", shape: {shape}")
        assert len(scored(catalog, root, [SENTENCE, unscored], f", shape: {shape}, skip: [missing]")) == left


def test_a_score_that_is_no_number_is_named(catalog, root):
    nan = {"prompt": SENTENCE["prompt"], "continuation": {"text": " stops.", "toxicity": float("nan")}}
    with pytest.raises(BadInput, match=r"line 1: column 'score' is not a finite number"):
        scored(catalog, root, [nan], ", shape: scored_halves")


@pytest.mark.parametrize("shape", ["scored_continuations", "scored_halves"])
def test_rows_of_another_form_are_refused(catalog, root, shape):
    with pytest.raises(BadInput, match="missing column 'continuation'"):
        scored(catalog, root, [{"prompt": {"text": "x", "toxicity": 0.5}}], f", shape: {shape}")


def test_an_entry_says_which_scores_are_better(catalog):
    assert catalog(ENTRY % "").entry("mine").score_better == "higher"
    assert catalog(ENTRY % ", score_better: lower").entry("mine").score_better == "lower"
    with pytest.raises(BadInput, match="score_better, score_range: preference rows have no scores"):
        catalog(ENTRY.replace("scored", "preference") % ", score_better: lower")
