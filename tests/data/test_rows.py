"""The row contract: defaults, casts, and every fault named by row, column and reason."""

import math

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_core.data.contract import SCHEMAS
from pipeline_core.data.row_checks import faults_of
from pipeline_core.data.tables import open_table, rows_as_table, write_table, write_tables
from pipeline_core.errors import BadInput

PAIR = {"prompt": "The baker is", "chosen": "kind.", "rejected": "rude."}
QUESTION = {"question": "Who?", "options": ["a", "b", "unknown"], "label": 2, "condition": "ambiguous"}


def test_missing_columns_get_their_defaults_and_further_ones_stay():
    table = rows_as_table([PAIR | {"domain": "age", "group": "old", "note": 7}], "preference", "mine")
    assert table.column_names == [*SCHEMAS["preference"].names, "note"]
    assert table.to_pylist() == [
        {"id": "mine/1", **PAIR, "domain": "age", "group": ["old"], "source": "mine", "template_id": ""}
        | {"label": None, "note": 7}
    ]


def test_a_group_is_always_a_list():
    rows = [PAIR | {"group": "old"}, PAIR | {"group": ["old", "poor"]}, PAIR | {"group": None}, PAIR]
    assert rows_as_table(rows, "preference", "mine")["group"].to_pylist() == [["old"], ["old", "poor"], [], []]


@pytest.mark.parametrize(
    ("kind", "row", "message"),
    [
        ("preference", PAIR | {"chosen": "  "}, "row 2: column 'chosen' is empty"),
        ("preference", PAIR | {"prompt": None}, "row 2: column 'prompt' is empty"),
        ("preference", PAIR | {"rejected": "kind."}, "row 2: column 'rejected' is the same as chosen"),
        ("preference", PAIR | {"label": "high"}, "row 2: column 'label' is 'high', not a number"),
        ("preference", PAIR | {"label": math.nan}, "row 2: column 'label' is not a finite number"),
        ("preference", PAIR | {"prompt": 5}, "row 2: column 'prompt' is 5, not text"),
        ("preference", PAIR | {"group": 5}, "row 2: column 'group' is 5, not text or a list of texts"),
        ("question", QUESTION | {"label": 3}, "row 2: column 'label' is no index into options"),
        ("question", QUESTION | {"label": 0.5}, "row 2: column 'label' is 0.5, not a whole number"),
        ("question", QUESTION | {"label": None}, "row 2: column 'label' has no value"),
        ("question", QUESTION | {"options": ["a"], "label": 0}, "row 2: column 'options' holds fewer than two options"),
        ("question", QUESTION | {"options": ["a", " "], "label": 0}, "row 2: column 'options' holds an empty option"),
        ("question", QUESTION | {"biased": -2}, "row 2: column 'biased' is no index into options (-1: none)"),
        (
            "question",
            QUESTION | {"condition": "ambig"},
            "row 2: column 'condition' is none of ambiguous, disambiguated",
        ),
        ("scored", {"completion": "x", "score": math.inf}, "row 2: column 'score' is not a finite number"),
        ("text", {"text": ""}, "row 2: column 'text' is empty"),
        (
            "choice",
            {"prompt": "p", "options": ["a", "b"], "label": -1},
            "row 2: column 'label' is no index into options",
        ),
    ],
)
def test_a_bad_row_is_named(kind, row, message):
    good = {
        "preference": PAIR,
        "question": QUESTION,
        "scored": {"completion": "x", "score": 1},
        "text": {"text": "x"},
        "choice": {"prompt": "p", "options": ["a", "b"], "label": 1},
    }[kind]
    with pytest.raises(BadInput) as error:
        rows_as_table([good, row], kind, "mine")
    assert str(error.value) == f"mine: {message}"


def test_a_missing_column_names_those_found():
    with pytest.raises(BadInput, match=r"missing column 'rejected' of preference rows; columns found: prompt, chosen"):
        rows_as_table([{"prompt": "p", "chosen": "c"}], "preference", "mine")


@given(st.lists(st.tuples(st.sampled_from(["", " ", "a", "b"]), st.sampled_from(["", "a", "b"])), min_size=1))
def test_vectorised_faults_agree_with_a_plain_loop(pairs):
    table = pa.table(
        {"id": [str(i) for i in range(len(pairs))], "prompt": ["p"] * len(pairs)}
        | {"chosen": [chosen for chosen, _ in pairs], "rejected": [rejected for _, rejected in pairs]}
        | {"label": pa.nulls(len(pairs), pa.float64())}
    )
    expected = set()
    for row, (chosen, rejected) in enumerate(pairs):
        expected |= {(row, "chosen", "empty")} if not chosen.strip() else set()
        expected |= {(row, "rejected", "empty")} if not rejected.strip() else set()
        expected |= {(row, "rejected", "equal_pair")} if chosen.strip() == rejected.strip() else set()
    assert {(fault.row, fault.column, fault.code) for fault in faults_of(table, "preference")} == expected


def test_a_table_comes_back_equal_and_equal_rows_give_equal_bytes(tmp_path):
    rows = [PAIR | {"id": str(number), "group": ["g"]} for number in range(40)]
    table = rows_as_table(rows, "preference", "mine")
    write_table(table, tmp_path / "one.parquet")
    back = open_table(tmp_path / "one.parquet")
    assert back.to_list() == table.to_pylist()
    write_table(back, tmp_path / "two.parquet")
    write_tables([table.slice(0, 40)], tmp_path / "three.parquet")
    assert (tmp_path / "one.parquet").read_bytes() == (tmp_path / "two.parquet").read_bytes()
    assert (tmp_path / "one.parquet").read_bytes() == (tmp_path / "three.parquet").read_bytes()


def test_a_large_parquet_file_is_memory_mapped(tmp_path, home, monkeypatch):
    monkeypatch.setattr("pipeline_core.data.tables.IN_MEMORY_BYTES", 0)
    write_table(rows_as_table([PAIR], "preference", "mine"), tmp_path / "rows.parquet")
    dataset = open_table(tmp_path / "rows.parquet")
    assert dataset[0]["chosen"] == "kind."
    assert [file["filename"] for file in dataset.cache_files] == [str(p) for p in (home / "cache/tables").iterdir()]


def test_a_table_without_rows_has_no_faults():
    """Masks of no chunks ended the process (pyarrow 25)."""
    assert [faults_of(SCHEMAS[kind].empty_table(), kind) for kind in SCHEMAS] == [[]] * len(SCHEMAS)
