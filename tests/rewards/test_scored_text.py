"""From rows to texts with scores, and the split into learned and held out."""

import json

import numpy as np
import pytest
from datasets import Dataset

from pipeline_core.data.catalog import Catalog
from pipeline_core.errors import BadInput
from pipeline_core.rewards.scored_text import TextSource, hold_out, joined
from pipeline_core.rewards.sources import given_text
from plugins.reward.tfidf_ridge import TfidfRidgeConfig
from tests.rewards.worlds import Given, pairs, scored_text


def table(**columns):
    return Dataset.from_dict(columns)


def test_a_pair_is_two_texts_worth_one_and_zero():
    text = scored_text(table(prompt=["p", "q"], chosen=["a", "b"], rejected=["c", "d"]))
    assert text.completions == ["a", "b", "c", "d"]
    assert text.scores_N.tolist() == [1, 1, 0, 0]
    assert text.pairs_P2.tolist() == [[0, 2], [1, 3]]


def test_a_label_is_the_share_of_raters_who_chose_it():
    rows = table(prompt=["p", "q"], chosen=["a", "b"], rejected=["c", "d"], label=[0.75, 0.5])
    assert scored_text(rows, "label").scores_N.tolist() == [0.75, 0.5, 0.25, 0.5]


@pytest.mark.parametrize(
    ("better", "limits", "expected"),
    [("higher", (0, 1), [0.1, 1.0]), ("lower", (0, 1), [0.9, 0.0]), ("lower", (0, 5), [0.98, 0.8])],
)
def test_scores_are_moved_onto_their_range_and_turned_to_larger_is_better(better, limits, expected):
    text = scored_text(table(prompt=["", "q"], completion=["a", "b"], score=[0.1, 1.0]), better=better, limits=limits)
    assert text.scores_N.tolist() == pytest.approx(expected)
    assert text.pairs_P2.shape == (0, 2)


def test_several_sources_are_joined_and_held_out_by_what_they_share():
    rows = pairs(40)
    toxic = [
        {"prompt": row["prompt"], "completion": f"completion {i}", "score": i / 40} for i, row in enumerate(rows[:20])
    ]
    toxic += [{"prompt": "", "completion": f"alone {i}", "score": 0.5} for i in range(10)]
    sources = (
        TextSource(Dataset.from_list(rows), "mine"),
        TextSource(Dataset.from_list(toxic), "theirs", better="lower"),
    )
    text = joined(sources)
    assert len(text) == 80 + 30
    assert text.scores_N[80 + 4] == pytest.approx(0.9)
    assert text.completions[text.pairs_P2[3, 1]] == rows[3]["rejected"]
    assert len(set(text.units)) == 40 + 10  # a text without a prompt is a unit of its own
    train, held = hold_out(text, 0.25, seed=0)
    assert not set(train.units) & set(held.units)
    assert not set(train.prompts) - {""} & set(held.prompts)
    assert joined(sources[::-1]).units[30:] == text.units[:80]


def test_few_templates_of_one_source_do_not_hide_the_many_of_another():
    many = [{**row, "template_id": f"t{index % 60}"} for index, row in enumerate(pairs(120))]
    few = [{**row, "prompt": f"Another {index}", "template_id": "one"} for index, row in enumerate(pairs(12))]
    text = joined([TextSource(Dataset.from_list(many)), TextSource(Dataset.from_list(few))])
    assert len(set(text.units)) == 60 + 12


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"prompt": [], "completion": [], "score": []}, "theirs: a reward needs rows to learn from and there are none"),
        (
            {"prompt": ["p"], "completion": ["c"], "score": [3.0]},
            "theirs: column 'score', row 1: 3 lies outside 0 to 1",
        ),
        ({"prompt": ["p"], "completion": ["c"], "score": ["toxic"]}, "theirs: .* 'toxic' is no finite number"),
    ],
)
def test_the_source_at_fault_is_named(columns, words):
    with pytest.raises(BadInput, match=words):
        joined([TextSource(Dataset.from_list(pairs(4)), "mine"), TextSource(table(**columns), "theirs")])


def test_the_rows_a_configuration_names_come_with_what_their_scores_mean(tmp_path, monkeypatch):
    entry = {"kind": "jsonl", "path": "t.jsonl", "rows": "scored", "licence": "x", "citation": "x"}
    document = {"toxic": {**entry, "score_better": "lower", "score_range": [0, 10]}}
    (tmp_path / "t.jsonl").write_text('{"prompt": "p", "completion": "c", "score": 9}\n')
    (tmp_path / "catalog.yaml").write_text(json.dumps(document))
    monkeypatch.setenv("EVENHAND_CATALOG", str(tmp_path / "catalog.yaml"))
    monkeypatch.setenv("EVENHAND_DATA", str(tmp_path))
    given = Given(None, folders={}, catalog=Catalog.from_environment())
    config = TfidfRidgeConfig(data=["toxic", {"entry": "sandbox_pairs", "rows": 8}])
    text = given_text(given, config.data)
    assert text.scores_N[0] == pytest.approx(0.1)
    assert len(text) == 1 + 16
    given.data_ref = config.data[0]
    given.preferences = given.data(given.data_ref)
    with pytest.raises(BadInput, match=r"all 1 scores are 0\.1"):
        given_text(given, ())


