"""Runs of Algorithm 1: the averaged iterate's gap over the number of steps, beside the theory's bound."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from pipeline_core.errors import BadInput
from pipeline_core.stats.paired import SeedMean, over_seeds
from pipeline_core.stats.resampling import Floats
from pipeline_core.studies.log_linear.algorithm_1 import BoundConstants, StochasticLearner, drawn_pairs
from pipeline_core.studies.log_linear.methods import METHODS
from pipeline_core.studies.log_linear.minimax import least_worst_loss
from pipeline_core.studies.log_linear.settings import SHORTEST_STOCHASTIC, StudySettings
from pipeline_core.studies.log_linear.synthetic import TRAINING
from pipeline_core.studies.log_linear.training import Worlds, one_thread_each

LAST_DECADE = 10
Minima = Mapping[str, Tensor]
"""Least worst-group loss of every world in the ball, (W,), by method."""


@dataclass(frozen=True)
class StochasticRun:
    """Results of a method on a feature map and scenario. `gap` and `bound` belong to `steps`, the lengths of runs.

    `slope` is that of log gap over log steps by least squares within the last decade of steps, `slope_all` over all
    steps; None with fewer than two lengths. `minimum`, `gradient_bound` and `loss_bound` are means over the seeds.
    """

    features: str
    scenario: str
    method: str
    n_seeds: int
    radius: float
    gradient_bound: float
    loss_bound: float
    minimum: float
    steps: list[int]
    gap: list[SeedMean]
    bound: list[float]
    slope: SeedMean | None
    slope_all: SeedMean | None
    bound_slope: float = -0.5  # the bound falls with 1 / sqrt(T)


def solve_minima(settings: StudySettings, worlds: Worlds) -> Minima:
    """Least worst-group losses, from which gaps are measured, for every gr_ method of the settings.

    Raises:
        BadInput: the solver finds no minimum in a ball of this radius.
    """
    try:
        with one_thread_each():
            return {
                method: least_worst_loss(worlds.training, METHODS[method].family, settings.radius)[0]
                for method in settings.robust
            }
    except (ValueError, RuntimeError) as error:  # no centre, or a matrix that has become singular
        raise BadInput(f"radius: {settings.radius:g} leaves Algorithm 1 without its minimum: {error}") from error


def run_stochastic(settings: StudySettings, worlds: Worlds, minima: Minima) -> tuple[list[StochasticRun], float]:
    """Run Algorithm 1 for every gr_ method of the settings, all worlds side by side. Also returns the seconds taken."""
    started = time.perf_counter()
    with one_thread_each():
        runs = [run for method in settings.robust for run in _run(settings, worlds, method, minima[method])]
    return runs, time.perf_counter() - started


def horizons(longest: int) -> list[int]:
    """Lengths of runs, two per decade up to the longest."""
    # the logarithm of a power of ten may fall just short of it
    count = 1 + int(2 * math.log10(longest / SHORTEST_STOCHASTIC) + 1e-9)
    return sorted({round(longest * 10 ** (-index / 2)) for index in range(count)})


def _run(settings: StudySettings, worlds: Worlds, method: str, minimum_W: Tensor) -> list[StochasticRun]:
    family = METHODS[method].family
    constants = BoundConstants.of(worlds.training, family, settings.radius)
    learner, steps = StochasticLearner(worlds.training, family, constants), horizons(settings.algorithm_1)
    # order of the worlds: the seed changes fastest
    seeds = tuple(range(settings.seeds)) * (len(settings.features) * len(settings.scenarios))
    gap_TW = [learner.worst_loss(learner.run(drawn_pairs(seeds, count, TRAINING))) - minimum_W for count in steps]
    shape = (len(settings.features), len(settings.scenarios), settings.seeds)
    gaps = np.stack([gap_W.numpy() for gap_W in gap_TW]).reshape(len(steps), *shape)
    bounds = np.stack([constants.bound(count).numpy() for count in steps]).reshape(gaps.shape)
    facts = [value_W.numpy().reshape(shape) for value_W in (constants.gradient, constants.loss, minimum_W)]
    return [
        StochasticRun(
            features=features,
            scenario=scenario,
            method=method,
            n_seeds=settings.seeds,
            radius=settings.radius,
            gradient_bound=float(facts[0][f, s].mean()),
            loss_bound=float(facts[1][f, s].mean()),
            minimum=float(facts[2][f, s].mean()),
            steps=steps,
            gap=[over_seeds(row) for row in gaps[:, f, s]],
            bound=[float(row.mean()) for row in bounds[:, f, s]],
            slope=_slope(steps, gaps[:, f, s], steps[-1] / LAST_DECADE),
            slope_all=_slope(steps, gaps[:, f, s], 0),
        )
        for f, s, features, scenario in settings.places
    ]


def _slope(steps: list[int], gap_TK: Floats, shortest: float) -> SeedMean | None:
    """Mean over seeds of the slope of log gap over log steps, from `shortest` on; None with fewer than two lengths."""
    used = np.array(steps) >= 0.99 * shortest  # lengths are rounded
    if used.sum() < 2:
        return None
    x = np.log(np.array(steps)[used])
    # the minimum is known to 1e-8 only: a gap may be 0 or less
    y_TK = np.log(np.maximum(gap_TK[used], np.finfo(float).tiny))
    return over_seeds((x - x.mean()) @ y_TK / ((x - x.mean()) ** 2).sum())
