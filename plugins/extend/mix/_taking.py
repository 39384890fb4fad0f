"""Selects the given number of rows from each part, with the proportions of the strata preserved."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline_core.data.samples import sample_rows, strata_of
from pipeline_core.errors import BadInput, UnknownName, suggestion
from plugins.extend.mix._removal import RemovedRows

if TYPE_CHECKING:
    from datasets import Dataset

PIECE = 8192
RowsByPart = dict[str, NDArray[np.int64]]
"""Ascending row numbers selected from each part, by label."""


def check_take(take: Mapping[str, int], parts: Iterable[str]) -> None:
    """Refuse a count for an unknown part, before any row is read.

    Raises:
        UnknownName: a part is unknown; the message names the known parts.
    """
    known = list(parts)
    if unknown := [label for label in take if label not in known]:
        raise UnknownName("part", unknown[0], known, "take")


def take_rows(
    parts: Mapping[str, Dataset],
    removal: RemovedRows,
    take: Mapping[str, int],
    stratify: Sequence[str],
    seed: int,
    allow_fewer: bool,
) -> tuple[RowsByPart, dict[str, int]]:
    """Rows selected from each part, and the shortfall of each part.

    Only rows that are not removed count, so a part can be short although it has enough rows.

    Raises:
        BadInput: a part is short and `allow_fewer` is false, or it lacks a column of `stratify`.
    """
    chosen, short = {}, {}
    for label, table in parts.items():
        left = np.flatnonzero(removal.of(label) == 0)
        wanted = take.get(label, len(left))
        short[label] = max(wanted - len(left), 0)
        if short[label] and not allow_fewer:
            raise BadInput(_too_few(label, wanted, len(left), removal))
        chosen[label] = _sample(label, table, left, min(wanted, len(left)), stratify, seed)
    return chosen, short


def _too_few(label: str, wanted: int, left: int, removal: RemovedRows) -> str:
    reasons = ", ".join(f"{count} {reason.replace('_', '-')}" for reason, count in removal.counts(label).items())
    return (
        f"take.{label}: {wanted} rows are asked for and {left} of {len(removal.of(label))} are left (removed: "
        f"{reasons}). Take fewer, give the part more rows, or set allow_fewer"
    )


def _sample(
    label: str, table: Dataset, left: NDArray[np.int64], wanted: int, stratify: Sequence[str], seed: int
) -> NDArray[np.int64]:
    if wanted in (0, len(left)):  # nothing is drawn, so the part needs no column of `stratify`
        return left[:wanted]
    if missing := [column for column in stratify if column not in table.column_names]:
        hint = suggestion(missing[0], table.column_names)
        raise BadInput(f"stratify: part {label!r} has no column {missing[0]!r}. {hint}")
    strata = _strata(table, stratify)[left]
    # A seed per part makes the sample of a part independent of the other parts.
    own_seed = zlib.crc32(f"{seed}/{label}".encode())  # `hash` of a text differs between processes
    return left[sample_rows(np.unique(strata, return_inverse=True)[1], wanted, None, own_seed)]


def _strata(table: Dataset, stratify: Sequence[str]) -> NDArray[np.int64]:
    """Stratum number of every row; strata are numbered by name. Columns are read in pieces."""
    if not stratify:
        return np.zeros(len(table), np.int64)
    numbers: dict[tuple[Any, ...], int] = {}
    codes = []
    for piece in table.select_columns(list(stratify)).with_format("arrow").iter(PIECE):
        keys = zip(*(map(_hashable, piece[column].to_pylist()) for column in stratify), strict=True)
        codes.append(np.array([numbers.setdefault(key, len(numbers)) for key in keys]))
    columns = dict(zip(stratify, zip(*numbers, strict=True), strict=True))
    # `numbers` follows the order of the rows, `strata_of` that of the names: the sample must not
    return strata_of(columns, len(numbers))[np.concatenate(codes)]


def _hashable(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
