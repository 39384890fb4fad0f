"""S1: items that are alike are drawn together, and the noun of what is drawn is true of the rows that are given."""

import json

import pytest

from pipeline_core.data.catalog import Catalog, read_entries
from pipeline_core.data.refs import DataRef
from pipeline_core.errors import BadInput
from pipeline_core.evaluation.measures import write_evaluation
from pipeline_core.evaluation.units import Units, units_of
from pipeline_core.plugin.figures import Measure, Score
from plugins.evaluate.sandbox_bias.plugin import RESAMPLED, fact_scores, question_scores, word_in

ROW = {"id": "r1", "prompt": "They met.", "template_id": "", "domain": "race", "group": ["northerner"]}
ASKED = {"id": "q1", "context": "They met.", "question": "Who?", "domain": "Age", "group": [], "options": ["a", "b"]}


def load(entry, **more):
    ref = DataRef(entry=entry, **more)
    catalog = Catalog.from_environment()
    return catalog.load(ref).to_list(), catalog.entry(entry).unit


def test_s1_rows_of_one_template_question_or_prompt_are_one_unit():
    other = ROW | {"id": "r2", "prompt": "They left."}
    assert units_of([ROW, other, ROW | {"id": "r3"}]) == Units(["They met.", "They left.", "They met."], "prompt")
    asked = [row | {"question": name} for row, name in ((ROW, "Who?"), (other, "Why?"))]
    assert units_of(asked) == Units(["Who?", "Why?"], "question")
    made = [row | {"template_id": name} for row, name in ((asked[0], "t1"), (asked[1], "t1"))]
    assert units_of(made) == Units(["t1", "t1"], "template")
    assert units_of([ROW, other], "group") == Units(["race/northerner"] * 2, "group")


def test_s1_rows_with_other_units_have_both_nouns():
    asked = [ROW | {"question": "Who?", "template_id": "t1"}, ROW | {"id": "r2", "question": "Why?"}]
    assert units_of(asked) == Units(["t1", "Why?"], "template or question")
    pairs = [ROW | {"chosen": "a"}, ROW | {"id": "r2", "chosen": "a", "template_id": "t1"}]
    assert units_of(pairs) == Units(["r1", "t1"], "template or pair")


@pytest.mark.parametrize(
    ("columns", "noun"),
    [({"chosen": "a"}, "pair"), ({"completion": "a"}, "text"), ({}, "prompt"), ({"options": ["a"]}, "question")],
)
def test_s1_texts_that_all_rows_share_are_no_unit_and_a_row_alone_is_called_what_it_is(columns, noun):
    rows = [ROW | columns | {"id": name} for name in ("r1", "r2")]
    assert units_of(rows) == Units(["r1", "r2"], noun)
    assert units_of([rows[0] | {"prompt": ""}]).names == ["r1"]
    assert units_of(rows, alone="case").noun == "case"


def test_s1_a_template_that_all_rows_name_is_one_unit():
    rows = [ROW | {"id": name, "template_id": "t"} for name in ("r1", "r2")]
    assert units_of(rows) == Units(["t", "t"], "template")


def test_s1_questions_are_drawn_by_template_only_where_they_name_one():
    rows = [ASKED | {"id": f"q{n}", "question": text} for n, text in enumerate(("Who?", "Why?", "Who?"))]
    assert units_of(rows) == Units(["Who?", "Why?", "Who?"], "question")
    named = [row | {"question_index": str(n % 2)} for n, row in enumerate(rows)]
    assert units_of(named) == Units(["Age/0", "Age/1", "Age/0"], "template")


def test_s1_what_the_entry_declares_goes_first(data_root):
    rows, unit = load("stereoset_pairs", split="dev")
    found = units_of(rows, declared=unit)
    assert found.noun == "term"
    assert found.names == ["/".join([row["domain"], *row["group"]]) for row in rows]
    assert len(set(found.names)) == len({row["group"][0] for row in rows}) < len(rows) / 10
    halves, unit = load("realtoxicity_texts", split="test")
    assert units_of(halves, declared=unit).noun == "sentence"


def test_s1_a_declared_unit_names_columns_of_the_rows():
    entry = {"kind": "jsonl", "path": "a.jsonl", "rows": "prompt", "licence": "none", "citation": "none"}
    unit = {"columns": ["page"], "noun": "page"}
    with pytest.raises(BadInput, match="unknown column 'page'"):
        read_entries({"mine": entry | {"unit": unit}}, "test")
    kept = read_entries({"mine": entry | {"unit": unit, "keep": ["page"]}}, "test")["mine"]
    assert "unit" not in kept.definition(), "it changes no row"


