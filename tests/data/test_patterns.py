"""D3, D5, D10: which files a path means, and what rows without ids are called."""

import os
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.cli import main
from pipeline_core.data.patterns import fits, matching_files
from pipeline_core.data.refs import DataRef
from pipeline_core.errors import BadInput
from pipeline_core.quality.validating import validate_entry
from tests.data.conftest import PAIR, lines

MINE = DataRef(entry="mine")


def ids(catalog, **of):
    return catalog.load(MINE.model_copy(update=of))["id"][:]


def code_of(*arguments):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
        sys.exit(0)
    return ended.value.code


def test_d3_a_path_that_exists_is_that_file_whatever_its_name_holds(mine, root):
    files = {"two/a.jsonl": lines(PAIR), "two/b[1].jsonl": lines(PAIR, PAIR), "two/b1.jsonl": lines(PAIR)}
    listed = ["two/a.jsonl", "two/b[1].jsonl"]
    assert ids(mine("jsonl", files, listed)) == ["a/1", "b[1]/1", "b[1]/2"]
    assert ids(mine("jsonl", {}, [str(root / name) for name in listed])) == ["a/1", "b[1]/1", "b[1]/2"]
    assert validate_entry(mine("jsonl", {}, listed, files=listed), "mine")["rows"] == 3
    (root / "two/b[1].jsonl").unlink()  # now it is a pattern
    assert ids(mine("jsonl", {}, listed)) == ["a/1", "b1/1"]


@pytest.mark.parametrize("absolute", [False, True])
def test_d3_every_pattern_gives_a_file_or_an_error_absolute_or_not(mine, root, absolute):
    def path(*patterns):
        return [str(root / pattern) if absolute else pattern for pattern in patterns]

    files = {"two/a.jsonl": lines(PAIR), "two/b.jsonl": lines(PAIR)}
    assert ids(mine("jsonl", files, path("two/*.jsonl"))) == ["a/1", "b/1"]
    assert ids(mine("jsonl", {}, path("two/[ab].jsonl", "two/?.jsonl"))) == ["a/1", "b/1"]  # a file is read once
    with pytest.raises(BadInput, match=r"mine: no file '.*two/c\*\.jsonl' in"):
        mine("jsonl", {}, path("two/a.jsonl", "two/c*.jsonl")).load(MINE)
    with pytest.raises(BadInput, match=r"no file '.*two' in .* is a folder: name its files, as in '.*two/\*\.jsonl'"):
        mine("jsonl", {}, path("two")).load(MINE)


def test_d3_validating_no_rows_fails(mine, root, capsys):
    for files, more, message in (
        ({"a.jsonl": ""}, {}, "a.jsonl has no rows"),
        ({"a.jsonl": "\n \n"}, {}, "a.jsonl has no rows"),
        ({"a.jsonl": lines(PAIR | {"chosen": "r"})}, {"skip": ["equal_pair"]}, "no rows; 1 left out (equal_pair)"),
        ({"a.jsonl": lines(PAIR | {"part": "x"})}, {"split_column": "part", "default_split": "y"}, "in split 'y'"),
        (
            {"a.jsonl": lines(PAIR), "b.jsonl": lines(PAIR | {"chosen": "r"})},
            {"path": {"train": "a.jsonl", "test": "b.jsonl"}, "skip": ["equal_pair"]},
            "no rows in split 'test'",
        ),
    ):
        mine("jsonl", files, **more)
        assert code_of("data", "validate", "mine") == 2
        assert message in capsys.readouterr().err


def test_d3_validate_finds_what_load_finds(mine):
    twice = mine(
        "jsonl",
        {"a.jsonl": lines(PAIR | {"id": "a"}, PAIR | {"id": "b"}), "b.jsonl": lines(PAIR | {"id": "a"})},
        "*.jsonl",
    )
    message = r"mine: id 'a' occurs more than once \(\S+a.jsonl, line 1 and \S+b.jsonl, line 1\)"
    with pytest.raises(BadInput, match=message):
        twice.load(MINE)
    report = validate_entry(twice, "mine")
    assert not report["ok"]
    assert "id 'a' occurs more than once" in report["faults"][0]


