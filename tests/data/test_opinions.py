"""Survey answers as pairs: prompt, letters, splits, what is left out, and the real file where it is at hand."""

import csv
import gzip
import json
import random
from collections import Counter

import pytest

from pipeline_core.data.catalog import Catalog
from pipeline_core.data.refs import DataRef
from pipeline_core.data.selection import SplitBy
from pipeline_core.errors import BadInput, UnknownName
from pipeline_core.quality.validating import validate_entry

ENTRY = """
mine:
  kind: json
  path: answers.json
  shape: opinions
  rows: preference
  pick: {country: {Aland: Aland, Borduria: Borduria (New sample)}}
  skip: [distribution]
  licence: none
  citation: none
"""
SPLIT = "  split_by: {column: question, seed: 42, shares: {train: 0.8, validation: 0.1, test: 0.1}}\n"


def answer(number=0, country="Aland", options=("Yes", "No", "Perhaps"), shares=(0.2, 0.5, 0.3)):
    return {
        "question": f"Is {number} lucky?",
        "country": country,
        "options": list(options),
        "distribution": list(shares),
    }


def write(root, rows):
    (root / "answers.json").write_text(json.dumps(rows))


def load(found, split=None):
    return found.load(DataRef(entry="mine", split=split)).to_list()


def test_a_pair_by_hand(catalog, root):
    options = ["Not at all", 2.0, " Quite ", 4]
    write(root, [answer(7, "Borduria (New sample)", options, [0.1, 0.25, 0.4, 0.25]), answer()])
    row, _ = load(catalog(ENTRY))
    assert row["prompt"] == (
        "Opinion of people in Borduria on: Is 7 lucky?\nPlease select the best response:\n"
        "A. Not at all\nB. 2\nC. Quite\nD. 4"
    )
    assert row["chosen"] == "C"
    assert row["rejected"] in {"A", "B", "D"}
    assert row["group"] == ["Borduria"]
    assert row["id"].endswith("/Borduria")


def test_the_other_option_is_any_other_and_the_first_of_equals_is_chosen(catalog, root):
    write(root, [answer(n, shares=(0.2, 0.4, 0.4)) for n in range(300)] + [answer(0, "Borduria (New sample)")])
    rows = [row for row in load(catalog(ENTRY)) if row["group"] == ["Aland"]]
    assert {row["chosen"] for row in rows} == {"B"}
    drawn = Counter(row["rejected"] for row in rows)
    assert drawn.keys() == {"A", "C"}
    assert 110 < drawn["A"] < 190  # 150 expected, standard deviation 8.7


def test_draws_are_pinned_and_differ_between_countries(catalog, root):
    write(root, [answer(n, land) for land in ("Aland", "Borduria (New sample)") for n in range(12)])
    rows = load(catalog(ENTRY))
    drawn = "".join(row["rejected"] for row in rows)
    assert (drawn[:12], drawn[12:]) == ("CACAACCAACCA", "CCCCACACCCAC")
    assert rows[0]["id"] == "51c4b5a00dc74b12/Aland"


def test_pairs_and_splits_do_not_depend_on_the_order_of_the_rows(catalog, root):
    rows = [answer(n, country) for n in range(50) for country in ("Aland", "Borduria (New sample)", "Cagliostro")]
    write(root, rows)
    found = [{row["id"]: row for row in load(catalog(ENTRY + SPLIT), split)} for split in ("train", "test")]
    random.Random(0).shuffle(rows)
    (root / "answers.json").write_text(json.dumps(rows))
    again = [{row["id"]: row for row in load(catalog(ENTRY + SPLIT), split)} for split in ("train", "test")]
    assert found == again
    assert list(map(len, found)) == [80, 10]


def test_all_answers_to_a_question_stand_in_one_split(catalog, root):
    rows = [answer(n, country) for n in range(30) for country in ("Aland", "Borduria (New sample)")]
    write(root, [*rows, answer(3) | {"question": "is 3  LUCKY? ", "options": ["Aye", "Nay", "Perhaps"]}])
    mine = catalog(ENTRY + SPLIT)
    assert mine.describe("mine")["splits"] == ["train", "validation", "test"]
    questions = {
        split: {" ".join(row["prompt"].lower().split("\n")[0].split(" on: ")[1].split()) for row in load(mine, split)}
        for split in ("train", "validation", "test")
    }
    assert {split: len(texts) for split, texts in questions.items()} == {"train": 24, "validation": 3, "test": 3}
    assert len(set.union(*questions.values())) == 30
    with pytest.raises(UnknownName, match=r"mine: unknown split 'tset'. Did you mean 'test'"):
        load(mine, "tset")


