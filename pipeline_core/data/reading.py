"""Loads, checks and describes catalog entries."""

from __future__ import annotations

import functools
from importlib import resources
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline_core.data.contract import READER_VERSION, SCHEMAS
from pipeline_core.data.entries import CatalogEntry, HubEntry, SandboxEntry
from pipeline_core.data.file_entries import Files
from pipeline_core.data.file_search import files_of
from pipeline_core.data.identity import identity_of, split_of
from pipeline_core.data.refs import DataRef
from pipeline_core.data.samples import sample_rows, strata_of
from pipeline_core.data.sources import ReadingTally, Wider, read_entry, read_pieces
from pipeline_core.data.table_cache import dataset_from, table_file
from pipeline_core.data.tables import rows_as_table
from pipeline_core.errors import BadInput, UnknownName, quoted
from pipeline_core.files.digests import digest_of
from pipeline_core.sandbox import parts as sandbox

if TYPE_CHECKING:
    from datasets import Dataset


def load_rows(ref: DataRef, entry: CatalogEntry) -> Dataset:
    """Rows of a reference, after sampling."""
    split = split_of(ref, entry)
    if isinstance(entry, SandboxEntry):
        from datasets import Dataset

        rows = sandbox.generate(entry.part, split, ref.seed)
        return _sampled(ref, Dataset(rows_as_table(rows, entry.rows, ref.entry)))
    check = functools.partial(refuse_double_ids, ref.entry, entry, split)
    key, schema = _cache_key(ref, entry), None
    while True:
        tally = ReadingTally(schema=schema)
        try:
            dataset = dataset_from(key, read_entry(ref.entry, entry, split, tally), check)
            break
        except Wider as found:  # every reading widens the schema, so the loop ends
            schema = found.schema
    if not dataset.num_rows:
        if split is not None and tally.splits:
            raise UnknownName("split", split, tally.splits, where=ref.entry)
        raise BadInput(f"{ref.entry}: no rows{tally.told_left_out()}")
    return _sampled(ref, dataset)


def _cache_key(ref: DataRef, entry: CatalogEntry) -> str:
    """Cache key of the checked rows, including the reader's version, which is no part of the data's identity."""
    return digest_of({**identity_of(ref, entry), "reader": READER_VERSION})


def known_rows(ref: DataRef, entry: CatalogEntry) -> int | None:
    """Number of rows of a reference if known without reading its files, else None."""
    if ref.rows is not None:
        return ref.rows
    try:
        at_hand = isinstance(entry, SandboxEntry) or table_file(_cache_key(ref, entry)).exists()
        return load_rows(ref, entry).num_rows if at_hand else None
    except BadInput:  # the caller only asks; loading reports the fault
        return None


def _sampled(ref: DataRef, dataset: Dataset) -> Dataset:
    if unknown := [column for column in ref.stratify if column not in dataset.column_names]:
        raise UnknownName("column", unknown[0], dataset.column_names, where=f"{ref.entry}.stratify")
    if ref.rows is None and ref.per_stratum is None:
        return dataset
    if ref.rows is not None and ref.rows > dataset.num_rows:
        raise BadInput(f"{ref.entry}: a sample of {ref.rows} rows was asked for and there are {dataset.num_rows}")
    columns = {column: dataset[column][:] for column in ref.stratify}  # a column of datasets 5 is lazy
    strata = strata_of(columns, dataset.num_rows)
    return dataset.select(sample_rows(strata, ref.rows, ref.per_stratum, ref.seed))


def refuse_double_ids(name: str, entry: Files, split: str | None, table: pa.Table) -> None:
    """Check that every id occurs once in a split.

    Raises:
        BadInput: names a repeated id and the places of its first two rows.
    """
    ids = table["id"]
    if pc.count_distinct(ids).as_py() == len(ids):
        return
    counts = pc.value_counts(ids)
    double = counts.filter(pc.greater(counts.field("counts"), 1)).field("values")[0]
    places = []
    for chunk, rows in read_pieces(name, entry, split, ReadingTally()):  # read again, as tables keep no lines
        matches = pc.indices_nonzero(pc.equal(rows["id"], double)).to_pylist()
        places += [chunk.place(row) for row in matches]
        if len(places) > 1:
            break
    raise BadInput(
        f"{name}: id {quoted(double.as_py(), 200)} occurs more than once ({' and '.join(places[:2])}); "
        "ids tell rows apart"
    )


def left_out(ref: DataRef, entry: CatalogEntry) -> dict[str, int]:
    """Number of rows of the split that loading leaves out, by fault; reads files only if the entry has `skip`."""
    if isinstance(entry, SandboxEntry) or not entry.skip:
        return {}
    tally = ReadingTally()
    for _ in read_pieces(ref.entry, entry, split_of(ref, entry), tally):
        pass
    return dict(sorted(tally.skipped.items()))


def describe_entry(name: str, entry: CatalogEntry) -> dict[str, Any]:
    """Facts about an entry, and the availability of its rows."""
    facts = {
        "entry": name,
        "kind": entry.kind,
        "rows": entry.rows,
        "title": entry.title,
        "licence": entry.licence,
        "citation": entry.citation,
        "columns": list(SCHEMAS[entry.rows].names),
        "default_split": entry.default_split,
        "card": _card(name, entry),
    }
    return {**facts, **_whereabouts(name, entry)}


def _whereabouts(name: str, entry: CatalogEntry) -> dict[str, Any]:
    if isinstance(entry, SandboxEntry):
        return {"splits": list(entry.splits), "available": True, "pinned": True, "note": ""}
    splits = entry.named_splits() or list(entry.split_by.shares if entry.split_by else [])
    if isinstance(entry, HubEntry):
        from pipeline_core.data.hub import known_commit

        commit = known_commit(entry)  # not `commit_of`, which would pin the entry
        note = "" if entry.revision else "not pinned: the newest commit at first use is taken, recorded and kept"
        return {"splits": splits, "repo": entry.repo, "commit": commit, "pinned": bool(entry.revision), "note": note}
    try:
        files = files_of(name, entry, None)
    except BadInput as error:
        return {"splits": splits, "available": False, "pinned": True, "note": str(error)}
    return {"splits": splits, "available": True, "pinned": True, "files": [str(path) for path in files], "note": ""}


def _card(name: str, entry: CatalogEntry) -> str:
    card = resources.files("data_catalog") / "cards" / (entry.card or f"{name}.md")
    return card.read_text(encoding="utf-8") if card.is_file() else ""


def first_rows(dataset: Dataset, count: int) -> pa.Table:
    """First `count` rows of a dataset as Arrow."""
    table: pa.Table = dataset.select(range(min(count, dataset.num_rows))).with_format("arrow")[:]
    return table
