"""Which rows of its files an entry takes, and how they fall into splits."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from pipeline_core.canonical import digest_of
from pipeline_core.catalog.files import Chunk
from pipeline_core.errors import BadInput, suggestion
from pipeline_core.records.casting import plain_values

CONFIG = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)
DRAWN = "split"
"""Column that holds the splits drawn by `split_by`."""

Seen = defaultdict[str, set[str]]
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

    def draw(self, values: Iterable[Any]) -> dict[str, str]:
        """The split of every value, by `key_of`.

        Values are ordered by a hash and cut by the shares: the order of the rows does not matter, and with a few values
        more or less only those next to a cut move.
        """
        keys = sorted({key_of(value) for value in values}, key=lambda key: digest_of([self.seed, key]))
        cuts = np.rint(np.cumsum(list(self.shares.values())) * len(keys)).astype(int)
        names = list(self.shares)
        return {key: names[int(np.searchsorted(cuts, place, side="right"))] for place, key in enumerate(keys)}


def key_of(value: Any) -> str:
    """What makes two values one when splits are drawn: the text without its case and spacing."""
    return " ".join(str(value).casefold().split())


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


def picked(name: str, selection: Selection, chunk: Chunk, seen: Seen) -> Chunk:
    """The rows to take, with picked values under their new names; values met are added to `seen`.

    Raises:
        BadInput: the file lacks a column that is needed.
    """
    for column, names in selection.pick.items():
        chunk = _picked(chunk, column, names, _values(name, chunk, column, "pick"), seen[column])
    return chunk


def drawn_splits(name: str, split_by: SplitBy, chunks: Iterable[Chunk]) -> dict[str, str]:
    """The split of every value in all of `chunks`, by `key_of`.

    Raises:
        BadInput: the file lacks the column.
    """
    return split_by.draw({value for chunk in chunks for value in _values(name, chunk, split_by.column, "split_by")})


def with_splits(chunk: Chunk, split_by: SplitBy, splits: Mapping[str, str]) -> Chunk:
    """A piece with the drawn splits as a column."""
    return _with(chunk, DRAWN, [splits[key_of(value)] for value in plain_values(chunk.table[split_by.column])])


def _picked(chunk: Chunk, column: str, names: Mapping[str, str], values: list[Any], seen: set[str]) -> Chunk:
    values = [str(value) for value in values]
    seen.update(values)
    name_of = {value: name for name, value in names.items()}
    chunk = _with(chunk, column, [name_of.get(value) for value in values])
    return chunk.take(chunk.table[column].is_valid().combine_chunks())


def _values(name: str, chunk: Chunk, column: str, key: str) -> list[Any]:
    found = chunk.table.column_names
    if column not in found:
        raise BadInput(f"{name}: {chunk.file}: missing column {column!r} of `{key}`; columns found: {', '.join(found)}")
    return plain_values(chunk.table[column])


def _with(chunk: Chunk, column: str, values: list[str | None]) -> Chunk:
    columns = {name: chunk.table[name] for name in chunk.table.column_names}
    return replace(chunk, table=pa.table(columns | {column: pa.array(values, pa.string())}))


def refuse_absent(name: str, selection: Selection, seen: Seen) -> None:
    """Check, when all is read, that every value to pick was met.

    Raises:
        BadInput: a value that no row has, with the nearest that there are.
    """
    for column, names in selection.pick.items():
        for value in names.values():
            if value not in seen[column]:
                raise BadInput(f"{name}: pick.{column}: no row has {value!r}. {suggestion(value, seen[column])}")
