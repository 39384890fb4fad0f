"""Fixed samples of rows: seeded, stratified, in the order of the data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np


def sample_rows(strata: Sequence[int] | np.ndarray, rows: int | None, per_stratum: int | None, seed: int) -> list[int]:
    """Indices of a sample, ascending.

    `strata`: number of every row's stratum, from 0. With `per_stratum`, every stratum gives that many rows (or all it
    has), else the sample has `rows` rows in the shares of the data. A row's rank within its stratum depends only on the
    seed, the stratum and its size, so a larger sample contains every smaller one of the same stratum.
    """
    numbers = np.asarray(strata)
    counts = np.bincount(numbers) if len(numbers) else np.zeros(0, int)
    wanted = np.minimum(counts, per_stratum) if per_stratum else largest_remainder(counts, rows or len(numbers))
    order = np.argsort(numbers, kind="stable")  # stable: a rank stands for a place in the order of the data
    starts = np.concatenate([[0], np.cumsum(counts)])
    chosen = []
    for stratum, count in enumerate(wanted):
        ranking = np.random.default_rng([seed, stratum]).permutation(int(counts[stratum]))
        chosen.append(order[starts[stratum] : starts[stratum + 1]][ranking[: int(count)]])
    return [int(row) for row in np.sort(np.concatenate(chosen))] if chosen else []


def largest_remainder(counts: Sequence[int] | np.ndarray, rows: int) -> np.ndarray:
    """Rows of every stratum when `rows` are shared by size (Hamilton's method); ties go to the earlier stratum."""
    sizes = np.asarray(counts, dtype=np.int64)
    total = int(sizes.sum())
    rows = min(rows, total)
    if total == 0:
        return sizes
    seats = sizes * rows // total  # whole numbers: a quota in floats may fall below its whole number
    remainders = sizes * rows % total
    for stratum in np.argsort(-remainders, kind="stable")[: rows - int(seats.sum())]:
        seats[stratum] += 1
    return seats


def strata_of(columns: Mapping[str, Sequence[object]], rows: int) -> np.ndarray:
    """Number of every row's stratum, (rows,); strata are numbered in the order of their names, not of the data."""
    if not columns:
        return np.zeros(rows, dtype=np.int64)
    keys = list(zip(*([_key(value) for value in values] for values in columns.values()), strict=True))
    number = {key: index for index, key in enumerate(sorted(set(keys)))}
    return np.fromiter((number[key] for key in keys), dtype=np.int64, count=rows)


def _key(value: object) -> str:
    return " + ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
