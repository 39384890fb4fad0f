"""D4, D7, D15, M14: rows written in every format are read as they were, and damaged files rightly or not at all."""

import csv
import gzip
import io
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline_core.data.entries import ENTRY
from pipeline_core.data.sources import ReadingTally, read_entry
from pipeline_core.errors import BadInput

TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), max_size=12)
LIKE_OTHERS = st.sampled_from(
    ["2001-09-11 08:46:00", "1", "1.0", "true", "null", "NaN", "1e3", "007", "a,b", 'a"b', "a\r\nb"]
)
FILLED = st.builds("x{}".format, TEXTS) | LIKE_OTHERS
IDS = st.integers().filter(lambda number: abs(number) < 10**30) | FILLED
ROW = st.fixed_dictionaries(
    {"id": IDS, "prompt": FILLED, "chosen": FILLED, "rejected": st.builds("y{}".format, TEXTS)}
    | {
        "group": st.lists(FILLED, max_size=3),
        "domain": TEXTS,
        "label": st.floats(allow_nan=False, allow_infinity=False),
    }
)
ROWS = st.lists(ROW, min_size=1, max_size=5, unique_by=lambda row: str(row["id"]))


def as_jsonl(rows, ascii_only):
    return "".join(json.dumps(row, ensure_ascii=ascii_only) + "\n" for row in rows).encode()


def as_json(rows, ascii_only):
    return json.dumps(rows, ensure_ascii=ascii_only, indent=1).encode()


def as_csv(rows, ascii_only):
    out = io.StringIO()
    # Python's writer quotes a lone CR only where lines end in one.
    form = {"lineterminator": "\r\n"} if ascii_only else {"lineterminator": "\n", "quoting": csv.QUOTE_ALL}
    writer = csv.DictWriter(out, list(rows[0]), **form)
    writer.writeheader()
    writer.writerows(row | {"group": json.dumps(row["group"]) if ascii_only else repr(row["group"])} for row in rows)
    return out.getvalue().encode()


def as_parquet(rows, ascii_only):
    sink = pa.BufferOutputStream()
    columns = {name: [row[name] for row in rows] for name in rows[0]} | {"id": [str(row["id"]) for row in rows]}
    types = {"group": pa.list_(pa.string()), "label": pa.float64()}
    arrays = {name: pa.array(values, types.get(name, pa.string())) for name, values in columns.items()}
    pq.write_table(pa.table(arrays), sink, compression="zstd" if ascii_only else "none", write_page_checksum=True)
    return sink.getvalue().to_pybytes()


WRITERS = {"jsonl": as_jsonl, "json": as_json, "csv": as_csv, "parquet": as_parquet}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("files")


def read(kind, content, folder):
    (folder / "a").write_bytes(content)
    entry = {"kind": kind, "path": str(folder / "a"), "rows": "preference", "licence": "x", "citation": "x"}
    tables = read_entry("mine", ENTRY.validate_python(entry), None, ReadingTally())
    return [{name: row[name] for name in COLUMNS} for table in tables for row in table.to_pylist()]


COLUMNS = ("id", "prompt", "chosen", "rejected", "group", "domain", "label")


def expected(row):
    return {name: row.get(name) for name in COLUMNS} | {"id": str(row["id"])}


def comes_back(kind, rows, packed, ascii_only, folder):
    content = WRITERS[kind](rows, ascii_only)
    content = gzip.compress(content, 1) if packed and kind != "parquet" else content
    assert read(kind, content, folder) == [expected(row) for row in rows]


@pytest.mark.parametrize("kind", WRITERS)
@settings(max_examples=15)
@given(rows=ROWS, packed=st.booleans(), ascii_only=st.booleans())
def test_rows_come_back_as_they_were_written(kind, rows, packed, ascii_only, folder):
    comes_back(kind, rows, packed, ascii_only, folder)


