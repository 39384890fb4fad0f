"""Batches of rows: shuffled, of similar length, and independent of the number of processes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import torch

POOL = 16
"""Batches of a pool, whose rows are sorted by length. Pools are random parts of an epoch, so no length comes first."""


class Batches:
    """Row numbers of every step, from a seed. Each epoch is a new order in which every row occurs once."""

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int, bucketed: bool = True) -> None:
        self._lengths, self._size, self._seed, self._bucketed = lengths, batch_size, seed, bucketed
        self.per_epoch = math.ceil(len(lengths) / batch_size)
        self._epoch = lru_cache(maxsize=1)(self._make_epoch)  # an epoch is drawn once, not at every step

    def at(self, step: int) -> list[int]:
        """Row numbers of step `step`, counted from 0 over all epochs; an epoch's last batch may be short."""
        epoch, index = divmod(step, self.per_epoch)
        return self._epoch(epoch)[index]

    def _make_epoch(self, epoch: int) -> list[list[int]]:
        # On the CPU, for equal orders on all devices. Epochs of different seeds differ (below 2**20 epochs).
        generator = torch.Generator().manual_seed((self._seed << 20) + epoch)
        order = torch.randperm(len(self._lengths), generator=generator).tolist()
        if not self._bucketed:
            return _cut(order, self._size)
        pools = _cut(order, self._size * POOL)
        batches = [batch for pool in pools for batch in _cut(sorted(pool, key=self._lengths.__getitem__), self._size)]
        # Within a pool the batches rise in length.
        return [batches[place] for place in torch.randperm(len(batches), generator=generator).tolist()]


def micro_batches(rows: Sequence[int], parts: Sequence[tuple[int, ...]], budget: int) -> list[list[int]]:
    """Split rows into passes of at most `budget` padded tokens (and at least one row), shortest first.

    `parts`: tokens of each part of a row (prompt, completions). Each part is padded to its longest in the pass.
    """
    passes: list[list[int]] = []
    widest: tuple[int, ...] = ()
    for row in sorted(rows, key=lambda row: sum(parts[row])):
        wider = tuple(map(max, widest, parts[row]))
        if passes and (len(passes[-1]) + 1) * sum(wider) <= budget:
            passes[-1].append(row)
            widest = wider
        else:
            passes.append([row])
            widest = parts[row]
    return passes


def _cut(rows: list[int], size: int) -> list[list[int]]:
    return [rows[start : start + size] for start in range(0, len(rows), size)]
