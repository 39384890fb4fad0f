"""Refuses rows that their ids do not tell apart, and says how many rows were left out."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from pipeline_core.data.file_entries import Files
from pipeline_core.data.sources import ReadingTally, read_pieces
from pipeline_core.errors import BadInput, quoted


def told_left_out(tally: ReadingTally) -> str:
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
    for chunk, rows in read_pieces(name, entry, split, ReadingTally()):
        found = pc.indices_nonzero(pc.equal(rows["id"], double)).to_pylist()
        places += [chunk.place(row) for row in found]
        if len(places) > 1:
            break
    raise BadInput(
        f"{name}: id {quoted(double.as_py(), 200)} occurs more than once ({' and '.join(places[:2])}); "
        "ids tell rows apart"
    )