def test_a_draw_of_splits_is_pinned():
    drawn = SplitBy(column="q", seed=42, shares={"train": 0.8, "test": 0.2}).draw("abcdefghij")
    assert "".join(sorted(key for key, split in drawn.items() if split == "test")) == "bg"
    other = SplitBy(column="q", seed=43, shares={"train": 0.8, "test": 0.2}).draw("abcdefghij")
    assert Counter(other.values()) == Counter(drawn.values()) == {"train": 8, "test": 2}
    assert other != drawn


def test_rows_that_do_not_sum_to_one_are_counted_and_left_out(catalog, root):
    bad = [(0.0, 0.0, 0.0), (0.2, 0.5, 0.32), (float("nan"), 0.5, 0.5), (None, 0.5, 0.5), (-0.1, 0.6, 0.5)]
    rows = [answer(n, shares=shares) for n, shares in enumerate(bad)]
    rows += [answer(8, shares=(0.2, 0.5, 0.303)), answer(9, "Borduria (New sample)"), answer(9, "Elsewhere", shares=())]
    write(root, rows)
    report = validate_entry(catalog(ENTRY), "mine")
    assert (report["rows"], report["skipped"], report["ok"]) == (2, {"distribution": 5}, True)
    with pytest.raises(BadInput) as error:
        load(catalog(ENTRY.replace("[distribution]", "[]")))
    assert str(error.value).splitlines()[:2] == [
        f"mine: {root / 'answers.json'}, row 1: column 'distribution' sums to 0, not to 1 within 0.01",
        f"mine: {root / 'answers.json'}, row 2: column 'distribution' sums to 1.02, not to 1 within 0.01",
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"question": " "}, "column 'question' is empty or no text"),
        ({"question": None}, "column 'question' is empty or no text"),
        ({"options": "Yes"}, "column 'options' is no list of 2 to 26 options"),
        ({"options": ["Yes"], "distribution": [1.0]}, "column 'options' is no list of 2 to 26 options"),
        ({"options": [str(n) for n in range(27)]}, "column 'options' is no list of 2 to 26 options"),
        ({"options": ["Yes", "", "No"]}, "column 'options' holds an option that is neither text nor a number"),
        ({"options": ["Yes", "nan", "No"]}, "column 'options' holds an option that is neither text nor a number"),
        ({"options": ["Yes", float("nan"), 2]}, "column 'options' holds an option that is neither text nor a number"),
        ({"distribution": [0.5, 0.5]}, "column 'distribution' holds 2 shares for 3 options"),
        ({"distribution": "0.5"}, "column 'distribution' is no list of numbers"),
        ({"distribution": ["0.5", 0.5, 0]}, "column 'distribution' is no list of numbers"),
    ],
)
def test_a_malformed_row_is_named(catalog, root, change, message):
    write(root, [answer(), answer(1, "Borduria (New sample)"), answer(2) | change])
    with pytest.raises(BadInput) as error:
        load(catalog(ENTRY))
    assert str(error.value) == f"mine: {root / 'answers.json'}, row 3: {message}"


def test_twenty_six_options_have_letters(catalog, root):
    shares = [0.0] * 25 + [1.0]
    write(root, [answer(1, options=range(26), shares=shares), answer(2, "Borduria (New sample)")])
    assert load(catalog(ENTRY))[0]["chosen"] == "Z"


def test_a_country_that_no_row_has_is_an_error_with_the_nearest(catalog, root):
    write(root, [answer(), answer(1, "Borduria (Old sample)")])
    with pytest.raises(BadInput, match=r"mine: pick.country: no row has 'Borduria \(New sample\)'. Did you mean 'Bord"):
        load(catalog(ENTRY))
    listed = ENTRY.replace("{Aland: Aland, Borduria: Borduria (New sample)}", "[Aland, Borduria (Old sample)]")
    assert [row["group"] for row in load(catalog(listed))] == [["Aland"], ["Borduria (Old sample)"]]
    with pytest.raises(BadInput, match=r"missing column 'land' of `pick`; columns found: question, country"):
        load(catalog(ENTRY.replace("pick: {country", "pick: {land")))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (ENTRY + SPLIT.replace("0.8", "0.7"), "must be positive and sum to 1, not to 0.9"),
        (ENTRY + SPLIT + "  split_column: part\n", "give `split_column` or `split_by`, not both"),
        (ENTRY + SPLIT + "  default_split: dev\n", "default_split: 'dev' is none of train, validation, test"),
        (ENTRY.replace("Aland: Aland", "Aland: A, Bland: A"), "pick.country: one value of the data has two names"),
        (ENTRY.replace("path: answers.json", "path: {a: answers.json}") + SPLIT, "by `path` or `split_by`, not both"),
    ],
)
def test_a_contradictory_entry_is_refused(catalog, text, message):
    with pytest.raises(BadInput, match=f"mine.*{message}"):
        catalog(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[{}, ", "malformed JSON"),
        ("{}", "a JSON array of objects is needed, not dict"),
        ("[{}, 3]", "row 2: a JSON object is needed, not int"),
        ('["caf\\u00e9", "\xff"]', "row 1: a JSON object is needed, not str"),
    ],
)
def test_a_json_file_of_another_form_is_refused(catalog, root, text, message):
    (root / "answers.json").write_text(text)
    with pytest.raises(BadInput, match=rf"mine: .*answers\.json.*{message}"):
        load(catalog(ENTRY))


