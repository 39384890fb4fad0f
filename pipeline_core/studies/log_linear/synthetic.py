"""The world of the log-linear study (arXiv 2405.20304, its synthetic experiments): states, actions, rewards, pairs.

A state is a point of [0,1]^2, an action y one of 0..7 with s = y / 8 + 1, and two groups g judge actions by the reward
<phi(x, y, g), theta*_g>. A world is one draw of training pairs, validation pairs, test states and a start, in this
order from `numpy.random.default_rng(seed)`: all states, all actions, the start. How many numbers are drawn does not
depend on feature map and scenario, so worlds of one seed share their states and their start.

Shape suffixes: N pairs, X states, G groups, A actions, D features.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline_core.stats.resampling import Floats

Integers = NDArray[np.int64]

ACTIONS, GROUPS, DIMENSION = 8, 2, 4
TRAINING, VALIDATION, TEST = 300, 1000, 1000
TRUE_PARAMETERS: Floats = np.array([[1.0, 3.0, 1.0, 3.0], [3.0, 1.0, 3.0, 1.0]])
START_RANGE = (0.0, 5.0)
FeatureMap = Callable[[Floats, Floats, NDArray[np.bool_]], tuple[Floats, Floats]]
"""Function from the angle pi x_k, s and a mask of the second group to the two features of a coordinate."""


def swapped(angle: Floats, s: Floats, second: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Features that trade places in the second group, as the true parameters do: rewards and best actions are equal in
    both groups. The groups conflict in which parameter earns the reward.
    """
    along, across = s * np.cos(angle), np.sin(angle) / s
    return np.where(second, across, along), np.where(second, along, across)


def same(angle: Floats, s: Floats, second: NDArray[np.bool_]) -> tuple[Floats, Floats]:  # noqa: ARG001 - no group
    """Features that are equal for both groups, which differ only in the reward."""
    return s * np.cos(angle), np.sin(angle) / s


def flipped(angle: Floats, s: Floats, second: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Features whose sine and cosine trade places in the second group."""
    cosine, sine = np.cos(angle), np.sin(angle)
    return s * np.where(second, sine, cosine), np.where(second, cosine, sine) / s


FEATURES: Mapping[str, FeatureMap] = {"swapped": swapped, "same": same, "flipped": flipped}


@dataclass(frozen=True)
class Scenario:
    """Sizes of the groups' training sets; `uneven`: the groups compare actions by different rules."""

    sizes: tuple[int, int]
    uneven: bool


SCENARIOS: Mapping[str, Scenario] = {
    "even-imbalanced": Scenario((60, 240), uneven=False),
    "uneven-balanced": Scenario((150, 150), uneven=True),
    "uneven-imbalanced": Scenario((60, 240), uneven=True),
}


@dataclass(frozen=True)
class Comparisons:
    """Pairs by their features: `difference` phi(x, y_w, g) - phi(x, y_l, g), (N, D), and `group`, (N,)."""

    difference: Floats
    group: Integers


@dataclass(frozen=True)
class LogLinearWorld:
    """A draw: pairs to train and to validate on, features of every test state (X, G, A, D), the start (D,)."""

    training: Comparisons
    validation: Comparisons
    test: Floats
    start: Floats


def features(feature_map: str, state: Floats, action: Integers, group: Integers) -> Floats:
    """phi(x, y, g), (..., 4), of states (..., 2) with actions and groups (...)."""
    s = (np.asarray(action) / ACTIONS + 1)[..., None]
    second = (np.asarray(group) == 1)[..., None]
    first_entries, second_entries = FEATURES[feature_map](np.pi * state, s, second)
    return np.stack([first_entries, second_entries], -1).reshape(*first_entries.shape[:-1], DIMENSION)


def rewards(phi: Floats, group: Integers) -> Floats:
    """True rewards <phi, theta*_g>, (...), of features (..., D)."""
    return np.asarray((phi * TRUE_PARAMETERS[group]).sum(-1))


def world(feature_map: str, scenario: str, seed: int) -> LogLinearWorld:
    """The world of a feature map (key of `FEATURES`), a scenario (key of `SCENARIOS`) and a seed."""
    random, rules = np.random.default_rng(seed), SCENARIOS[scenario]
    state = random.random((TRAINING + VALIDATION + TEST, 2))  # at once: states do not depend on what follows
    # validation has as many of both groups in every scenario
    group = np.repeat([0, 1, 0, 1], [*rules.sizes, VALIDATION // 2, VALIDATION // 2])
    action = draw_actions(random, group, rules.uneven)
    compared = comparisons(feature_map, state[: len(group)], action, group)
    return LogLinearWorld(
        training=Comparisons(compared.difference[:TRAINING], group[:TRAINING]),
        validation=Comparisons(compared.difference[TRAINING:], group[TRAINING:]),
        test=all_features(feature_map, state[len(group) :]),
        start=random.uniform(*START_RANGE, DIMENSION),
    )


def draw_actions(random: np.random.Generator, group: Integers, uneven: bool) -> Integers:
    """Two different actions for every pair, (N, 2).

    Even: both at random. Uneven: the first at random; the second is a neighbour of it in the first group (at the ends
    there is only one), and (y + 4) mod 8 in the second group.
    """
    count = len(group)
    # all three under either rule, so that scenarios share their later draws
    # a shift of 1 to 7 gives another action
    first, shift, side = random.integers(ACTIONS, size=count), random.integers(1, ACTIONS, count), random.random(count)
    if not uneven:
        return np.stack([first, (first + shift) % ACTIONS], -1)
    neighbour = first + np.where(side < 0.5, -1, 1)
    last = ACTIONS - 1
    neighbour = np.where(neighbour < 0, 1, np.where(neighbour > last, last - 1, neighbour))
    return np.stack([first, np.where(group == 0, neighbour, (first + ACTIONS // 2) % ACTIONS)], -1)


def comparisons(feature_map: str, state: Floats, action_N2: Integers, group: Integers) -> Comparisons:
    """Pairs in which the action of the larger true reward has won."""
    first, second = (features(feature_map, state, action_N2[:, index], group) for index in (0, 1))
    wins = rewards(first, group) >= rewards(second, group)
    return Comparisons(np.where(wins[:, None], first - second, second - first), group)


def all_features(feature_map: str, state: Floats) -> Floats:
    """Features of every group and action at every state, (X, G, A, D)."""
    group, action = np.arange(GROUPS)[:, None], np.arange(ACTIONS)
    shape = (len(state), GROUPS, ACTIONS)
    return features(feature_map, state[:, None, None], np.broadcast_to(action, shape), np.broadcast_to(group, shape))
