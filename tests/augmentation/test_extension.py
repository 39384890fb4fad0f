"""Rows that an extension writes: the contract's columns, provenance, and nothing lost in silence."""

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_core.augmentation import rows as extension
from pipeline_core.augmentation.even_rows import even_shares, most_even, shares_within
from pipeline_core.augmentation.rows import SCHEMA, row_metrics, write_rows
from pipeline_core.data.tables import open_table
from pipeline_core.errors import BadInput

PAIR = {"prompt": "The baker is", "chosen": "kind.", "rejected": "rude."}
ORIGIN = {"made_by": "mine", "licence": "MIT", "source_id": "a/1"}


def test_rows_have_the_contracts_columns_and_their_provenance(tmp_path):
    rows = [PAIR | ORIGIN | {"group": "old", "toxicity": 0.5}, PAIR]
    write_rows(rows, tmp_path / "rows.parquet", pa.schema({"toxicity": pa.float64()}))
    written = open_table(tmp_path / "rows.parquet")
    assert written.column_names == [*SCHEMA.names, "toxicity"]
    first, second = written.to_list()
    assert (first["group"], first["made_by"], first["licence"], first["source_id"]) == (["old"], "mine", "MIT", "a/1")
    assert (second["group"], second["made_by"], second["label"], second["toxicity"]) == ([], "", None, None)


def test_pieces_are_one_table_and_ids_go_on_over_them(tmp_path, monkeypatch):
    monkeypatch.setattr(extension, "ROW_GROUP", 2)
    write_rows(({**PAIR, "prompt": f"p{number}"} for number in range(5)), tmp_path / "rows.parquet")
    written = open_table(tmp_path / "rows.parquet")
    assert written["id"][:] == [f"row/{number}" for number in range(1, 6)]
    assert written["prompt"][:] == [f"p{number}" for number in range(5)]
    with pytest.raises(BadInput, match="rows after the first 2: row 1: column 'rejected' is the same as chosen"):
        write_rows([PAIR, PAIR, PAIR | {"rejected": "kind."}], tmp_path / "rows.parquet")


def test_no_rows_are_a_table_without_rows(tmp_path):
    write_rows([], tmp_path / "rows.parquet")
    written = open_table(tmp_path / "rows.parquet")
    assert (len(written), written.column_names) == (0, SCHEMA.names)


def test_a_column_nobody_asked_for_is_refused(tmp_path):
    with pytest.raises(BadInput, match="column 'toxicity' is none of those to write: id, prompt"):
        write_rows([PAIR | {"toxicity": 0.5}], tmp_path / "rows.parquet")


def test_rows_are_counted_by_domain_and_group():
    rows = [PAIR | {"domain": "age", "group": ["old", "young"]}, PAIR | {"domain": "age", "group": ["old"]}]
    assert row_metrics(rows) == {
        "rows": 2,
        "chosen/characters": 5,
        "rejected/characters": 5,
        "domain/age/rows": 2,
        "group/age/old/rows": 2,
        "group/age/young/rows": 1,
    }
    assert row_metrics([]) == {"rows": 0}


sizes = st.lists(st.integers(0, 30), min_size=1, max_size=6)


@given(sizes)
def test_the_most_even_rows_are_possible_and_one_more_is_not(limits):
    possible = dict(enumerate(limits))
    most = most_even(possible)
    assert all(share <= possible[name] for name, share in even_shares(most, list(possible)).items())
    assert any(share > possible[name] for name, share in even_shares(most + 1, list(possible)).items())


@given(sizes, st.integers(0, 100))
def test_what_one_is_short_of_goes_to_the_others_evenly(limits, rows):
    available = dict(enumerate(limits))
    if rows > sum(limits):
        with pytest.raises(ValueError, match="cannot be shared out"):
            shares_within(rows, available)
        return
    shares = shares_within(rows, available)
    assert list(shares) == list(available)
    assert sum(shares.values()) == rows
    assert all(shares[name] <= available[name] for name in shares)
    unfilled = [shares[name] for name in shares if shares[name] < available[name]]
    # Whoever has some left got as much as anyone, up to one row.
    assert not unfilled or max(shares.values()) - min(unfilled) <= 1
