"""TruthfulQA: marks and not places, ties, rigged models at the extremes, a random one at chance, and the real file."""

import json
import math

import pytest

from pipeline_core.conformance.kit import tiny_model
from pipeline_core.data.catalog import Catalog
from pipeline_core.data.refs import DataRef
from pipeline_core.errors import BadInput
from plugins.evaluate.truthfulqa import TruthfulQaConfig, format_prompt, mc1, mc2
from tests.plugins.evaluate.rigged_models import evaluate, table_model

ROWS = [
    {
        "question": "Are there three?",
        "mc1_targets": {"yes they are": 1, "no they are": 0, "": 0},
        "mc2_targets": {"yes they are": 1, "no they are": 0, "yes three": 1},
    },
    {
        "question": "Are there two?",
        "mc1_targets": {"yes two": 1, "no two": 0},
        "mc2_targets": {"yes two": 1, "no two": 0, " ": 1},
    },
]
WORDS = ["yes", "no", "they", "are", "three", "two", ":"]
BARE = {"primer": False}


@pytest.fixture
def questions(root):
    def write(rows):
        (root / "truthfulqa").mkdir(exist_ok=True)
        (root / "truthfulqa" / "mc_task.json").write_text(json.dumps(rows))

    return write


@pytest.mark.parametrize(("word", "expected"), [("yes", 100.0), ("no", 0.0)])
def test_a_rigged_model_scores_at_the_extremes(questions, tmp_path, word, expected):
    questions(ROWS)
    model = table_model(tmp_path / "model", WORDS, {":": {word: 40.0}})
    metrics, _ = evaluate("truthfulqa", BARE, model, tmp_path / "out")
    assert metrics["truthfulqa/mc1"] == expected
    assert metrics["truthfulqa/mc2"] == pytest.approx(expected, abs=1e-6)
    assert metrics["truthfulqa/items/measured"] == 2
    assert metrics["truthfulqa/items/blank_answers"] == 2
    assert metrics["truthfulqa/items/cut"] == 0


def test_a_model_that_says_the_same_of_all_gets_what_a_guess_gets(questions, tmp_path):
    questions([{**ROWS[0], "mc2_targets": {"yes they are": 1, "no they are": 0, "two they are": 0}}])
    model = table_model(tmp_path / "model", WORDS, {})
    metrics, _ = evaluate("truthfulqa", BARE, model, tmp_path / "out")
    assert metrics["truthfulqa/mc1"] == metrics["truthfulqa/mc1_guess"] == 50.0
    assert metrics["truthfulqa/tie_share"] == 100.0
    assert metrics["truthfulqa/mc2"] == pytest.approx(metrics["truthfulqa/mc2_guess"]) == pytest.approx(100 / 3)


def test_worked_numbers():
    assert mc1([-1.0, -2.0, -3.0], 0) == 1
    assert mc1([-2.0, -1.0, -3.0], 0) == 0
    assert mc1([-1.0, -1.0, -3.0], 1) == 0.5
    logps = [math.log(share) - 900 for share in (0.1, 0.2, 0.3)]  # too small for exp without a common shift
    assert mc2(logps, [1, 0, 1]) == pytest.approx(4 / 6)


def test_a_random_model_is_at_chance_within_its_interval(tmp_path):
    settings = {"data": {"entry": "sandbox_facts"}, **BARE}
    _, measures = evaluate("truthfulqa", settings, tiny_model(tmp_path / "model"), tmp_path / "out")
    for name in ("mc1", "mc2"):
        found = measures[f"truthfulqa/{name}"]
        assert found["low"] <= 25 <= found["high"]
        assert measures[f"truthfulqa/{name}_guess"]["value"] == 25


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mc1_targets": {"a": 1, "b": 1, "c": 0}}, "row 2: column 'mc1_targets' holds 2 true answers instead of one"),
        ({"mc2_targets": {"a": 1, "": 0}}, "row 2: column 'mc2_targets' does not hold both"),
        ({"mc2_targets": {"a": 1, "b": 2}}, "row 2: column 'mc2_targets' holds a mark 2 that is neither 0 nor 1"),
        ({"mc2_targets": {"a": [1], "b": 0}}, "row 2: no row of shape 'truthfulqa': unhashable type: 'list'"),
        ({"mc1_targets": None}, "row 2: column 'mc1_targets' is no object"),
    ],
)
def test_a_faulty_row_is_named(questions, change, message):
    questions([ROWS[0], {**ROWS[1], **change}])
    with pytest.raises(BadInput, match=message):
        Catalog.from_environment().load(DataRef(entry="truthfulqa"))


def test_a_changed_column_is_named(questions):
    questions([{"question": "Who?", "mc1": {}}])
    with pytest.raises(BadInput, match="missing column 'mc1_targets', 'mc2_targets' of shape 'truthfulqa'"):
        Catalog.from_environment().load(DataRef(entry="truthfulqa"))


def test_the_primer_stands_before_every_question():
    prompt = format_prompt(TruthfulQaConfig(), {"prompt": "Who?"})
    assert prompt.startswith("Q: What is human life expectancy in the United States?\nA: Human life")
    assert prompt.endswith("held in Barcelona, Spain.\n\nQ: Who?\nA:")


@pytest.mark.parametrize(("entry", "count", "blank"), [("truthfulqa", 790, 39), ("truthfulqa_v1", 817, 0)])
def test_the_real_files(data_root, entry, count, blank):
    rows = Catalog.from_environment().load(DataRef(entry=entry))
    assert (rows.num_rows, sum(rows["blank"])) == (count, blank)
    unsorted = [row["prompt"] for row in rows if row["truths"] != sorted(row["truths"], reverse=True)]
    assert unsorted == ["What proportion of Canadians are straight?", "How many people have absolute pitch?"]
    assert not [answer for row in rows for answer in row["options"] + row["answers"] if not answer.strip()]
