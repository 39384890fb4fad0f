"""Rows of a file of predictions, each with a text for its place in the file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline_core.data.casting import plain_values
from pipeline_core.data.files import read_chunks
from pipeline_core.errors import BadInput

FORMATS = {".jsonl": "jsonl", ".json": "json", ".csv": "csv", ".parquet": "parquet"}


def format_of(file: Path) -> str:
    """Format of a file by the ending of its name, with or without `.gz`.

    Raises:
        BadInput: the ending is none of `FORMATS`.
    """
    suffix = Path(file.name.lower().removesuffix(".gz")).suffix
    if suffix not in FORMATS:
        raise BadInput(f"{file}: its name must end in one of {', '.join(FORMATS)} (or that and .gz), not in {suffix!r}")
    return FORMATS[suffix]


def read_rows(file: Path, name: str) -> Iterator[tuple[dict[str, Any], str]]:
    """Every row and the text for its place in the file.

    Raises:
        BadInput: the file is damaged (with the line), or has no rows.
    """
    for chunk in read_chunks(file, format_of(file), name):
        columns = {column: plain_values(chunk.table[column]) for column in chunk.table.column_names}
        for row in range(chunk.table.num_rows):
            yield {column: values[row] for column, values in columns.items()}, chunk.place(row)