def test_one_entry_may_stand_without_its_list():
    config = TfidfRidgeConfig(data="sandbox_pairs")
    assert config.data == TfidfRidgeConfig(data=[{"entry": "sandbox_pairs"}]).data
    assert TfidfRidgeConfig(data=None) == TfidfRidgeConfig()
    assert TfidfRidgeConfig.model_validate_json(config.model_dump_json()) == config


@pytest.mark.parametrize(
    ("columns", "target", "words"),
    [
        ({"prompt": ["p"], "text": ["a"]}, "pair", "the rows have prompt, text"),
        ({"prompt": [], "chosen": [], "rejected": []}, "pair", "there are none"),
        ({"prompt": ["p"] * 3, "completion": list("abc"), "score": [1.0] * 3}, "pair", "all 3 scores are 1"),
        (
            {"prompt": ["p"] * 2, "completion": list("ab"), "score": [1.0, float("nan")]},
            "pair",
            "column 'score', row 2: nan is no finite number",
        ),
        (
            {"prompt": ["p"] * 2, "completion": list("ab"), "score": ["good", "bad"]},
            "pair",
            "column 'score', row 1: 'good' is no finite number",
        ),
        (
            {"prompt": ["p"] * 2, "chosen": list("ab"), "rejected": list("cd"), "label": [1.0, None]},
            "label",
            "column 'label', row 2: None is no finite number",
        ),
        (
            {"prompt": ["p"] * 2, "chosen": list("ab"), "rejected": list("cd"), "label": [0.5, 3.0]},
            "label",
            "column 'label', row 2: 3 lies outside 0 to 1",
        ),
        ({"prompt": ["p"], "chosen": ["a"], "rejected": ["b"]}, "label", "no column 'label'; they have prompt, chosen"),
        (
            {"prompt": ["p", None], "chosen": list("ab"), "rejected": list("cd")},
            "pair",
            "'prompt', row 2: None is no text",
        ),
    ],
)
def test_bad_rows_are_named(columns, target, words):
    with pytest.raises(BadInput, match=words):
        scored_text(table(**columns), target)


def test_a_prompt_is_never_on_both_sides_and_pairs_stay_whole():
    rows = [{**row, "prompt": f"prompt {index % 20}"} for index, row in enumerate(pairs(60))]
    train, held = hold_out(scored_text(Dataset.from_list(rows)), 0.25, seed=0)
    assert not set(train.prompts) & set(held.prompts)
    assert len(set(held.prompts)) == 5
    assert len(train) + len(held) == 120
    assert len(held.pairs_P2) == 15
    for part in (train, held):
        assert all(part.prompts[better] == part.prompts[worse] for better, worse in part.pairs_P2)
        assert (part.scores_N[part.pairs_P2] == [1, 0]).all()


def test_many_templates_are_the_units_and_few_are_not():
    def units(templates):
        rows = [{**row, "template_id": f"t{index % templates}"} for index, row in enumerate(pairs(120))]
        return len(set(scored_text(Dataset.from_list(rows)).units))

    assert units(60) == 60
    assert units(6) == 120


def test_rows_made_from_one_another_stay_together():
    rows = pairs(40)
    for index, row in enumerate(rows):
        row |= {"id": f"r{index}", "source_id": None}
    twins = [
        {**row, "prompt": f"Another {row['prompt']}", "id": f"{row['id']}~{copy}", "source_id": row["id"]}
        for row in rows[:30]
        for copy in "ab"
    ]
    grandchild = {**twins[0], "prompt": "A third", "id": "r0~a~c", "source_id": "r0~a"}
    table = [{**row, "prompt": f"{row['prompt']} {row['id']}"} for row in [*rows, *twins, grandchild]]
    text = scored_text(Dataset.from_list(table))
    assert len(set(text.units)) == 40
    assert len({text.units[0], text.units[40], text.units[41], text.units[100]}) == 1
    train, held = hold_out(text, 0.25, seed=0)
    assert len(held) and not set(train.units) & set(held.units)
    assert set(scored_text(Dataset.from_list(table[::-1])).units) == set(text.units)


def test_ids_alone_bind_nothing():
    rows = [{**row, "id": "0", "source_id": None} for row in pairs(12)]
    assert len(set(scored_text(Dataset.from_list(rows)).units)) == 12


def test_the_split_depends_on_the_seed_and_not_on_the_order_of_rows():
    rows = pairs(40)

    def held(rows, seed):
        return set(hold_out(scored_text(Dataset.from_list(rows)), 0.2, seed)[1].prompts)

    assert held(rows, 0) == held(rows[::-1], 0)
    assert held(rows, 0) != held(rows, 1)


@pytest.mark.parametrize("share", [0.0, 0.999])
def test_the_ends_of_the_share(share):
    train, held = hold_out(scored_text(Dataset.from_list(pairs(10))), share, 0)
    assert len(train) > 0
    assert (len(held) == 0) == (share == 0)


def test_one_prompt_alone_is_all_learned_from():
    train, held = hold_out(scored_text(table(prompt=["p"], chosen=["a"], rejected=["b"])), 0.5, 0)
    assert (len(train), len(held)) == (2, 0)


def test_take_renumbers_the_pairs():
    text = scored_text(table(prompt=["p", "q"], chosen=["a", "b"], rejected=["c", "d"]))
    assert text.take(np.array([False, True, False, True])).pairs_P2.tolist() == [[0, 1]]
    assert text.take(np.array([False, True, True, False])).pairs_P2.tolist() == []
