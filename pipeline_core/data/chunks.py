"""A piece of a file: consecutive rows as Arrow, with the number of every row in the file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline_core.data.plain_rows import UnfitValue, table_of
from pipeline_core.errors import BadInput

CHUNK_ROWS = 8192


@dataclass(frozen=True)
class Chunk:
    """Consecutive rows of a file; `numbers` are their 1-based line (JSON lines) or row numbers, `unit` the word.

    `stem` is the prefix of ids made from the numbers.
    """

    table: pa.Table
    file: Path
    numbers: np.ndarray
    unit: str = "row"
    stem: str = ""

    def take(self, mask: Any) -> Chunk:
        """Rows for which `mask` (Arrow booleans) is true."""
        numbers = self.numbers[np.asarray(mask.to_numpy(zero_copy_only=False), dtype=bool)]
        return replace(self, table=self.table.filter(mask), numbers=numbers)

    def with_texts(self, column: str, values: Any) -> Chunk:
        """Piece with a column of texts, in the place of an earlier one of that name."""
        columns = {name: self.table[name] for name in self.table.column_names}
        return replace(self, table=pa.table(columns | {column: pa.array(values, pa.string())}))

    def place(self, row: int) -> str:
        """File and line or row number of a row of the table, for a message."""
        return f"{self.file}, {self.unit} {self.numbers[row]}"


def chunk_of(rows: Sequence[Mapping[str, Any]], path: Path, where: str, numbers: Sequence[int], unit: str) -> Chunk:
    """Plain rows as a piece of a file.

    Raises:
        BadInput: a value cannot be stored in a table; begins with `where`, names the row and the column.
    """
    try:
        return Chunk(counted(table_of(rows), len(rows)), path, np.asarray(numbers), unit)
    except UnfitValue as fault:
        raise BadInput(f"{where}, {unit} {numbers[fault.row]}: {fault.told}") from None


def counted(table: pa.Table, rows: int) -> pa.Table:
    """`table`, with an unnamed column if it has none: Arrow does not keep the row count of a table without columns."""
    return table if table.column_names or not rows else pa.table({"": pa.nulls(rows)})
