"""D18: an entry that names what is not there is refused in plain words, by `data validate` too."""

import pytest

from pipeline_core.data.catalog import read_entries
from pipeline_core.data.patterns import fits, matching_files
from pipeline_core.data.refs import DataRef
from pipeline_core.errors import BadInput
from pipeline_core.quality.validating import validate_entry
from tests.data.conftest import PAIR, lines

MINE = DataRef(entry="mine")
ENTRY = {"kind": "jsonl", "path": "a.jsonl", "rows": "preference", "licence": "x", "citation": "x"}
NO_FILE = "mine.path: names no file: a file or a pattern is needed"


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"path": []}, NO_FILE),
        ({"path": {}}, NO_FILE),
        ({"path": {"train": []}}, NO_FILE),
        ({"path": "/".join("a" * 3000)}, "(6,001 characters) has 3,000 parts, and a path has at most 100"),
        ({"path": 5}, "mine.path: is 5, not a text, a list or a mapping"),
        ({"path": {"train": [1, "a"]}}, "mine.path.train.0: is 1, not a text"),
        ({"path": None}, "mine.path: is null, not a text, a list or a mapping"),
        ({"files": ["\0"]}, r"mine.files: '\x00' names no file"),
        ({"join": {"path": "", "on": ["a"]}}, "mine.join.path: '' names no file"),
        ({"join": {"path": "a", "on": []}}, "mine.join.on: must hold at least 1 values, not 0"),
        ({"join": {"path": "a", "on": ["x"], "onn": 1}}, "mine.join.onn: unknown key 'onn'. Did you mean 'on'?"),
        (
            {"unit": {"columns": ["id"], "noun": "x", "colums": 1}},
            "mine.unit.colums: unknown key 'colums'. Did you mean 'columns'?",
        ),
        ({"kind": None}, "mine: unknown kind None. Known: csv, hub, json"),
        ({"kind": "jsonnl"}, "mine: unknown kind 'jsonnl'. Did you mean 'jsonl' or 'json'?"),
        ({"shape": "plan"}, "mine.shape: is 'plan', not 'plain', 'transcript', "),
        ({"people": "x"}, "mine.people: is 'x', not 'sandbox' or a mapping"),
        ({"keep": "x"}, "mine.keep: is 'x', not a list"),
        ({"score_range": [0, 1, 2]}, "mine.score_range: must hold at most 2 values, not 3"),
        ({"default_split": "nope"}, "mine: default_split: 'nope' is a split, and the entry has none"),
        ({"path": {"train": "a"}, "default_split": "nope"}, "mine: default_split: 'nope' is none of train"),
        ({"split_column": "x", "splits": ["a"], "default_split": "b"}, "mine: default_split: 'b' is none of a"),
    ],
)
def test_d18_an_entry_is_refused_in_plain_words(more, told):
    with pytest.raises(BadInput) as error:
        read_entries({"mine": ENTRY | more}, "c.yaml")
    assert str(error.value).startswith("c.yaml: mine") and told in str(error.value)
    assert "\n" not in str(error.value)


def test_d18_an_entry_without_a_kind_or_that_is_no_mapping():
    with pytest.raises(BadInput, match=r"^c.yaml: mine: `kind` is missing: one of sandbox, jsonl, json, parquet, csv"):
        read_entries({"mine": {"path": "a"}}, "c.yaml")
    with pytest.raises(BadInput, match=r"^c.yaml: mine: is \['a'\], not a mapping$"):
        read_entries({"mine": ["a"]}, "c.yaml")


def test_d18_a_sandbox_entry_has_a_split_as_its_default():
    entry = {"kind": "sandbox", "part": "p", "rows": "text", "licence": "x", "citation": "x", "splits": ["train"]}
    with pytest.raises(BadInput, match=r"default_split: 'x' is none of train$"):
        read_entries({"mine": entry | {"default_split": "x"}}, "c.yaml")


def test_d18_many_wildcards_end():
    assert fits("/".join("a" * 40), "/".join(["**", "a"] * 20))
    assert not fits("/".join("a" * 40), "/".join(["**", "a"] * 20 + ["b"]))


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (
            {"columns": {"group": "grp_typo"}},
            "mine: columns.group: no row has the column 'grp_typo'. Did you mean 'grp_type'? "
            "Where it may be absent, write [grp_typo].",
        ),
        ({"keep": ["nope"]}, "mine: keep: no row has the column 'nope'. Known: chosen, grp_type, "),
    ],
)
def test_d18_a_column_that_no_row_has_is_told(mine, more, told):
    files = {"a.jsonl": lines(PAIR | {"grp_type": "x"})}
    for path in ("a.jsonl", {"train": "a.jsonl"}):
        catalog = mine("jsonl", files, path, **more)
        assert validate_entry(catalog, "mine")["faults"][0].startswith(told)
    with pytest.raises(BadInput) as error:
        mine("jsonl", files, **more).load(MINE)
    assert str(error.value).startswith(told)


def test_d18_columns_that_some_rows_or_splits_have_are_there(mine):
    files = {"a.jsonl": lines(PAIR, PAIR | {"who": "x", "note": 1}), "b.jsonl": lines(PAIR)}
    whole = mine("jsonl", files, ["a.jsonl", "b.jsonl"], columns={"group": "who"}, keep=["note", "template_id"])
    assert validate_entry(whole, "mine")["ok"]
    assert whole.load(MINE)["group"][:] == [[], ["x"], []]
    paths = {"train": "a.jsonl", "test": "b.jsonl"}
    assert validate_entry(mine("jsonl", files, paths, columns={"group": ["who"]}, keep=["note"]), "mine")["ok"]
    by_split = mine("jsonl", files, paths, columns={"group": ["who"]}, keep=["note"])
    assert by_split.load(DataRef(entry="mine", split="test"))["group"][:] == [[]]


def test_d18_advice_about_a_folder_has_one_slash(mine):
    catalog = mine("jsonl", {"two/a.jsonl": lines(PAIR)}, "two/")
    with pytest.raises(BadInput, match=r"\('two/' is a folder: name its files, as in 'two/\*\.jsonl'\)$"):
        catalog.load(MINE)


def test_d18_folders_as_deep_as_a_system_takes(tmp_path):
    folders = [tmp_path.joinpath(*["d"] * depth) for depth in range(1, 1100)]
    for folder in folders:
        folder.mkdir()
    try:
        (folders[-1] / "a.jsonl").touch()
        assert matching_files(tmp_path, "**/*.jsonl") == [folders[-1] / "a.jsonl"]
    finally:
        (folders[-1] / "a.jsonl").unlink()
        for folder in reversed(folders):  # pytest's own removal recurses
            folder.rmdir()
