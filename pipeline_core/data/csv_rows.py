"""Reads CSV strictly: every value is text; an unclosed quote or a row of another length is a fault."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from pipeline_core.data.opened import any_lines
from pipeline_core.errors import BadInput, quoted

csv.field_size_limit(2**31 - 1)  # for the whole process; the default refuses texts over 131,072 characters


def csv_rows(path: Path, where: str) -> Iterator[list[str]]:
    """Yield the header, then every row; empty lines are skipped.

    Raises:
        BadInput: malformed CSV, several columns of one name, or a row with more or fewer values than the header; begins
            with `where` and names the row and its last line.
    """
    # Not Arrow's reader: its thread reads ahead and, within a Python file as Python ends, aborts the process.
    # `strict`: otherwise `"q"z` is read as `qz`, and an open quote takes the rest of the file.
    reader = csv.reader((line for _, line in any_lines(path, where)), strict=True)
    header: list[str] = []
    number = 0
    try:
        for row in reader:
            if not header:  # blank lines before the header are skipped too
                header = _checked(row, where)
            elif row:
                number += 1
                if len(row) != len(header):
                    counts = f"holds {len(row)} values, and the header names {len(header)} columns"
                    raise BadInput(f"{where}, row {number} (line {reader.line_num}): {counts}")
            if row:
                yield row
    except csv.Error as error:
        raise BadInput(f"{where}, row {number + 1} (line {reader.line_num}): malformed CSV: {error}") from None


def _checked(header: list[str], where: str) -> list[str]:
    if twice := [column for column in header if header.count(column) > 1]:
        raise BadInput(f"{where}: several columns are called {quoted(twice[0], 200)}")
    return header
