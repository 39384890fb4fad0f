"""Catalogs whose files a test writes: of the text of a catalog, or of one entry, `mine`."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline_core.data import catalog as module
from pipeline_core.data.catalog import Catalog, read_entries
from pipeline_core.data.sources import ReadingTally, read_entry

PAIR = {"prompt": "p", "chosen": "c", "rejected": "r"}
QUESTION = {"question": "q", "options": ["a", "b"], "label": 0, "condition": "ambiguous"}


def lines(*rows):
    """Rows as JSON lines; texts stay as they are."""
    return "\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows) + "\n"


def parquet(columns):
    """Bytes of a Parquet file."""
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), sink)
    return sink.getvalue().to_pybytes()


def rows_of(catalog, split=None):
    """The checked rows of `mine`, read without the cache."""
    return [
        row for table in read_entry("mine", catalog.entry("mine"), split, ReadingTally()) for row in table.to_pylist()
    ]


@pytest.fixture
def catalog(tmp_path, monkeypatch, root):
    """`catalog(text)` writes the text as a catalog file and gives the catalog."""

    def make(text):
        (tmp_path / "catalog.yaml").write_text(text)
        monkeypatch.setenv("EVENHAND_CATALOG", str(tmp_path / "catalog.yaml"))
        module._read_catalog.cache_clear()
        return Catalog.from_environment()

    return make


@pytest.fixture
def mine(tmp_path, monkeypatch, root):
    """`mine("jsonl", {"a.jsonl": text or bytes})` writes the files below EVENHAND_DATA and gives the catalog."""

    def make(kind, files, path=None, /, rows="preference", **more):
        for name, content in files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        entry = {"kind": kind, "path": path or next(iter(files)), "rows": rows, "licence": "x", "citation": "x"}
        (tmp_path / "catalog.yaml").write_text(json.dumps({"mine": entry | more}))  # for the command line
        monkeypatch.setenv("EVENHAND_CATALOG", str(tmp_path / "catalog.yaml"))
        module._read_catalog.cache_clear()
        return Catalog(read_entries(json.loads(json.dumps({"mine": entry | more})), "catalog.yaml"))

    return make
