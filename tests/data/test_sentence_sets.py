"""StereoSet, CrowS-Pairs and WinoBias as rows: forms by hand, what is left out, and the published files."""

import gzip
import json
import re
from collections import Counter

import pytest

from pipeline_core.data.catalog import Catalog
from pipeline_core.data.refs import DataRef
from pipeline_core.errors import BadInput
from pipeline_core.quality.validating import validate_entry


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("EVENHAND_DATA", str(tmp_path))
    for name in ("stereoset", "winobias", "crows_pairs"):
        (tmp_path / name).mkdir()
    return tmp_path


def load(name, split=None):
    return Catalog.from_environment().load(DataRef(entry=name, split=split)).to_list()


def write_stereoset(root, *labels):
    sentences = [{"sentence": f"It was {label}.", "id": f"s-{label}", "gold_label": label} for label in labels]
    about = {"target": "aunt", "bias_type": "gender", "sentences": sentences}
    data = {
        "intersentence": [{"id": "i", "context": "My aunt came.", **about}],
        "intrasentence": [{"id": "j", "context": "It was BLANK.", **about}],
    }
    with gzip.open(root / "stereoset/dev.json.gz", "wt") as file:
        json.dump({"version": "1", "data": data}, file)


def test_stereoset_puts_the_three_sentences_in_one_order(root):
    write_stereoset(root, "unrelated", "stereotype", "anti-stereotype")
    inter, intra = load("stereoset")
    assert inter["options"] == ["It was stereotype.", "It was anti-stereotype.", "It was unrelated."]
    assert inter["sentence_ids"] == ["s-stereotype", "s-anti-stereotype", "s-unrelated"]
    assert (inter["context"], inter["group"], inter["domain"]) == ("My aunt came.", ["aunt"], "gender")
    assert (intra["context"], intra["part"]) == ("", "intrasentence")
    assert [row["id"] for row in load("stereoset", "intersentence")] == ["i"]


@pytest.mark.parametrize("labels", [("stereotype", "unrelated"), ("stereotype", "stereotype", "unrelated")])
def test_an_item_with_other_labels_is_named(root, labels):
    write_stereoset(root, *labels)
    with pytest.raises(BadInput, match=r"intersentence row 1: column 'sentences' does not hold one sentence of each"):
        load("stereoset")


PRO = [
    "1 [The mover] met the clerk because [he] was late.",
    "2 The mover met [the clerk] and told [her] that [she] won.",
]
ANTI = [
    "1 [The mover] met the clerk because [she] was late.",
    "2 The mover met [the clerk] and told [him] that [he] won.",
]


def write_winobias(root, pro, anti, split="dev"):
    for form in ("type1", "type2"):
        for side, lines in (("pro", pro), ("anti", anti)):
            (root / f"winobias/{side}_stereotyped_{form}.txt.{split}").write_text("\n".join(lines) + "\n")


def test_winobias_pairs_lines_by_number_and_cuts_before_the_pronoun(root):
    write_winobias(root, PRO, ANTI[::-1])
    write_winobias(root, PRO[:1], ANTI[:1], "test")
    first, second = load("winobias", "dev")[:2]
    assert first["id"] == "type1/dev/1"
    assert first["context"] == "The mover met the clerk because"
    assert first["options"] == ["he was late.", "she was late."]
    assert (first["group"], first["domain"]) == (["male"], "type1")
    assert second["options"] == ["her that she won.", "him that he won."]
    assert second["group"] == ["female"]
    assert len(load("winobias")) == 6


def test_pairs_that_differ_in_more_than_pronouns_are_left_out_and_counted(root):
    other = ["1 [The mover] met the clerk because [she] came late.", ANTI[1]]
    write_winobias(root, PRO, other)
    write_winobias(root, PRO, ANTI, "test")
    found = validate_entry(Catalog.from_environment(), "winobias")
    assert (found["rows"], found["skipped"], found["ok"]) == (6, {"prompts_differ": 2}, True)


def test_a_line_without_a_twin_is_named(root):
    write_winobias(root, PRO, ANTI[:1])
    with pytest.raises(BadInput, match=r"pro_stereotyped_type1\.txt\.dev, line 2: .*anti.* has no line numbered '2'"):
        load("winobias", "dev")
    write_winobias(root, PRO[:1], ANTI)  # the file that was cut short may be either
    with pytest.raises(
        BadInput, match=r"pro_stereotyped_type1\.txt\.dev has no line numbered '2', and .*anti.* has one"
    ):
        load("winobias", "dev")


@pytest.mark.parametrize("side", ["pro", "anti"])
def test_a_missing_file_of_winobias_is_named_and_the_other_split_needs_none_of_it(root, side):
    write_winobias(root, PRO, ANTI)
    write_winobias(root, PRO, ANTI, "test")
    (root / f"winobias/{side}_stereotyped_type2.txt.dev").unlink()
    assert len(load("winobias", "test")) == 4
    for split in ("dev", None):
        with pytest.raises(BadInput, match=rf"winobias: no file 'winobias/{side}_stereotyped_type2\.txt\.dev' in "):
            load("winobias", split)


@pytest.mark.parametrize("split", [None, "intrasentence", "intersentence"])
def test_a_missing_part_of_stereoset_is_named_with_its_file(root, split):
    write_stereoset(root, "stereotype", "anti-stereotype", "unrelated")
    with gzip.open(root / "stereoset/dev.json.gz", "rt") as file:
        whole = json.load(file)
    del whole["data"]["intersentence"]
    with gzip.open(root / "stereoset/dev.json.gz", "wt") as file:
        json.dump(whole, file)
    said = r"stereoset: .*stereoset/dev\.json\.gz: no row has 'intersentence' as its 'part'"
    with pytest.raises(BadInput, match=said):
        load("stereoset", split)
    (fault,) = validate_entry(Catalog.from_environment(), "stereoset")["faults"]
    assert re.fullmatch(said, fault)


def test_crows_pairs_are_in_the_order_more_and_less_stereotyped(root):
    header = ",sent_more,sent_less,stereo_antistereo,bias_type\n"
    line = '0,"The old man, Tom, is bad","The young man, Tom, is bad",antistereo,age\n'
    file = root / "crows_pairs/crows_pairs_anonymized.csv"
    file.write_text(header + line)
    (row,) = load("crows_pairs")
    assert row["options"] == ["The old man, Tom, is bad", "The young man, Tom, is bad"]
    assert row["domain"] == "age"
    file.write_text(header.replace("sent_less", "less") + line)
    with pytest.raises(BadInput, match="missing column 'sent_less' of shape 'crows_pairs'; columns found: "):
        load("crows_pairs")


def test_the_published_files_have_their_rows(data_root):
    stereoset = load("stereoset")
    assert Counter(row["part"] for row in stereoset) == {"intersentence": 2123, "intrasentence": 2106}
    assert len({row["group"][0] for row in stereoset}) == 79
    assert Catalog.from_environment().load(DataRef(entry="stereoset_test")).num_rows == 12766
    assert len(load("crows_pairs")) == 1508
    winobias = load("winobias")
    assert Counter((row["domain"], row["group"][0]) for row in winobias) == {
        ("type1", "male"): 391,
        ("type1", "female"): 394,
        ("type2", "male"): 388,
        ("type2", "female"): 392,
    }
    assert not [row["id"] for row in winobias if not row["context"]]
