"""The format of a data set: how the rows of its files become rows of the contract, a piece of a file at a time."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa

from pipeline_core.data.chunks import Chunk
from pipeline_core.data.file_names import stem_of
from pipeline_core.data.row_checks import ValueFault

Rows = tuple[pa.Table, list[ValueFault]]


@dataclass(frozen=True)
class DataFormat:
    """A named format, as catalog entries refer to it by `shape`.

    Raises:
        ValueError: the name could not be written in a catalog, or the revision is below 1.
    """

    name: str
    needs: tuple[str, ...]
    """Columns that `rows` reads; a file without one of them is refused. Entries may map their own names to these."""
    rows: Callable[[pa.Table], Rows]
    """A table of N rows as N rows of the contract, in their order, and the faults met, by 0-based row. A ValueError,
    TypeError, LookupError or the like says that a row has another form; the row is then looked for and named."""
    unfold: Callable[[str, Chunk], Chunk] | None = None
    """Called before rows are selected, with the entry's name: a row that stands for several becomes these."""
    own_ids: bool = False
    """Ids are made of what the rows hold, not of the names of their files."""
    beside: Callable[[Sequence[Path]], list[Path]] | None = None
    """Files that `unfold` reads besides those of the entry: they count in the identity of the data."""
    revision: int = 1
    """Goes up when the same files give other rows; cached rows and results are then made anew."""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[\w.-]+", self.name):
            raise ValueError(f"{self.name!r} cannot be a data format's name: use letters, digits, `_`, `.` and `-`")
        if self.revision < 1:
            raise ValueError(f"{self.name}: a revision is a whole number from 1, not {self.revision}")


def with_subset(name: str, chunk: Chunk) -> Chunk:  # noqa: ARG001 - one form for all unfoldings
    """An unfolding for data sets in several files: a column `subset` with the file's name up to its first dot."""
    subset = pa.array([stem_of(chunk.file)] * chunk.table.num_rows, pa.string())
    return replace(chunk, table=chunk.table.append_column("subset", subset))
