"""Refuses rows with equal ids; also a note on the rows left out, for messages."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from pipeline_core.data.file_entries import Files
from pipeline_core.data.sources import ReadingTally, read_pieces
from pipeline_core.errors import BadInput, quoted


def told_left_out(tally: ReadingTally) -> str:
    """Addition to a message: number and faults of rows left out; empty if none."""
    count = sum(tally.skipped.values())
    return f"; {count} left out ({', '.join(sorted(tally.skipped))})" if count else ""


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