@pytest.mark.slow
@pytest.mark.parametrize("kind", WRITERS)
@settings(max_examples=1000)
@given(rows=ROWS, packed=st.booleans(), ascii_only=st.booleans())
def test_many_rows_come_back_as_they_were_written(kind, rows, packed, ascii_only, folder):
    comes_back(kind, rows, packed, ascii_only, folder)


def no_key_twice(pairs):
    assert len({key for key, _ in pairs}) == len(pairs)
    return dict(pairs)


def naive_rows(kind, content):
    """What a plain reader makes of the bytes of a text file; any exception where it cannot."""
    text = content.decode("utf-8").removeprefix("\ufeff")
    if kind == "json":
        return json.loads(text, object_pairs_hook=no_key_twice)
    if kind == "jsonl":
        filled = [line for line in text.split("\n") if line.strip(" \t\r\n")]
        return [json.loads(line, object_pairs_hook=no_key_twice) for line in filled]
    header, *rows = [row for row in csv.reader(io.StringIO(text, newline=""), strict=True) if row]
    return [dict(zip(header, row, strict=True)) for row in rows]


MUTATIONS = st.lists(
    st.tuples(st.sampled_from(["cut", "flip", "insert", "delete"]), st.floats(0, 1), st.integers(0, 255)), max_size=3
)


def mutated(content, mutations):
    for kind, where, byte in mutations:
        place = int(where * len(content))
        if kind == "cut":
            content = content[:place]
        elif kind == "insert":
            content = content[:place] + bytes([byte]) + content[place:]
        else:
            content = content[:place] + (bytes([byte]) if kind == "flip" else b"") + content[place + 1 :]
    return content


def is_read_rightly_or_refused(kind, rows, packed, mutations, folder):
    whole = WRITERS[kind](rows, True)
    is_packed = packed and kind != "parquet"
    content = mutated(gzip.compress(whole, 1) if is_packed else whole, mutations)
    try:
        found = read(kind, content, folder)
    except BadInput as error:
        assert str(error).startswith("mine: ")
        return
    if kind == "parquet":  # pages are checked by their sums, the names and numbers around them are not
        return
    plain = naive_rows(kind, whole if is_packed else content)
    for row, other in zip(found, plain, strict=True):
        assert [row[name] for name in ("prompt", "chosen", "rejected")] == [
            other[name] for name in ("prompt", "chosen", "rejected")
        ]
        assert row["id"] == (str(other["id"]) if "id" in other else row["id"])
        if isinstance(other.get("group"), list):
            assert row["group"] == [name for name in other["group"] if name]


@pytest.mark.parametrize("kind", WRITERS)
@settings(max_examples=30)
@given(rows=ROWS, packed=st.booleans(), mutations=MUTATIONS)
def test_a_damaged_file_is_read_rightly_or_refused(kind, rows, packed, mutations, folder):
    is_read_rightly_or_refused(kind, rows, packed, mutations, folder)


@pytest.mark.slow
@pytest.mark.parametrize("kind", WRITERS)
@settings(max_examples=1500)
@given(rows=ROWS, packed=st.booleans(), mutations=MUTATIONS)
def test_many_damaged_files_are_read_rightly_or_refused(kind, rows, packed, mutations, folder):
    is_read_rightly_or_refused(kind, rows, packed, mutations, folder)


@settings(max_examples=40)
@given(content=st.binary(max_size=200), kind=st.sampled_from(["jsonl", "json", "csv", "text", "parquet"]))
def test_any_bytes_are_read_or_refused(content, kind, tmp_path_factory):
    path = Path(tmp_path_factory.getbasetemp(), "any")
    path.write_bytes(content)
    entry = {"kind": kind, "path": str(path), "rows": "text", "licence": "x", "citation": "x"}
    try:
        list(read_entry("mine", ENTRY.validate_python(entry), None, ReadingTally()))
    except BadInput as error:
        assert str(error).startswith("mine: ")
