"""D4: values that rows are picked and splits are drawn by; rows without columns, splits without a name."""

import json

import pyarrow as pa
import pytest

from pipeline_core.data.refs import DataRef
from pipeline_core.errors import BadInput, UnknownName
from pipeline_core.quality.validating import validate_entry
from tests.data.conftest import PAIR, lines, parquet, rows_of

MINE = DataRef(entry="mine")
HALVES = {"split_by": {"column": "y", "shares": {"a": 0.5, "b": 0.5}}}


def told(catalog):
    return validate_entry(catalog, "mine")["faults"]


@pytest.mark.parametrize("kind", ["jsonl", "json"])
def test_d3_rows_without_a_column_are_counted_and_told(mine, kind):
    def written(*rows):
        return lines(*rows) if kind == "jsonl" else json.dumps(rows)

    files = {f"a.{kind}": written(PAIR), f"b.{kind}": written({}, {})}
    absent = "missing column 'prompt', 'chosen', 'rejected' of preference rows; columns found: none (in "
    found = told(mine(kind, files, [f"a.{kind}", f"b.{kind}"]))
    assert len(found) == 1 and absent in found[0] and found[0].endswith(f"b.{kind})")
    assert absent in told(mine(kind, {"alone": written({})}))[0]
    kept = {"text": "every row has this"}
    assert [row["text"] for row in rows_of(mine(kind, {"alone": written({}, {})}, rows="text", constants=kept))] == [
        kept["text"]
    ] * 2


@pytest.mark.parametrize("row", [{}, {"prompt": "p"}])
def test_d3_rows_of_a_later_piece_that_lack_columns_are_told_one_by_one(mine, row):
    content = json.dumps([*[PAIR] * 8192, row, row])
    report = validate_entry(mine("json", {"a.json": content}), "mine")
    assert report["faulty"] == 2
    assert "a.json, row 8193: column 'chosen' is empty" in report["faults"][0]
    left = validate_entry(mine("json", {}, "a.json", skip=["empty"]), "mine")
    assert (left["rows"], left["skipped"]) == (8192, {"empty": 2})


def test_d4_equal_numbers_stand_in_one_split(mine):
    values = ["1", "2.0, 2, 2.0", "1, true", "true", "null", '"None"', "1e2, 100", '"x"']
    rows = [json.dumps(PAIR)[:-1] + f', "y": {value}}}' for value in ", ".join(values).split(", ")]
    catalog = mine("jsonl", {"a.jsonl": lines(*rows)}, **HALVES)
    assert validate_entry(catalog, "mine")["ok"]
    split_of = {id_: split for split in "ab" for id_ in catalog.load(DataRef(entry="mine", split=split))["id"][:]}
    assert len(split_of) == len(rows)
    for equal in (("a/2", "a/3", "a/4"), ("a/1", "a/5"), ("a/6", "a/7"), ("a/10", "a/11")):
        assert len({split_of[id_] for id_ in equal}) == 1


@pytest.mark.parametrize(("value", "kind"), [(["g"], "a list"), ({"g": 1}, "an object")])
def test_d4_a_list_or_an_object_draws_no_split_and_is_told_by_row(mine, value, kind):
    catalog = mine("jsonl", {"a.jsonl": lines(PAIR | {"y": "x"}, PAIR | {"y": value})}, **HALVES)
    with pytest.raises(BadInput, match=rf"a\.jsonl, line 2: column 'y' of `split_by` is .*, {kind}; a text or a num"):
        catalog.load(MINE)


def test_d4_values_are_picked_by_the_text_that_splits_have(mine):
    pairs = {name: [value] * 3 for name, value in PAIR.items()}
    files = {"a.parquet": parquet(pairs | {"y": pa.array([1.0, 2.5, None]), "z": pa.array([True, False, None])})}
    for pick, expected in (({"y": ["1"]}, ["a/1"]), ({"y": ["2.5"]}, ["a/2"]), ({"z": ["true"]}, ["a/1"])):
        assert mine("parquet", files, pick=pick).load(MINE)["id"][:] == expected
    by_split = mine("parquet", files, split_column="y")
    assert by_split.load(DataRef(entry="mine", split="1"))["id"][:] == ["a/1"]
    with pytest.raises(BadInput, match=r"pick\.y: no row has 'None'\. Known: 1, 2\.5\."):
        mine("parquet", files, pick={"y": ["None"]}).load(MINE)


