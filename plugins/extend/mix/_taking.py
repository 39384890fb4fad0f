"""Which rows of every part are taken: so many, with the shares of the strata kept."""

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
"""Numbers of the rows taken of every part, ascending."""


def check_take(take: Mapping[str, int], parts: Iterable[str]) -> None:
    """Refuse counts for a part that is not there, before any row is read.

    Raises:
        UnknownName: naming the parts there are.
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
    """Rows of every part, and how many each is short of what was asked for.

    Rows are removed before they are counted, so a part is short only when it has too few that differ.

    Raises:
        BadInput: a part is short and that is not allowed, or it lacks a column of the strata.
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
    if wanted in (0, len(left)):
        return left[:wanted]
    if missing := [column for column in stratify if column not in table.column_names]:
        hint = suggestion(missing[0], table.column_names)
        raise BadInput(f"stratify: part {label!r} has no column {missing[0]!r}. {hint}")
    strata = _strata(table, stratify)[left]
    # Each part has a seed of its own: what is taken of one does not depend on the others.
    own_seed = zlib.crc32(f"{seed}/{label}".encode())
    return left[sample_rows(np.unique(strata, return_inverse=True)[1], wanted, None, own_seed)]


def _strata(table: Dataset, stratify: Sequence[str]) -> NDArray[np.int64]:
    """Number of every row's stratum in the order of their names, read a piece at a time."""
    numbers: dict[tuple[Any, ...], int] = {}
    found = [np.zeros(0, np.int64)]
    for piece in table.select_columns(list(stratify)).with_format("arrow").iter(PIECE) if stratify else ():
        keys = zip(*(map(_hashable, piece[column].to_pylist()) for column in stratify), strict=True)
        found.append(np.array([numbers.setdefault(key, len(numbers)) for key in keys]))
    if not stratify:
        return np.zeros(len(table), np.int64)
    columns = dict(zip(stratify, zip(*numbers, strict=True), strict=True))
    return strata_of(columns, len(numbers))[np.concatenate(found)]


def _hashable(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
