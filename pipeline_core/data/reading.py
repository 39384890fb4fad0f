"""Loads, identifies, checks and describes catalog entries."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from pipeline_core.data.contract import CONTRACT_VERSION, READER_VERSION, SCHEMAS
from pipeline_core.data.duplicate_ids import refuse_double_ids, told_left_out
from pipeline_core.data.entries import CatalogEntry, HubEntry, SandboxEntry
from pipeline_core.data.file_digests import digest_of_unchanged
from pipeline_core.data.file_entries import Files
from pipeline_core.data.file_names import identities, stems
from pipeline_core.data.file_search import files_of, root_of, stems_of
from pipeline_core.data.formats.known import format_identity
from pipeline_core.data.samples import sample_rows, strata_of
from pipeline_core.data.sources import ReadingTally, Wider, read_entry, read_pieces
from pipeline_core.data.table_cache import cache_folder, dataset_from
from pipeline_core.data.tables import rows_as_table
from pipeline_core.errors import BadInput, UnknownName
from pipeline_core.files.digests import digest_of
from pipeline_core.sandbox import parts as sandbox

if TYPE_CHECKING:
    from datasets import Dataset

    from pipeline_core.data.refs import DataRef


def load_rows(ref: DataRef, entry: CatalogEntry) -> Dataset:
    """Rows of a reference, after sampling."""
    split = split_of(ref, entry)
    if isinstance(entry, SandboxEntry):
        return _sampled(ref, _generated(ref.entry, entry, split, ref.seed))
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
        raise _no_rows(ref, split, tally)
    return _sampled(ref, dataset)


def _cache_key(ref: DataRef, entry: CatalogEntry) -> str:
    """Cache key of the checked rows, including the reader's version, which is no part of the data's identity."""
    return digest_of({**identity_of(ref, entry), "reader": READER_VERSION})


def known_rows(ref: DataRef, entry: CatalogEntry) -> int | None:
    """Number of rows of a reference if known without reading its files, else None."""
    if ref.rows is not None:
        return ref.rows
    try:
        at_hand = isinstance(entry, SandboxEntry) or _is_cached(ref, entry)
        return load_rows(ref, entry).num_rows if at_hand else None
    except BadInput:  # the caller only asks; loading reports the fault
        return None


def _is_cached(ref: DataRef, entry: CatalogEntry) -> bool:
    return (cache_folder() / f"{_cache_key(ref, entry)}.arrow").exists()


def _generated(name: str, entry: SandboxEntry, split: str | None, seed: int) -> Dataset:
    from datasets import Dataset

    return Dataset(rows_as_table(sandbox.generate(entry.part, split, seed), entry.rows, name))


def _no_rows(ref: DataRef, split: str | None, tally: ReadingTally) -> BadInput:
    if split is not None and tally.splits:
        return UnknownName("split", split, tally.splits, where=ref.entry)
    return BadInput(f"{ref.entry}: no rows{told_left_out(tally)}")


def split_of(ref: DataRef, entry: CatalogEntry) -> str | None:
    """Split of a reference, or the entry's default.

    Raises:
        UnknownName: the entry has no such split.
    """
    split = entry.default_split if ref.split is None else ref.split
    known = list(entry.splits) if isinstance(entry, SandboxEntry) else entry.named_splits()
    # Only reading tells a column's values.
    if known is None and not isinstance(entry, SandboxEntry) and entry.split_name:
        return split
    if split is None:
        return known[0] if known and isinstance(entry, SandboxEntry) else None
    if split not in (known or []):
        raise UnknownName("split", split, known or [], where=ref.entry)
    return split


def known_splits(entry: CatalogEntry) -> list[str]:
    """Splits of an entry that are known without reading its files."""
    if isinstance(entry, SandboxEntry):
        return list(entry.splits)
    return [*(entry.named_splits() or (entry.split_by.shares if entry.split_by else entry.splits))]


def identity_of(ref: DataRef, entry: CatalogEntry) -> dict[str, Any]:
    """Identity of the rows before sampling, as JSON: everything that determines them."""
    split = split_of(ref, entry)
    identity = {"contract": CONTRACT_VERSION, "name": ref.entry, "entry": entry.definition(), "split": split}
    if isinstance(entry, SandboxEntry):
        return {**identity, "version": sandbox.VERSION, "words": _words(), "seed": ref.seed}
    identity |= format_identity(entry.shape)
    if isinstance(entry, HubEntry):
        from pipeline_core.data.hub import commit_of

        return {**identity, "commit": commit_of(ref.entry, entry)}
    root = root_of(ref.entry, entry)
    files = files_of(ref.entry, entry, split)
    read = [*files, *(entry.data_format.beside(files) if entry.data_format.beside else ())]
    if entry.join:
        read.append(root / entry.join.path)
    names = identities(read, root)
    digests = {names[path]: digest_of_unchanged(path) for path in read}
    return {**identity, "files": digests, **_stems(ref.entry, entry, split, files, names)}


def _stems(
    name: str, entry: Files, split: str | None, files: Sequence[Path], names: Mapping[Path, str]
) -> dict[str, Any]:
    """Id prefixes of files that depend on files of other splits; empty if there are none, so that identities stay."""
    if split is None or entry.data_format.own_ids:
        return {}
    alone, actual = stems(files, root_of(name, entry)), stems_of(name, entry, split)
    other = {names[file]: actual[file] for file in files if actual[file] != alone[file]}
    return {"stems": other} if other else {}


@functools.cache
def _words() -> dict[str, str]:
    """Digests of the sandbox's word files: edited words give other data, even without a new version."""
    folder = resources.files("data_catalog") / "sandbox"
    files = sorted(folder.iterdir(), key=lambda file: file.name)
    return {file.name: digest_of(file.read_text(encoding="utf-8")) for file in files if file.name.endswith(".yaml")}


def sample_of(ref: DataRef) -> dict[str, Any]:
    """Settings that determine the sample; empty if all rows are taken."""
    if ref.rows is None and ref.per_stratum is None:
        return {}
    return ref.model_dump(mode="json", include={"rows", "stratify", "per_stratum", "seed"})


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


def _card(name: str, entry: Files | CatalogEntry) -> str:
    card = resources.files("data_catalog") / "cards" / (entry.card or f"{name}.md")
    return card.read_text(encoding="utf-8") if card.is_file() else ""


def first_rows(dataset: Dataset, count: int) -> pa.Table:
    """First `count` rows of a dataset as Arrow."""
    table: pa.Table = dataset.select(range(min(count, dataset.num_rows))).with_format("arrow")[:]
    return table