def test_d4_a_row_without_a_split_stands_in_none(mine):
    rows = [PAIR | {"part": "train"}, PAIR | {"part": None}, PAIR]
    catalog = mine("jsonl", {"a.jsonl": lines(*rows)}, split_column="part")
    assert validate_entry(catalog, "mine")["splits"] == {"train": 1, "(no split)": 2}
    with pytest.raises(UnknownName, match=r"unknown split 'None'\. Known: train\."):
        catalog.load(DataRef(entry="mine", split="None"))
    named = mine("jsonl", {"a.jsonl": lines(rows[1], PAIR | {"part": "None"})}, split_column="part")
    assert named.load(DataRef(entry="mine", split="None"))["id"][:] == ["a/2"]


def test_d18_an_empty_split_is_no_default(mine):
    catalog = mine("jsonl", {"a.jsonl": lines(PAIR)}, {"train": "a.jsonl"}, default_split="train")
    assert catalog.load(MINE).num_rows == 1
    with pytest.raises(UnknownName, match=r"mine: unknown split ''\. Known: train\."):
        catalog.load(DataRef(entry="mine", split=""))


def test_d15_a_pair_that_differs_only_around_its_texts_is_no_pair(mine):
    found = told(mine("jsonl", {"a.jsonl": lines(PAIR, PAIR | {"rejected": "c "}, PAIR | {"rejected": "c"})}))
    assert [fault.partition("column ")[2] for fault in found] == [
        "'rejected' differs from chosen only in the white space around it",
        "'rejected' is the same as chosen",
    ]


def test_d15_a_score_beyond_its_range_is_told(mine):
    rows = [{"completion": "c", "score": score} for score in (0, 1, 7, -0.5)]
    catalog = mine("jsonl", {"a.jsonl": lines(*rows)}, rows="scored")
    assert [fault.partition("line ")[2] for fault in told(catalog)] == [
        "3: column 'score' is not from 0 to 1, which is the entry's `score_range`",
        "4: column 'score' is not from 0 to 1, which is the entry's `score_range`",
    ]
    assert validate_entry(mine("jsonl", {}, "a.jsonl", rows="scored", score_range=[-1, 7]), "mine")["ok"]
    assert len(rows_of(mine("jsonl", {}, "a.jsonl", rows="scored", skip=["range"]))) == 2


def test_d15_faulty_rows_are_counted_not_their_faults(mine):
    report = validate_entry(mine("jsonl", {"a.jsonl": lines({"prompt": "", "chosen": "", "rejected": ""})}), "mine")
    assert (report["faulty"], len(report["faults"])) == (1, 4)


def test_d4_a_row_left_out_for_its_type_hides_no_fault_of_others(mine):
    rows = [PAIR, PAIR | {"chosen": 4}, PAIR | {"prompt": ""}]
    found = told(mine("jsonl", {"a.jsonl": lines(*rows)}, skip=["type"]))
    assert [fault.partition("a.jsonl, ")[2] for fault in found] == ["line 3: column 'prompt' is empty"]


def test_a_fault_names_the_column_as_the_file_has_it(mine):
    rows = {"prompt": "p", "better": "c", "worse": ["r"]}
    catalog = mine("jsonl", {"a.jsonl": lines(rows)}, columns={"chosen": "better", "rejected": "worse"})
    assert "line 1: column 'rejected' (the file's 'worse') is" in told(catalog)[0]


def test_a_line_that_ends_within_a_text_is_said_so(mine):
    catalog = mine("jsonl", {"a.jsonl": lines(PAIR) + '{"prompt": "p", "chosen": "it was cut of\n'})
    assert "a.jsonl, line 2: malformed JSON: it ends within a text (column 41)" in told(catalog)[0]
