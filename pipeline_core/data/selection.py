"""Which rows of its files an entry takes, and how they fall into splits."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from pipeline_core.data.casting import as_names, named_columns, plain_values
from pipeline_core.data.chunks import Chunk
from pipeline_core.errors import BadInput, quoted, suggestion
from pipeline_core.files.digests import digest_of

CONFIG = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)
DRAWN = "split"
"""Column that holds the splits drawn by `split_by`."""

SeenValues = defaultdict[str, set[str]]
"""Values met so far of every column that rows are picked by."""


class SplitBy(BaseModel):
    """Splits drawn by value: all rows with one value of `column` stand in the same split."""

    model_config = CONFIG

    column: str
    """Column of the file; texts that differ in case or spaces alone count as one value."""
    shares: dict[str, float] = Field(min_length=1)
    """Splits and their shares of the values of the rows that are taken."""
    seed: int = 0
    """Seed of the draw."""

    @model_validator(mode="after")
    def _shares_are_shares(self) -> SplitBy:
        total = sum(self.shares.values())
        if min(self.shares.values()) <= 0 or abs(total - 1) > 1e-9:
            raise ValueError(f"shares: must be positive and sum to 1, not to {total:g}")
        return self

    def draw(self, values: Iterable[str | None]) -> dict[str | None, str]:
        """The split of every value, by `key_of`; None, for rows without a value, is one of its own.

        Values are ordered by a hash and cut by the shares: the order of the rows does not matter, and with a few values
        more or less only those next to a cut move.
        """
        keys = sorted({key_of(value) for value in values}, key=lambda key: digest_of([self.seed, key]))
        cuts = np.rint(np.cumsum(list(self.shares.values())) * len(keys)).astype(int)
        names = list(self.shares)
        return {key: names[int(np.searchsorted(cuts, place, side="right"))] for place, key in enumerate(keys)}


def key_of(value: str | None) -> str | None:
    """What makes two values one when splits are drawn: the text without its case and spacing."""
    return None if value is None else " ".join(value.casefold().split())


class Selection(BaseModel):
    """The part of an entry that says which rows are taken and in which split each stands."""

    model_config = CONFIG

    split_column: str | None = None
    """Column whose values are the splits."""
    split_by: SplitBy | None = None
    """Splits drawn by the values of a column, where no column tells them."""
    pick: dict[str, dict[str, str]] = {}
    """Column of the file: the values whose rows are taken, listed, or each after the name it gets. Others are passed
    over."""

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
        """Column of a piece that holds the splits."""
        return DRAWN if self.split_by else self.split_column


def _as_names(values: Any) -> Any:
    """A list of texts as a mapping of each to itself; anything else is left to be refused."""
    is_list = isinstance(values, list | tuple) and all(isinstance(value, str) for value in values)
    return {value: value for value in values} if is_list else values


def picked(name: str, selection: Selection, chunk: Chunk, seen: SeenValues) -> Chunk:
    """The rows to take, with picked values under their new names; values met are added to `seen`.

    Raises:
        BadInput: the file lacks a column that is needed.
    """
    for column, names in selection.pick.items():
        chunk = _picked(chunk, column, names, _names(name, chunk, column, "pick"), seen[column])
    return chunk


def drawn_splits(name: str, split_by: SplitBy, chunks: Iterable[Chunk]) -> dict[str | None, str]:
    """The split of every value in all of `chunks`, by `key_of`.

    Raises:
        BadInput: the file lacks the column, or a value in it is a list or an object.
    """
    found: set[str | None] = set()
    for chunk in chunks:
        found.update(_names(name, chunk, split_by.column, "split_by"))
    return split_by.draw(found)


def with_splits(name: str, chunk: Chunk, split_by: SplitBy, splits: Mapping[str | None, str]) -> Chunk:
    """A piece with the drawn splits as a column."""
    values = _names(name, chunk, split_by.column, "split_by")
    return _with(chunk, DRAWN, [splits[key_of(value)] for value in values])


def _picked(chunk: Chunk, column: str, names: Mapping[str, str], values: list[str | None], seen: set[str]) -> Chunk:
    seen.update(value for value in values if value is not None)
    name_of = {value: name for name, value in names.items()}
    chunk = _with(chunk, column, [None if value is None else name_of.get(value) for value in values])
    return chunk.take(chunk.table[column].is_valid().combine_chunks())


def _names(name: str, chunk: Chunk, column: str, key: str) -> list[str | None]:
    """A column's values as texts, by the rule for splits (1 and 1.0 are `1`); None for rows without a value.

    Raises:
        BadInput: the file lacks the column, or a value is a list or an object.
    """
    if column not in chunk.table.column_names:
        found = named_columns(chunk.table)
        raise BadInput(f"{name}: {chunk.file}: missing column {column!r} of `{key}`; columns found: {found}")
    texts, odd = as_names(chunk.table[column])
    names: list[str | None] = texts.to_pylist()
    values = plain_values(chunk.table[column]) if odd else []
    for row in odd:
        if isinstance(values[row], list | tuple | dict):
            kind = "an object" if isinstance(values[row], dict) else "a list"
            told = f"column {column!r} of `{key}` is {quoted(values[row], 60)}, {kind}; a text or a number is needed"
            raise BadInput(f"{name}: {chunk.place(row)}: {told}")
        names[row] = str(values[row])
    return names


def _with(chunk: Chunk, column: str, values: list[str | None]) -> Chunk:
    columns = {name: chunk.table[name] for name in chunk.table.column_names}
    return replace(chunk, table=pa.table(columns | {column: pa.array(values, pa.string())}))


def refuse_absent(name: str, selection: Selection, seen: SeenValues) -> None:
    """Check, when all is read, that every value to pick was met.

    Raises:
        BadInput: a value that no row has, with the nearest that there are.
    """
    for column, names in selection.pick.items():
        for value in names.values():
            if value not in seen[column]:
                raise BadInput(f"{name}: pick.{column}: no row has {value!r}. {suggestion(value, seen[column])}")