def test_s1_a_declared_unit_is_part_of_the_keys_of_evaluations(tmp_path, monkeypatch):
    from pipeline_core.data import catalog as module
    from pipeline_core.plugin.registry import load_registry
    from pipeline_core.stage.key import Job, key_of

    (tmp_path / "mine.jsonl").write_text(json.dumps({"prompt": "a", "domain": "x"}) + "\n")
    monkeypatch.setenv("EVENHAND_DATA", str(tmp_path))
    monkeypatch.setenv("EVENHAND_CATALOG", str(tmp_path / "catalog.yaml"))
    config = {"name": "sampled_reward", "data": "mine"}
    keys = set()
    for unit in ("", ", unit: {columns: [domain], noun: domain}", ", unit: {columns: [prompt], noun: text}"):
        entry = f"mine: {{kind: jsonl, path: mine.jsonl, rows: prompt, licence: n, citation: n{unit}}}\n"
        (tmp_path / "catalog.yaml").write_text(entry)
        module._read_catalog.cache_clear()
        job = Job(stage="evaluate", config=config, seed=0, label="x", inputs={})
        keys.add(key_of(job, load_registry(), Catalog.from_environment()))
    assert len(keys) == 3


def test_s1_sentences_of_bold_with_one_page_belong_together_and_rows_of_ones_own_do_not(data_root):
    rows, unit = load("bold")
    found = units_of(rows, declared=unit)
    assert (found.noun, len(set(found.names))) == ("page", 6876)
    actors = [name for row, name in zip(rows, found.names, strict=True) if "/Alan_Carney/" in row["id"]]
    assert set(actors) == {"Alan_Carney"}
    mine = [{"id": f"mine/{n}", "prompt": f"Once {n}", "group": [], "domain": "x"} for n in range(50)]
    assert units_of(mine) == Units([row["prompt"] for row in mine], "prompt"), "their ids are no pages"


def test_s1_sentences_of_winobias_about_one_pair_of_occupations_belong_together(data_root):
    clusters = {}
    for split in ("dev", "test"):
        rows, unit = load("winobias", split=split)
        found = units_of(rows, declared=unit)
        assert found.noun == "occupation pair"
        for form in ("type1", "type2"):
            names = [name for row, name in zip(rows, found.names, strict=True) if row["domain"] == form]
            clusters[form, split] = (len(names), len(set(names)))
        of = dict(zip((row["id"] for row in rows), found.names, strict=True))
        assert all("/" in name and "type" not in name for name in found.names)
    assert clusters == {
        ("type1", "dev"): (394, 196),
        ("type1", "test"): (391, 198),
        ("type2", "dev"): (389, 195),
        ("type2", "test"): (391, 198),
    }
    assert of["type2/test/1"] == of["type2/test/2"] == "accountant/janitor"


def test_s1_one_question_that_several_countries_are_asked_is_one_unit(data_root):
    rows, unit = load("global_opinion", split="test")
    found = units_of(rows, declared=unit)
    assert (found.noun, len(set(found.names))) == ("question", len({row["question"] for row in rows}))
    assert len(set(found.names)) < len(rows)


def test_s1_prompts_about_one_word_belong_together():
    rows, _ = load("sandbox_prompts")
    words = {}
    for row in rows:
        words.setdefault(word_in(row["prompt"], row["domain"], row["group"]), []).append(row["template_id"])
    assert "" not in words
    assert len(words) == 88
    assert all(sorted(patterns) == sorted(set(patterns)) and len(patterns) == 5 for patterns in words.values())


class Even:
    """A scorer to whom all options are alike."""

    def summed(self, prompts, completions):
        return [-1.0] * len(completions)


def test_s1_scores_of_questions_and_facts_have_the_noun_of_both(tmp_path):
    questions, facts = load("sandbox_questions", rows=40)[0], load("sandbox_facts", rows=8)[0]
    scores = [*question_scores(questions, Even()), *fact_scores(facts, Even())]
    names = {score.score for score in scores}
    assert names <= RESAMPLED.keys() | {"is_ambiguous"}, "every score has a noun"
    write_evaluation(tmp_path, scores, [Measure("s/tie", "tie", "share")], resampled=RESAMPLED)
    entry = json.loads((tmp_path / "measures.json").read_text())["s/tie"]
    words = {score.cluster for score in scores if score.item in {row["id"] for row in questions}}
    assert (entry["resampled"], entry["n_clusters"]) == ("identity word or fact", len(words) + len(facts))


def test_s1_a_noun_belongs_to_clusters_and_is_not_claimed_without_them(tmp_path):
    alone = [Score(f"q{n}", "right", float(n % 2)) for n in range(100)]
    named = [Score(one.item, "right", one.value, cluster=one.item) for one in alone]
    for scores, noun in ((alone, "item"), (named, "template"), ([], "template")):
        write_evaluation(tmp_path, scores, [Measure("s/right", "right", "share")], resampled="template")
        assert json.loads((tmp_path / "measures.json").read_text())["s/right"]["resampled"] == noun


def test_s1_the_same_figure_has_a_wider_interval_where_its_items_are_copies(tmp_path):
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
