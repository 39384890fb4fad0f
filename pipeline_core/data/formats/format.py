"""Data formats: converters of file rows to rows of the contract, a piece of a file at a time."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa

from pipeline_core.data.chunks import Chunk
from pipeline_core.data.file_names import stem_of
from pipeline_core.data.row_checks import ValueFault
from pipeline_core.errors import BadInput

Rows = tuple[pa.Table, list[ValueFault]]


@dataclass(frozen=True)
class DataFormat:
    """A named data format; catalog entries select it by `shape`.

    Raises:
        ValueError: the name has characters that a catalog does not allow, or the revision is below 1.
    """

    name: str
    needs: tuple[str, ...]
    """Columns that `rows` reads; a file without one of them is refused. Entries may map their own names to these."""
    rows: Callable[[pa.Table], Rows]
    """Converts a table of N rows to N rows of the contract, in their order, and lists faults by 0-based row. A
    ValueError, TypeError, LookupError or the like means that a row has another form; the caller names the row."""
    unfold: Callable[[str, Chunk], Chunk] | None = None
    """Expands rows that stand for several; called with the entry's name before rows are selected."""
    own_ids: bool = False
    """True if ids are made from the content of rows, not from file names."""
    beside: Callable[[Sequence[Path]], list[Path]] | None = None
    """Lists the files that `unfold` reads besides those of the entry; they enter the identity of the data."""
    revision: int = 1
    """Version of the format; increased when the same files give other rows. Cached rows and results are made again."""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[\w.-]+", self.name):
            raise ValueError(f"{self.name!r} cannot be a data format's name: use letters, digits, `_`, `.` and `-`")
        if self.revision < 1:
            raise ValueError(f"{self.name}: a revision is a whole number from 1, not {self.revision}")


def with_subset(name: str, chunk: Chunk) -> Chunk:
    """Add a column `subset` with the file's name up to its first dot, for data sets in several files.

    Raises:
        BadInput: the file has a column of that name.
    """
    if "subset" in chunk.table.column_names:
        raise BadInput(f"{name}: {chunk.file} has a column 'subset', which this format fills with the file's name")
    subset = pa.array([stem_of(chunk.file)] * chunk.table.num_rows, pa.string())
    return replace(chunk, table=chunk.table.append_column("subset", subset))
