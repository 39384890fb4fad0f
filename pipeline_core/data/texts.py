"""Texts of preference rows in tables of any size: read in order a piece at a time, or a single row by number.

Shape suffix: N rows of all tables together.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline_core.errors import BadInput

if TYPE_CHECKING:
    from datasets import Dataset

FIELDS = ("prompt", "chosen", "rejected")
PIECE = 2048


class RowTexts:
    """Prompt, chosen and rejected of the rows of several named tables, numbered over all tables."""

    def __init__(self, tables: Mapping[str, Dataset]) -> None:
        for name, table in tables.items():
            if missing := [column for column in FIELDS if column not in table.column_names]:
                raise BadInput(
                    f"{name}: preference rows have the columns {', '.join(FIELDS)}; {', '.join(missing)} is missing. "
                    f"Columns found: {', '.join(table.column_names)}"
                )
        self._names = list(tables)
        self._tables = {name: table.select_columns(list(FIELDS)).with_format("arrow") for name, table in tables.items()}
        self.starts = np.concatenate([[0], np.cumsum([len(table) for table in tables.values()])]).astype(np.int64)

    def __len__(self) -> int:
        return int(self.starts[-1])

    def __iter__(self) -> Iterator[tuple[str, ...]]:
        """The rows in order.

        Raises:
            BadInput: names the table and the row of a missing text.
        """
        for name, table in self._tables.items():
            row = 0
            for piece in table.iter(PIECE) if len(table) else ():
                for texts in zip(*(piece[field].to_pylist() for field in FIELDS), strict=True):
                    row += 1
                    if None in texts:
                        raise BadInput(f"{name}: row {row}: column {FIELDS[texts.index(None)]!r} is missing")
                    yield texts

    def __getitem__(self, number: int) -> tuple[str, ...]:
        name, row = self.place_of(number)
        piece = self._tables[name][row]
        return tuple(piece[field][0].as_py() for field in FIELDS)

    def place_of(self, number: int) -> tuple[str, int]:
        """Name of the table of a row, and the row's number in it."""
        table = int(np.searchsorted(self.starts, number, "right")) - 1
        return self._names[table], int(number - self.starts[table])


def digests_of(texts: Iterable[Sequence[str]], count: int) -> NDArray[np.uint64]:
    """64-bit hash of every text (a sequence of fields), (N,)."""
    # Texts of files hold no NUL, so fields cannot run into each other.
    digests = (hashlib.blake2b("\0".join(fields).encode(), digest_size=8).digest() for fields in texts)
    return np.fromiter((int.from_bytes(digest) for digest in digests), np.uint64, count)


def occurrence_of(digests_N: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Number of equal digests before each digest, (N,)."""
    order = np.argsort(digests_N, kind="stable")
    ordered = digests_N[order]
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]])) if len(ordered) else order
    counts = np.diff(np.concatenate([starts, [len(ordered)]]))
    occurrence_N = np.empty(len(ordered), np.int64)
    occurrence_N[order] = np.arange(len(ordered)) - np.repeat(starts, counts)
    return occurrence_N
