"""Reads CSV exactly: every value is text, a quote that never closes or a row of another length is a fault."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from pipeline_core.data.opened import any_lines
from pipeline_core.errors import BadInput, quoted

csv.field_size_limit(2**31 - 1)  # of the process: by default a text over 131,072 characters is refused


def csv_rows(path: Path, where: str) -> Iterator[list[str]]:
    """The header, then every row; lines without anything are passed over.

    Raises:
        BadInput: malformed CSV, several columns of one name, or a row with more or fewer values than the header; begins
            with `where` and tells the row and the line it ends in.
    """
    reader = csv.reader((line for _, line in any_lines(path, where)), strict=True)
    header: list[str] = []
    number = 0
    try:
        for row in reader:
            if not header:
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
