"""Selects the rows that an entry takes from its files, and assigns them to splits."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from pydantic import Field, field_validator, model_validator

from pipeline_core.data.casting import as_names, plain_values, refuse_absent_columns
from pipeline_core.data.chunks import Chunk
from pipeline_core.data.entry_base import EntryModel
from pipeline_core.errors import BadInput, quoted, suggestion
from pipeline_core.files.digests import digest_of

DRAWN = "split"
"""Name of the column with the splits drawn by `split_by`."""

SeenValues = defaultdict[str, set[str]]
"""Values seen so far, by column of `pick`."""


class SplitBy(EntryModel):
    """Splits drawn by value: all rows with equal values of `column` are in the same split."""

    column: str
    """Column of the file; texts that differ only in case or spaces count as one value."""
    shares: dict[str, float] = Field(min_length=1)
    """Splits and their shares of the distinct values of the selected rows."""
    seed: int = 0
    """Seed of the draw."""

    @model_validator(mode="after")
    def _shares_are_shares(self) -> SplitBy:
        total = sum(self.shares.values())
        if min(self.shares.values()) <= 0 or abs(total - 1) > 1e-9:
            raise ValueError(f"shares: must be positive and sum to 1, not to {total:g}")
        return self

    def draw(self, values: Iterable[str | None]) -> dict[str | None, str]:
        """Split of every value, by `key_of`; None, for rows without a value, counts as a value.

        Values are sorted by a hash and cut by the shares: the order of the rows does not matter, and a few values more
        or less move only values next to a cut.
        """
        keys = sorted({key_of(value) for value in values}, key=lambda key: digest_of([self.seed, key]))
        # Sums are rounded, not shares: the last cut is then the number of values, and every value has a split.
        cuts = np.rint(np.cumsum(list(self.shares.values())) * len(keys)).astype(int)
        names = list(self.shares)
        return {key: names[int(np.searchsorted(cuts, place, side="right"))] for place, key in enumerate(keys)}


def key_of(value: str | None) -> str | None:
    """Key of a value in drawing splits: the text without differences of case and spacing."""
    return None if value is None else " ".join(value.casefold().split())


class Selection(EntryModel):
    """Settings of an entry that select rows and assign them to splits."""

    split_column: str | None = None
    """Column whose values are the splits."""
    split_by: SplitBy | None = None
    """Splits drawn by the values of a column, if no column holds them."""
    pick: dict[str, dict[str, str]] = Field({})
    """Column of the file: values whose rows are taken, as a list or as a mapping from new names to values. Other rows
    are skipped."""

    @field_validator("pick", mode="before")
    @classmethod
    def _listed_values_keep_their_names(cls, value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        return {k: _as_names(v) for k, v in value.items()}

    @model_validator(mode="after")
    def _is_unambiguous(self) -> Selection:
        if self.split_by and self.split_column:
            raise ValueError("give `split_column` or `split_by`, not both")
        for column, values in self.pick.items():
            if len(set(values.values())) < len(values):
                raise ValueError(f"pick.{column}: one value of the data has two names")
        return self

    @property
    def split_name(self) -> str | None:
        """Column of a piece that holds the splits, or None."""
        return DRAWN if self.split_by else self.split_column


def _as_names(values: Any) -> Any:
    """List of texts as a mapping of each to itself; anything else is returned unchanged, for validation."""
    is_list = isinstance(values, list | tuple) and all(isinstance(value, str) for value in values)
    return {value: value for value in values} if is_list else values


def picked(name: str, selection: Selection, chunk: Chunk, seen: SeenValues) -> Chunk:
    """Rows selected by `pick`, with values under their new names; all values are added to `seen`.

    Raises:
        BadInput: the file lacks a column that is needed.
    """
    for column, names in selection.pick.items():
        values = _names(name, chunk, column, "pick")
        seen[column].update(value for value in values if value is not None)
        name_of = {value: name for name, value in names.items()}
        chunk = chunk.with_texts(column, [None if value is None else name_of.get(value) for value in values])
        chunk = chunk.take(chunk.table[column].is_valid())
    return chunk


def drawn_splits(name: str, split_by: SplitBy, chunks: Iterable[Chunk]) -> dict[str | None, str]:
    """Split of every value in all of `chunks`, by `key_of`.

    Raises:
        BadInput: the file lacks the column, or a value in it is a list or an object.
    """
    values: set[str | None] = set()
    for chunk in chunks:
        values.update(_names(name, chunk, split_by.column, "split_by"))
    return split_by.draw(values)


def with_splits(name: str, chunk: Chunk, split_by: SplitBy, splits: Mapping[str | None, str]) -> Chunk:
    """Piece with the drawn splits as a column."""
    values = _names(name, chunk, split_by.column, "split_by")
    return chunk.with_texts(DRAWN, [splits[key_of(value)] for value in values])


def _names(name: str, chunk: Chunk, column: str, key: str) -> list[str | None]:
    """Values of a column as texts, by the rule for splits (1 and 1.0 are `1`); None for rows without a value.

    Raises:
        BadInput: the file lacks the column, or a value is a list or an object.
    """
    refuse_absent_columns([column], chunk.table, f"{name}: {chunk.file}", f"of `{key}`")
    texts, odd = as_names(chunk.table[column])
    names: list[str | None] = texts.to_pylist()
    values = plain_values(chunk.table[column]) if odd else []
    for row in odd:
        if isinstance(values[row], list | tuple | dict):
            kind = "an object" if isinstance(values[row], dict) else "a list"
            told = f"column {column!r} of `{key}` is {quoted(values[row], 60)}, {kind}; a text or a number is needed"
            raise BadInput(f"{name}: {chunk.place(row)}: {told}")
        names[row] = str(values[row])  # such as a time, or a double of over 15 digits
    return names


def refuse_absent(name: str, selection: Selection, seen: SeenValues) -> None:
    """Check, after all rows are read, that every value to pick occurred.

    Raises:
        BadInput: names a value that no row has, and the nearest values that occur.
    """
    for column, names in selection.pick.items():
        for value in names.values():
            if value not in seen[column]:
                raise BadInput(f"{name}: pick.{column}: no row has {value!r}. {suggestion(value, seen[column])}")
