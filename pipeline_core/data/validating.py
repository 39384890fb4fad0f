"""Reads every row of an entry and says what is wrong with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline_core import sandbox
from pipeline_core.data.contract import rows_as_table
from pipeline_core.data.control_names import Marks
from pipeline_core.data.entries import Entry, Files, SandboxEntry
from pipeline_core.data.sources import Tally, files_of, read_entry, read_pieces, refuse_absent_kept
from pipeline_core.errors import BadInput, quoted


def validate_entry(name: str, entry: Entry, model: Path | None = None) -> dict[str, Any]:
    """Read every row; faults are returned, not raised. An entry or a split without rows has one.

    `named` tells in how many rows texts name control tokens: well-known ones, and those of the tokenizer in the folder
    `model`.

    Raises:
        BadInput: the files are not at hand.
    """
    marks = Marks(model)
    if isinstance(entry, SandboxEntry):
        counts = {}
        for split in entry.splits or (None,):
            table = rows_as_table(sandbox.generate(entry.part, split, 0), entry.rows, name)
            counts[split or "all"] = table.num_rows
            marks.look(table)
        made = {"entry": name, "rows": sum(counts.values()), "splits": counts, "skipped": {}, "faults": [], "ok": True}
        return made | {"named": marks.rows}
    splits = entry.named_splits() or (None,)
    for split in splits:
        files_of(name, entry, split)  # data that are not at hand are no faulty data: this is raised
    tally = Tally()
    try:
        for split in splits:
            _read(name, entry, split, tally, marks)
        refuse_absent_kept(name, entry, tally)
    except BadInput as error:
        tally.faults.append(str(error))
    return {
        "entry": name,
        "rows": tally.rows,
        "splits": dict(sorted(tally.splits.items())) | ({"(no split)": tally.unnamed} if tally.unnamed else {}),
        "skipped": dict(sorted(tally.skipped.items())),
        "named": marks.rows,
        "faults": tally.faults,
        "faulty": tally.faulty,
        "ok": not tally.faults,
    }


def _read(name: str, entry: Files, split: str | None, tally: Tally, marks: Marks) -> None:
    before, tally.schema = tally.rows, None
    ids = []
    for table in read_entry(name, entry, split, tally, strict=False):
        marks.look(table)
        ids.append(table["id"])
    if split is not None:
        tally.splits[split] += tally.rows - before
    if tally.faults:
        return
    if tally.rows == before:
        raise BadInput(f"{name}: no rows{f' in split {split!r}' if split else ''}{told_left_out(tally)}")
    if entry.split_name and entry.default_split and not tally.splits[entry.default_split]:
        raise BadInput(f"{name}: no rows in split {entry.default_split!r}, the default{told_left_out(tally)}")
    refuse_double_ids(name, entry, split, pa.table({"id": pa.chunked_array([c for id_ in ids for c in id_.chunks])}))


def told_left_out(tally: Tally) -> str:
    """How many rows were left out, for a message about there being none."""
    count = sum(tally.skipped.values())
    return f"; {count} left out ({', '.join(sorted(tally.skipped))})" if count else ""


def refuse_double_ids(name: str, entry: Files, split: str | None, table: pa.Table) -> None:
    """Check that ids tell the rows of a split apart.

    Raises:
        BadInput: naming an id and the places of the first two rows that have it.
    """
    ids = table["id"]
    if pc.count_distinct(ids).as_py() == len(ids):
        return
    counts = pc.value_counts(ids)
    double = counts.filter(pc.greater(counts.field("counts"), 1)).field("values")[0]
    places = []
    for chunk, rows in read_pieces(name, entry, split, Tally()):
        found = pc.indices_nonzero(pc.equal(rows["id"], double)).to_pylist()
        places += [chunk.place(row) for row in found]
        if len(places) > 1:
            break
    raise BadInput(
        f"{name}: id {quoted(double.as_py(), 200)} occurs more than once ({' and '.join(places[:2])}); "
        "ids tell rows apart"
    )
