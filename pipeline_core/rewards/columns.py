"""Columns of a table as lists of texts and arrays of numbers, with every value checked; messages count rows from 1."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline_core.errors import BadInput

if TYPE_CHECKING:
    from datasets import Dataset


def _column(rows: Dataset, name: str) -> Sequence[Any]:
    # plain values whatever the caller's format; datasets 4 gives a lazy column, which [:] reads
    return rows.with_format(None)[name][:]


def optional_texts(rows: Dataset, name: str) -> list[str]:
    """Texts of a column; an empty string for a missing value or a missing column."""
    return [value or "" for value in _column(rows, name)] if name in rows.column_names else [""] * len(rows)


def texts(rows: Dataset, name: str) -> list[str]:
    """Texts of a column.

    Raises:
        BadInput: a value is not a text; the message names the first such row.
    """
    values = list(_column(rows, name))
    if wrong := next((row for row, value in enumerate(values, 1) if not isinstance(value, str)), None):
        raise BadInput(f"column {name!r}, row {wrong}: {values[wrong - 1]!r} is no text")
    return values


def numbers(rows: Dataset, name: str, limits: tuple[float, float]) -> NDArray[np.float64]:
    """Numbers (N,) of a column, all finite and within `limits`.

    Raises:
        BadInput: a value is not such a number (the message names the first such row), or the column is missing.
    """
    if name not in rows.column_names:
        raise BadInput(f"the rows have no column {name!r}; they have {', '.join(rows.column_names)}")
    numbers_N, (low, high) = np.empty(len(rows)), limits
    for row, value in enumerate(_column(rows, name)):
        if isinstance(value, (str, bool)) or value is None or not np.isfinite(value):  # True would pass as 1
            raise BadInput(f"column {name!r}, row {row + 1}: {value!r} is no finite number")
        if not low <= value <= high:
            fix = "; the catalog entry's `score_range` says which scores there are" if name == "score" else ""
            raise BadInput(f"column {name!r}, row {row + 1}: {value:g} lies outside {low:g} to {high:g}{fix}")
        numbers_N[row] = value
    return numbers_N