def test_d5_a_wildcard_matches_no_name_that_begins_with_a_dot(mine, root):
    names = [
        "hid/a.jsonl",
        "hid/.ipynb_checkpoints/a-checkpoint.jsonl",
        "hid/.b.jsonl",
        "hid/x/y/c.jsonl",
        ".h/d.jsonl",
    ]
    files = dict.fromkeys(names, lines(PAIR))
    assert ids(mine("jsonl", files, "hid/**/*.jsonl")) == ["a/1", "c/1"]
    assert ids(mine("jsonl", {}, "**/*.jsonl")) == ["a/1", "c/1"]
    assert ids(mine("jsonl", {}, "hid/.ipynb_checkpoints/*.jsonl")) == ["a-checkpoint/1"]
    assert ids(mine("jsonl", {}, "hid/.*.jsonl")) == ["/1"]
    assert ids(mine("jsonl", {}, ".h/*.jsonl")) == ["d/1"]
    assert ids(mine("jsonl", {}, str(root / "hid/[!z]*.jsonl"))) == ["a/1"]


def test_d5_links_to_folders_lead_nowhere_twice(mine, root):
    catalog = mine("jsonl", {"a/b.jsonl": lines(PAIR)}, "**/*.jsonl")
    (root / "a/back").symlink_to(root, target_is_directory=True)
    assert ids(catalog) == ["b/1"]


def names(letters, longest):
    return st.text(letters, min_size=1, max_size=longest).filter(lambda name: name not in {".", ".."})


PATHS = st.lists(st.lists(names("ab.[*", 3), min_size=1, max_size=3), min_size=1, max_size=5)
PATTERNS = st.lists(names("ab.*?[]!", 4) | st.just("**"), min_size=1, max_size=3)


@settings(max_examples=60)
@given(PATHS, PATTERNS)
def test_d3_d5_the_walk_and_the_test_of_one_name_agree(tmp_path_factory, paths, parts):
    root = tmp_path_factory.mktemp("tree")
    for path in map("/".join, paths):
        if not any(part.is_file() for part in (root / path).parents) and not (root / path).exists():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).touch()
    pattern = "/".join(parts)
    files = {Path(folder, name) for folder, _, names in os.walk(root) for name in names}
    expected = sorted(file for file in files if fits(file.relative_to(root).as_posix(), pattern))
    if root / pattern in files:
        expected = [root / pattern]
    assert matching_files(root, pattern) == matching_files(Path("/nowhere"), str(root / pattern)) == expected


def test_d10_ids_use_the_path_where_stems_collide_and_stay_elsewhere(mine, root):
    files = dict.fromkeys(["en/train.jsonl", "de/train.jsonl", "x/other.jsonl"], lines(PAIR, PAIR))
    catalog = mine("jsonl", files, "**/*.jsonl")
    assert ids(catalog) == [
        f"{name}/{line}" for name in ("de/train.jsonl", "en/train.jsonl", "other") for line in (1, 2)
    ]
    assert validate_entry(catalog, "mine")["ok"]
    assert ids(mine("jsonl", {}, "en/*.jsonl")) == ["train/1", "train/2"]
    by_split = mine("jsonl", {}, {"train": "en/train.jsonl", "test": "de/train.jsonl"})
    assert ids(by_split)[0] == "en/train.jsonl/1"


def test_d10_ids_are_the_same_whether_a_split_or_all_is_read(mine, root):
    paths = {"train": "en/train.jsonl", "test": "de/train.jsonl"}
    catalog = mine("jsonl", dict.fromkeys(paths.values(), lines(PAIR)), paths)
    assert [ids(catalog, split=split) for split in paths] == [["en/train.jsonl/1"], ["de/train.jsonl/1"]]
    assert ids(catalog) == ["en/train.jsonl/1", "de/train.jsonl/1"]
    together = {split: catalog.fingerprint(DataRef(entry="mine", split=split)) for split in paths}
    (root / "de/train.jsonl").unlink()
    assert ids(catalog, split="train") == ["train/1"]  # a split that is not there yet stops nothing
    assert catalog.fingerprint(DataRef(entry="mine", split="train")) != together["train"]