HUB = """
mine:
  kind: csv
  path: answers.csv
  shape: opinions
  rows: preference
  columns: {domain: source}
  constants: {source: survey}
  pick: {country: [Aland, Cote d'Azur]}
  skip: [distribution]
  licence: none
  citation: none
"""


def write_wide(root, rows):
    with gzip.open(root / "answers.csv.gz", "wt", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["question", "selections", "options", "source"])
        writer.writerows(rows)


def test_the_hubs_form_with_all_countries_in_a_row(catalog, root):
    answers = (
        "defaultdict(<class 'list'>, {'Aland': [0.2, 0.8], \"Cote d'Azur\": [nan, 1.0], 'Cagliostro': [1.0, 0.0]})"
    )
    options = "['It\\'s so, more\\nor less', 2.0]"
    write_wide(root, [["Is it, or\nnot?", answers, options, "GAS"], ["And now?", "{'Aland': [1, 0]}", options, "WVS"]])
    mine = catalog(HUB.replace("answers.csv", "answers.csv.gz"))
    first, second = load(mine)
    assert first["prompt"].endswith(
        "on: Is it, or\nnot?\nPlease select the best response:\nA. It's so, more\nor less\nB. 2"
    )
    assert [(row["chosen"], row["rejected"], row["domain"], row["source"]) for row in (first, second)] == [
        ("B", "A", "GAS", "survey"),
        ("A", "B", "WVS", "survey"),
    ]
    assert validate_entry(mine, "mine")["skipped"] == {"distribution": 1}


def test_text_of_the_hubs_form_is_parsed_and_never_run(catalog, root, tmp_path):
    evil = f"{{'Aland': [open({str(tmp_path / 'made')!r}, 'w'), 1]}}"
    write_wide(
        root, [["q", "{'Aland': [0, 1], \"Cote d'Azur\": [0, 1]}", "['a', 'b']", "GAS"], ["q", evil, "[]", "GAS"]]
    )
    with pytest.raises(BadInput, match=r"answers\.csv\.gz, row 2: column 'selections' is no text of a Python dict"):
        load(catalog(HUB.replace("answers.csv", "answers.csv.gz")))
    assert not (tmp_path / "made").exists()


def test_the_real_file_counts_by_country_and_split(data_root):
    if not (data_root / "globalopinionqa").is_dir():
        pytest.skip("EVENHAND_DATA holds no globalopinionqa")
    found = Catalog.from_environment()
    report = validate_entry(found, "global_opinion")
    assert report["splits"] == {"test": 29, "train": 236, "validation": 32}
    assert (report["skipped"], report["ok"]) == ({"distribution": 1}, True)
    rows = {split: found.load(DataRef(entry="global_opinion", split=split)) for split in report["splits"]}
    assert {split: dict(sorted(Counter(g for (g,) in data["group"]).items())) for split, data in rows.items()} == {
        "train": {"China": 24, "Egypt": 56, "India": 35, "Japan": 62, "Nigeria": 59},
        "validation": {"China": 5, "Egypt": 7, "India": 3, "Japan": 13, "Nigeria": 4},
        "test": {"China": 4, "Egypt": 10, "India": 4, "Japan": 7, "Nigeria": 4},
    }
    questions = [{prompt.split(" on: ", 1)[1] for prompt in data["prompt"]} for data in rows.values()]
    assert len(set.union(*questions)) == sum(map(len, questions)) == 269


def test_the_hub_entry_says_that_it_is_not_pinned():
    facts = Catalog.from_environment().describe("global_opinion_hub")
    assert (facts["pinned"], facts["commit"], facts["licence"]) == (False, None, "CC-BY-NC-SA-4.0")
