"""How groups fared while training: losses and weights averaged over seeds, smoothed, and which groups are shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline_core.report.figures.collect import Curve

MOST = 8
"""Groups that one plot shows."""
HEAVIEST, LIGHTEST = 3, 2
"""How many of them are there for their final weight, where there are weights and more groups."""
WINDOW = 0.1
"""Part of the training that a running mean is taken over: a batch holds a few rows of a group."""
POINTS = 60


@dataclass(frozen=True)
class Quantity:
    """Something that is logged for every group: its name before and after the group's, and how it is shown."""

    before: str
    after: str
    title: str
    smooth: bool

    def groups(self, curves: Sequence[Curve]) -> list[str]:
        """Groups it was logged for, by name; names may hold slashes."""
        logged = {name for curve in curves for point in curve.points for name in point}
        found = (name for name in logged if name.startswith(self.before) and name.endswith(self.after))
        return sorted(name[len(self.before) : -len(self.after)] for name in found)

    def name(self, group: str) -> str:
        """What is logged for a group."""
        return f"{self.before}{group}{self.after}"


LOSS = Quantity("group/", "/loss", "loss by group", True)
REWARD = Quantity("group/", "/reward", "reward by group", True)
WEIGHT = Quantity("group/", "/weight", "weight of groups", False)
HELD_OUT = Quantity("validation/group/", "/loss", "held-out loss by group", False)
QUANTITIES = (LOSS, REWARD, WEIGHT, HELD_OUT)


@dataclass(frozen=True)
class Line:
    """A group over (S,) steps: the mean over seeds, and the lowest and highest seed."""

    steps: list[float]
    mean: list[float]
    low: list[float]
    high: list[float]


def line_of(curves: Sequence[Curve], name: str, window: float, most: int = POINTS) -> Line | None:
    """The line of what is logged as `name`, each value the mean of those in the last `window` steps.

    A batch may lack a group: the line then keeps the last value. It runs where every seed has one, at no more than
    `most` steps. Values that are not finite are left out; None when there are no others.
    """
    series = [_finite(curve.series(name)) for curve in curves]
    series = [one for one in series if len(one[0])]
    grid = _grid([steps for steps, _ in series], most)
    if not len(grid):
        return None
    values_NS = np.stack([_running_mean(steps, values, grid, window) for steps, values in series])
    bounds = (values_NS.mean(0), values_NS.min(0), values_NS.max(0))
    return Line(grid.tolist(), *(bound.tolist() for bound in bounds))


def _finite(series: tuple[Sequence[float], Sequence[float]]) -> tuple[np.ndarray, np.ndarray]:
    steps, values = (np.asarray(part, dtype=float) for part in series)
    return steps[np.isfinite(values)], values[np.isfinite(values)]


def _grid(steps: Sequence[np.ndarray], most: int) -> np.ndarray:
    """Steps to draw at: logged by any seed, from where all have begun to where the first ends, thinned evenly."""
    if not steps:
        return np.zeros(0)
    every = np.unique(np.concatenate(steps))
    shared = every[(every >= max(one[0] for one in steps)) & (every <= min(one[-1] for one in steps))]
    kept = np.unique(np.linspace(0, len(shared) - 1, min(most, len(shared))).round().astype(int))
    return np.asarray(shared[kept])


def _running_mean(steps: np.ndarray, values: np.ndarray, grid: np.ndarray, window: float) -> np.ndarray:
    sums = np.concatenate([[0.0], np.cumsum(values)])
    ends = np.searchsorted(steps, grid, side="right")
    starts = np.minimum(np.searchsorted(steps, grid - window, side="right"), ends - 1)
    return np.asarray((sums[ends] - sums[starts]) / (ends - starts))


def lines_of(curves: Sequence[Curve], quantity: Quantity, groups: Sequence[str]) -> dict[str, Line]:
    """The line of every group that has one."""
    window = window_of(curves) if quantity.smooth else 0
    found = {group: line_of(curves, quantity.name(group), window) for group in groups}
    return {group: line for group, line in found.items() if line is not None}


def window_of(curves: Sequence[Curve]) -> int:
    """Steps of the running mean."""
    return max(1, round(WINDOW * max(point["step"] for curve in curves for point in curve.points)))


def shown_groups(curves: Sequence[Curve]) -> tuple[list[str], int]:
    """The groups to show, by name, and of how many.

    Of more than `MOST` groups these are the ones that end with the largest and smallest weights, where there are
    weights, and else those that end worst: with the highest loss, or the lowest reward.
    """
    every = sorted({group for quantity in QUANTITIES for group in quantity.groups(curves)})
    if len(every) <= MOST:
        return every, len(every)
    weights = _last(lines_of(curves, WEIGHT, every))
    light_first = sorted(weights, key=lambda group: (weights[group], group))
    chosen = dict.fromkeys([*reversed(light_first[-HEAVIEST:]), *light_first[:LIGHTEST]])
    chosen |= dict.fromkeys(_worst_first(curves, every))
    return sorted(list(chosen)[:MOST]), len(every)


def _worst_first(curves: Sequence[Curve], groups: Sequence[str]) -> list[str]:
    losses = _last(lines_of(curves, HELD_OUT, groups)) or _last(lines_of(curves, LOSS, groups))
    if not losses:
        losses = {group: -value for group, value in _last(lines_of(curves, REWARD, groups)).items()}
    return sorted(losses, key=lambda group: (-losses[group], group))


def _last(lines: Mapping[str, Line]) -> dict[str, float]:
    return {group: line.mean[-1] for group, line in lines.items()}