def test_d10_a_file_outside_the_root_and_one_within_of_the_same_name_are_two(mine, root, tmp_path):
    (tmp_path / "train.jsonl").write_text(lines(PAIR))
    catalog = mine("jsonl", {"train.jsonl": lines(PAIR)}, [str(tmp_path / "train.jsonl"), "train.jsonl"])
    assert validate_entry(catalog, "mine")["ok"]
    assert ids(catalog) == ["/train.jsonl/1", "train.jsonl/1"]
    assert [row["prompt"] for row in catalog.load(MINE)] == ["p", "p"]
    before = catalog.fingerprint(MINE)
    (tmp_path / "train.jsonl").write_text(lines(PAIR | {"prompt": "new"}))
    assert catalog.fingerprint(MINE) != before
    assert [row["prompt"] for row in catalog.load(MINE)] == ["new", "p"]


def test_d10_a_changed_twin_of_winobias_changes_the_fingerprint(mine, root):
    form = "winobias/{}_stereotyped_type1.txt.dev"
    said = "1 The [developer] argued with the designer because [{}] did not like the design."
    files = {form.format("pro"): said.format("he"), form.format("anti"): said.format("she")}
    catalog = mine("text", files, form.format("pro"), rows="sentences", shape="winobias")
    before = catalog.fingerprint(MINE)
    (root / form.format("anti")).write_text(said.format("her"))
    assert catalog.fingerprint(MINE) != before


@pytest.mark.parametrize("path", [["two/a.jsonl", "two/../two/a.jsonl"], "two/*.jsonl", ["two/0.jsonl", "two/a.jsonl"]])
def test_d5_a_file_with_two_paths_is_read_once(mine, root, path):
    catalog = mine("jsonl", {"two/a.jsonl": lines(PAIR, PAIR)}, path)
    (root / "two/0.jsonl").symlink_to(root / "two/a.jsonl")
    assert ids(catalog) == ["a/1", "a/2"]
    assert validate_entry(catalog, "mine")["rows"] == 2


def test_d10_shards_and_files_outside_the_root(mine, root, tmp_path):
    shards = [f"c4.0000{shard}-of-00002.jsonl" for shard in range(2)]
    catalog = mine("jsonl", dict.fromkeys(shards, lines(PAIR)), "*.jsonl")
    assert ids(catalog) == [f"{shard}/1" for shard in shards]
    for name in ("en", "de"):
        (tmp_path / "far" / name).mkdir(parents=True)
        (tmp_path / "far" / name / "train.jsonl").write_text(lines(PAIR | {"prompt": name}))
    outside = mine("jsonl", {}, str(tmp_path / "far/*/train.jsonl"))
    assert ids(outside) == ["de/train.jsonl/1", "en/train.jsonl/1"]
    before = outside.fingerprint(MINE)
    (tmp_path / "far/de/train.jsonl").write_text(lines(PAIR | {"prompt": "other"}))
    assert outside.fingerprint(MINE) != before  # of two files of one name, both count


def test_d10_halves_of_texts_have_ids_by_path_too(mine):
    row = {name: {"text": name, "toxicity": 0.5} for name in ("prompt", "continuation")}
    files = dict.fromkeys(["en/a.jsonl", "de/a.jsonl"], lines(row))
    catalog = mine("jsonl", files, "*/a.jsonl", rows="scored", shape="scored_halves", keep=["template_id"])
    assert ids(catalog)[0] == "de/a.jsonl/1/prompt"
    assert catalog.load(MINE)["template_id"][2] == "en/a.jsonl/1"


def test_m14_a_file_name_that_is_no_text_is_told(mine):
    catalog = mine("jsonl", {os.fsdecode(b"a\xff.jsonl"): lines(PAIR)}, "*.jsonl")
    with pytest.raises(BadInput, match=r"mine: the name of the file '.*a\\udcff.jsonl' is no UTF-8; rename it"):
        catalog.load(MINE)
