"""Per-row columns for the quality report: domain number, lengths and label, and row counts by group.

Shape suffix: N rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline_core.data.groups import NONE
from pipeline_core.errors import BadInput

if TYPE_CHECKING:
    from datasets import Dataset

PIECE = 8192
NEEDED = ("chosen", "rejected", "domain", "group", "template_id", "label")


@dataclass(frozen=True)
class RowColumns:
    """Columns of N rows: index into `domains`, lengths in characters, labels (NaN if missing), and row counts."""

    domains: list[str]
    domain_N: NDArray[np.int32]
    chosen_N: NDArray[np.int32]
    rejected_N: NDArray[np.int32]
    label_N: NDArray[np.float64]
    people: Counter[tuple[str, str, str]]
    """Row counts by domain, group and template."""


def columns_of(tables: Mapping[str, Dataset]) -> RowColumns:
    """Read the columns of all tables in one pass, `PIECE` rows at a time.

    Raises:
        BadInput: there are no rows, or a label is not a finite number.
    """
    people: Counter[tuple[str, str, str]] = Counter()
    numbers: dict[str, int] = {}
    columns: list[tuple[Any, ...]] = []
    for name, start, piece in _pieces(tables):
        domains = _texts(piece, "domain")
        for domain, groups, template in zip(domains, _groups(piece), _texts(piece, "template_id"), strict=True):
            people.update((domain, group, template) for group in groups)
        lengths = (pc.utf8_length(piece[column]).to_numpy().astype(np.int32) for column in ("chosen", "rejected"))
        codes = np.array([numbers.setdefault(domain, len(numbers)) for domain in domains], np.int32)
        columns.append((codes, *lengths, _labels(piece, name, start)))
    if not columns:
        raise BadInput(f"{', '.join(tables)}: there are no rows to measure")
    domain_N, chosen_N, rejected_N, label_N = (np.concatenate(column) for column in zip(*columns, strict=True))
    return RowColumns(list(numbers), domain_N, chosen_N, rejected_N, label_N, people)


def _pieces(tables: Mapping[str, Dataset]) -> Iterator[tuple[str, int, pa.Table]]:
    """Tuples of table name, index of the piece's first row, and the piece."""
    for name, rows in tables.items():
        table = rows.select_columns([column for column in NEEDED if column in rows.column_names]).with_format("arrow")
        for number, piece in enumerate(table.iter(PIECE)):
            yield name, number * PIECE, piece


def _texts(piece: pa.Table, column: str) -> list[str]:
    if column not in piece.column_names:
        return [NONE] * piece.num_rows
    return [value or NONE for value in piece[column].to_pylist()]


def _groups(piece: pa.Table) -> list[list[str]]:
    if "group" not in piece.column_names:
        return [[NONE]] * piece.num_rows
    values = piece["group"].to_pylist()
    # a set: a group named twice in a row counts once
    return [[value] if isinstance(value, str) and value else sorted({*(value or ())}) or [NONE] for value in values]


def _labels(piece: pa.Table, name: str, start: int) -> NDArray[np.float64]:
    """Labels; NaN for null.

    Raises:
        BadInput: a label is NaN, infinite or not a number; the message names its row.
    """
    # null in every row: the type is null, which is no number
    if "label" not in piece.column_names or pa.types.is_null(piece["label"].type):
        return np.full(piece.num_rows, np.nan)
    column = piece["label"]
    if not (pa.types.is_floating(column.type) or pa.types.is_integer(column.type)):
        raise BadInput(f"{name}: column 'label' holds {column.type}, not numbers")
    labels = pc.cast(column, pa.float64())
    # null is no fault: the row has no label
    wrong = pc.indices_nonzero(pc.fill_null(pc.invert(pc.is_finite(labels)), False))
    if len(wrong):
        row = wrong[0].as_py()
        raise BadInput(f"{name}: row {start + row + 1}: column 'label' is {labels[row].as_py()}, no finite number")
    return np.asarray(pc.fill_null(labels, float("nan")).to_numpy(), dtype=np.float64)
