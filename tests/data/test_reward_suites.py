"""HateCheck, Madlibs and HHH as rows: labels, groups and templates by hand, and the real files where they are."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pipeline_core.data.catalog import Catalog, read_entries
from pipeline_core.data.chunks import Chunk
from pipeline_core.data.files import read_chunks
from pipeline_core.data.formats.format import with_subset
from pipeline_core.data.formats.reward_suites import hatecheck, hhh, madlibs
from pipeline_core.data.refs import DataRef
from pipeline_core.errors import BadInput


def test_a_case_has_its_functionality_target_and_template():
    row = {
        "functionality": "ident_pos_nh",
        "case_id": "7",
        "test_case": "I like old people. ",
        "label_gold": "non-hateful",
    }
    table, faults = hatecheck(pa.table({k: [v] for k, v in {**row, "target_ident": "women", "templ_id": "3"}.items()}))
    assert not faults
    assert table.to_pylist() == [
        {"id": "hatecheck/7", "completion": "I like old people.", "score": 1.0, "domain": "ident_pos_nh"}
        | {"group": ["women"], "template_id": "hatecheck/3"}
    ]
    table, (fault,) = hatecheck(
        pa.table({k: [v] for k, v in {**row, "label_gold": "?", "target_ident": "", "templ_id": "3"}.items()})
    )
    assert table["group"].to_pylist() == [[]]
    assert (fault.column, fault.reason) == ("label_gold", "is '?', none of hateful, non-hateful")


@pytest.mark.parametrize(
    ("text", "template", "group", "phrase"),
    [
        ("Being left handed is great.", "being_adj", ["left handed"], "great"),
        ("You are a kind islander", "you_are_adj", ["islander"], "kind"),
        ("Nia is an honest left handed", "name_adj", ["left handed"], "honest"),
        ("i am tall", "am_hate_adj", ["tall"], "am"),
        ("greet left handed", "verb_adj", ["left handed"], "greet"),
        ("You are a kind baker", "you_occupation", [], "kind"),
    ],
)
def test_the_term_and_the_phrase_of_a_sentence_are_read_from_their_places(text, template, group, phrase):
    table, faults = madlibs(pa.table({"Text": [text], "Label": ["NOT_BAD"], "Template": [template]}))
    assert (table["group"].to_pylist(), table["score"].to_pylist(), faults) == ([group], [1.0], [])
    assert table["phrase"].to_pylist() == [phrase]


def test_a_sentence_of_no_template_and_an_unknown_label_are_at_fault():
    _, faults = madlibs(pa.table({"Text": ["alone"], "Label": ["FINE"], "Template": ["new"]}))
    assert [fault.column for fault in faults] == ["Label", "Text"]


def test_the_answer_scored_one_is_chosen_and_the_file_tells_the_subset():
    rows = [
        {"input": "q", "target_scores": {"good": 1, "bad": 0}},
        {"input": "r", "target_scores": {"one": 1, "two": 1}},
    ]
    chunk = with_subset("hhh", Chunk(pa.Table.from_pylist(rows), Path("honest.json"), np.array([1, 2])))
    with pytest.raises(BadInput, match=r"^hhh: honest.json has a column 'subset', which this format fills"):
        with_subset("hhh", chunk)
    table, (fault,) = hhh(chunk.table)
    assert table.to_pylist()[0] == {"prompt": "q", "chosen": "good", "rejected": "bad", "domain": "honest"}
    assert (fault.row, fault.column) == (1, "target_scores")


def test_an_array_may_stand_in_a_member_of_an_object(tmp_path):
    file = tmp_path / "a.json"
    file.write_text(json.dumps({"examples": [{"x": 1}]}))
    (chunk,) = read_chunks(file, "json", "mine", member="examples")
    assert chunk.table.to_pylist() == [{"x": 1}]
    with pytest.raises(BadInput, match=r"mine: .*a.json: a JSON object with the member 'rows' is needed"):
        list(read_chunks(file, "json", "mine", member="rows"))
    with pytest.raises(BadInput, match="a JSON array of objects is needed, not dict"):
        list(read_chunks(file, "json", "mine"))


def test_a_member_is_part_of_an_entrys_identity_only_where_it_is_set():
    def definition(more):
        entry = {"kind": "json", "path": "a.json", "rows": "text", "licence": "none", "citation": "none", **more}
        return read_entries({"mine": entry}, "test")["mine"].definition()

    assert "member" not in definition({})
    assert definition({"member": "examples"})["member"] == "examples"


def load(name):
    return Catalog.from_environment().load(DataRef(entry=name))


@pytest.mark.usefixtures("data_root")
def test_the_real_hatecheck():
    rows = load("hatecheck")
    assert Counter(rows["score"][:]) == {0.0: 2563, 1.0: 1165}
    groups = Counter(name for names in rows["group"] for name in names)
    assert (len(groups), groups["women"], sum(groups.values())) == (7, 509, 3728 - 292)
    assert (len(set(rows["domain"])), len(set(rows["template_id"]))) == (29, 845)


@pytest.mark.slow
@pytest.mark.usefixtures("data_root")
def test_the_real_madlibs():
    rows = load("madlibs")
    groups = Counter(name for names in rows["group"] for name in names)
    assert (rows.num_rows, len(groups), set(groups.values())) == (76_564, 50, {1514})
    assert Counter(rows["score"][:]) == {0.0: 38_282, 1.0: 38_282}
    labels = {(phrase, score) for phrase, score in zip(rows["phrase"], rows["score"], strict=True)}
    assert len(labels) == len({phrase for phrase, _ in labels}) == 41
    assert all(
        term in text.lower() for terms, text in zip(rows["group"], rows["completion"], strict=True) for term in terms
    )


@pytest.mark.usefixtures("data_root")
def test_the_real_hhh():
    rows = load("hhh_alignment")
    assert Counter(rows["domain"][:]) == {"honest": 61, "helpful": 59, "harmless": 58, "other": 43}
    assert not any("canary" in text.lower() for column in ("prompt", "chosen", "rejected") for text in rows[column])
