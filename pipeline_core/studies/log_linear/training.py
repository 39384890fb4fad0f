"""Draws the worlds of a log-linear study and trains them side by side, a share of them per processor thread.

Shape suffixes: I recorded iterations, F feature maps, S scenarios, K seeds, W = F S K worlds, C columns, G groups.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from pipeline_core.stats.resampling import Floats
from pipeline_core.studies.log_linear.methods import CLOSED_FORM_ITERATIONS, METHODS, Family, Pairs, loss_of, train
from pipeline_core.studies.log_linear.policy_errors import group_losses, reward_errors
from pipeline_core.studies.log_linear.settings import StudySettings, TrainingColumn
from pipeline_core.studies.log_linear.synthetic import GROUPS, TRUE_PARAMETERS, world


@dataclass(frozen=True)
class Worlds:
    """Tensors of W worlds: pairs, features of the test states (W, X, G, A, D), starts (W, D)."""

    training: Pairs
    validation: Pairs
    test: Tensor
    start: Tensor

    @classmethod
    def draw(cls, settings: StudySettings) -> Worlds:
        """Draw the worlds of every feature map, scenario and seed, in this order."""
        keys = ((f, s, k) for f in settings.features for s in settings.scenarios for k in range(settings.seeds))
        drawn = [world(*key) for key in keys]

        def stack(arrays: Iterator[Floats]) -> Tensor:
            return torch.from_numpy(np.stack(list(arrays)))

        def pairs(which: str) -> Pairs:
            compared = [getattr(draw, which) for draw in drawn]
            return Pairs.of(stack(draw.difference for draw in compared), stack(draw.group for draw in compared), GROUPS)

        start = stack(draw.start for draw in drawn)
        return cls(pairs("training"), pairs("validation"), stack(draw.test for draw in drawn), start)

    def part(self, chosen: slice) -> Worlds:
        """The worlds of a slice."""
        training, validation = (
            Pairs(pairs.difference[chosen], pairs.member[chosen]) for pairs in (self.training, self.validation)
        )
        return Worlds(training, validation, self.test[chosen], self.start[chosen])


@dataclass
class FamilyResult:
    """Results of the trainings of a family. Losses are those of the family, on the validation pairs.

    `worst_loss` (I, F, S, K, C) is the larger of the groups' mean losses, and `weights` (I, F, S, K, C, G) are the
    groups' weights. The other arrays, (F, S, K, C) each, are those of the last iteration.
    """

    columns: tuple[TrainingColumn, ...]
    iterations: list[int]
    worst_loss: Floats
    weights: Floats
    mean_loss: Floats
    reward_error_relative: Floats
    reward_error_absolute: Floats
    seconds: float


@dataclass
class _WorldRecords:
    """Records of a share of the worlds; the first axis is the world."""

    worst_loss: list[Floats] = field(default_factory=list)
    weights: list[Floats] = field(default_factory=list)
    final: dict[str, Floats] = field(default_factory=dict)


def train_family(settings: StudySettings, worlds: Worlds, family: Family) -> FamilyResult | None:
    """Train all columns of a family (`dpo` or `ipo`); None where the settings ask for none."""
    columns = tuple(column for column in settings.columns if column.facts.family == family)
    if not columns:
        return None
    last = settings.iterations if family == "dpo" else min(settings.iterations, CLOSED_FORM_ITERATIONS)
    iterations, started = recorded_iterations(last), time.perf_counter()
    count = len(worlds.start)
    with one_thread_each() as threads, ThreadPoolExecutor(threads) as pool:
        ends = [round(count * part / threads) for part in range(threads + 1)]
        # fewer worlds than threads leave empty shares
        slices = [slice(low, high) for low, high in pairwise(ends) if low < high]
        # threads suffice: torch computes without Python's lock
        parts = list(pool.map(lambda chosen: _train(worlds.part(chosen), columns, iterations), slices))
    seconds, shape = time.perf_counter() - started, (len(settings.features), len(settings.scenarios), settings.seeds)

    def joined(arrays: list[Floats], axis: int) -> Floats:
        whole = np.concatenate(arrays, axis)
        return whole.reshape(*whole.shape[:axis], *shape, *whole.shape[axis + 1 :])

    final = {name: joined([part.final[name] for part in parts], 0) for name in parts[0].final}
    worst, weights = (
        joined([np.stack(getattr(part, name)) for part in parts], 1) for name in ("worst_loss", "weights")
    )
    return FamilyResult(columns, iterations, worst, weights, **final, seconds=seconds)


def _train(worlds: Worlds, columns: tuple[TrainingColumn, ...], iterations: list[int]) -> _WorldRecords:
    part, family = _WorldRecords(), columns[0].facts.family

    def observe(theta_WCD: Tensor, weight_WCG: Tensor) -> None:
        loss_WCG = group_losses(theta_WCD, worlds.validation, loss_of(family))
        part.worst_loss.append(loss_WCG.amax(-1).numpy())
        part.weights.append(weight_WCG.numpy())
        part.final["mean_loss"] = loss_WCG.mean(-1).numpy()

    weightings = [METHODS[column.method].weighting(1.0 if column.chi is None else column.chi) for column in columns]
    theta_WCD, _ = train(worlds.training, worlds.start, family, weightings, iterations[-1], observe, iterations)
    errors = reward_errors(theta_WCD, worlds.test, torch.from_numpy(TRUE_PARAMETERS))
    part.final["reward_error_relative"] = errors.relative.amax(-1).numpy()
    part.final["reward_error_absolute"] = errors.absolute.amax(-1).numpy()
    return part


def recorded_iterations(last: int) -> list[int]:
    """Iterations at which curves are recorded: 0, the last, and about a hundred between, half of them early."""
    marks = np.concatenate([np.linspace(0, last, 61), np.geomspace(1, last, 51)])
    return sorted({int(mark) for mark in marks.round()})


@contextmanager
def one_thread_each() -> Iterator[int]:
    """Limit torch to one thread per calling thread within the block; yields the previous number, restored at the end.

    Small products do not gain from torch's threads; worlds in parallel do.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield before
    finally:
        torch.set_num_threads(before)
