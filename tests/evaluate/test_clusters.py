"""S1: items that are alike are drawn together."""

import json

import pytest

from pipeline_core.catalog import Catalog, DataRef
from pipeline_core.clusters import noun_of, units_of
from pipeline_core.evaluation import write_evaluation
from plugins.evaluate.bold import page_of
from plugins.evaluate.sandbox_bias import word_in

ROW = {"id": "r1", "prompt": "They met.", "template_id": "", "domain": "race", "group": ["northerner"]}


def test_s1_rows_of_one_template_question_or_prompt_are_one_unit():
    other = ROW | {"id": "r2", "prompt": "They left."}
    assert units_of([ROW, other, ROW | {"id": "r3"}]) == ["They met.", "They left.", "They met."]
    asked = [row | {"question": name} for row, name in ((ROW, "Who?"), (other, "Why?"))]
    assert (units_of(asked), noun_of(asked)) == (["Who?", "Why?"], "question")
    made = [row | {"template_id": name} for row, name in ((asked[0], "t1"), (asked[1], "t1"), (asked[0], ""))]
    assert (units_of(made), noun_of(made)) == (["t1", "t1", "Who?"], "template")
    assert (units_of([ROW, other], "group"), noun_of([ROW, other], "group")) == (["race/northerner"] * 2, "group")


def test_s1_what_all_rows_have_in_common_is_no_unit():
    rows = [ROW | {"id": name} for name in ("r1", "r2")]
    assert (units_of(rows), noun_of(rows)) == (["r1", "r2"], "text")
    assert units_of([ROW | {"prompt": ""}]) == ["r1"]


def test_s1_beginnings_of_one_page_and_prompts_about_one_word_belong_together():
    assert page_of("gender/American_actors/Alan_Carney/2") == "gender/American_actors/Alan_Carney"
    rows = Catalog.from_environment().load(DataRef(entry="sandbox_prompts")).to_list()
    words = {}
    for row in rows:
        words.setdefault(word_in(row["prompt"], row["domain"], row["group"]), []).append(row["template_id"])
    assert "" not in words
    assert len(words) == 88
    assert all(sorted(patterns) == sorted(set(patterns)) and len(patterns) == 5 for patterns in words.values())


def test_s1_the_same_figure_has_a_wider_interval_where_its_items_are_copies(tmp_path):
    from pipeline_core.evaluation import Measure, Score

    measure = [Measure("m/share", "right", "share")]
    values = [float(number % 3 == 0) for number in range(40)]
    alone = [Score(f"{number}/{copy}", "right", value) for number, value in enumerate(values) for copy in range(10)]
    together = [Score(one.item, "right", one.value, cluster=one.item.split("/")[0]) for one in alone]
    widths, counts = [], []
    for name, scores in (("alone", alone), ("together", together)):
        (tmp_path / name).mkdir()
        write_evaluation(tmp_path / name, scores, measure, resampled="template")
        entry = json.loads((tmp_path / name / "measures.json").read_text())["m/share"]
        widths.append(entry["high"] - entry["low"])
        counts.append((entry["n"], entry["n_clusters"]))
    assert counts == [(400, 400), (400, 40)]
    assert widths[1] / widths[0] == pytest.approx(10**0.5, rel=0.15)
