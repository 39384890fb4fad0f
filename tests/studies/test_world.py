"""Features, rewards and the rules by which pairs are drawn."""

import math

import numpy as np
import pytest

from pipeline_core.studies.log_linear.synthetic import (
    ACTIONS,
    FEATURES,
    SCENARIOS,
    TRUE_PARAMETERS,
    all_features,
    comparisons,
    draw_actions,
    features,
    rewards,
    world,
)

HALF = math.sqrt(0.5)
STATE = np.array([0.25, 1 / 3])
"""Angles of 45 and 60 degrees; action 4 has s = 1.5."""


@pytest.mark.parametrize(
    ("feature_map", "group", "expected"),
    [
        ("swapped", 0, [1.5 * HALF, HALF / 1.5, 0.75, math.sqrt(0.75) / 1.5]),
        ("swapped", 1, [HALF / 1.5, 1.5 * HALF, math.sqrt(0.75) / 1.5, 0.75]),
        ("same", 0, [1.5 * HALF, HALF / 1.5, 0.75, math.sqrt(0.75) / 1.5]),
        ("same", 1, [1.5 * HALF, HALF / 1.5, 0.75, math.sqrt(0.75) / 1.5]),
        ("flipped", 0, [1.5 * HALF, HALF / 1.5, 0.75, math.sqrt(0.75) / 1.5]),
        ("flipped", 1, [1.5 * HALF, HALF / 1.5, 1.5 * math.sqrt(0.75), 0.5 / 1.5]),
    ],
)
def test_features_by_hand(feature_map, group, expected):
    assert features(feature_map, STATE, 4, group) == pytest.approx(expected)


def test_rewards_by_hand():
    phi = np.array([[1.0, 2.0, 3.0, 4.0]] * 2)
    assert rewards(phi, np.array([0, 1])).tolist() == [1 + 6 + 3 + 12, 3 + 2 + 9 + 4]


def test_features_of_many_are_those_of_each():
    states = np.random.default_rng(0).random((5, 2))
    phi = all_features("flipped", states)
    assert phi.shape == (5, 2, 8, 4)
    assert phi[3, 1, 6] == pytest.approx(features("flipped", states[3], 6, 1))


def test_even_pairs_are_two_different_actions_and_all_of_them_occur():
    action = draw_actions(np.random.default_rng(1), np.arange(4000) % 2, uneven=False)
    found = {tuple(pair) for pair in action.tolist()}
    assert found == {(a, b) for a in range(ACTIONS) for b in range(ACTIONS) if a != b}
    counts = np.bincount(action[:, 0] * ACTIONS + action[:, 1])
    assert counts[counts > 0].min() > 40, "71 are expected of each"


def test_uneven_pairs_are_neighbours_in_one_group_and_far_apart_in_the_other():
    group = np.arange(4000) % 2
    action = draw_actions(np.random.default_rng(2), group, uneven=True)
    near = {tuple(pair) for pair in action[group == 0].tolist()}
    far = {tuple(pair) for pair in action[group == 1].tolist()}
    assert near == {(a, b) for a in range(ACTIONS) for b in (a - 1, a + 1) if 0 <= b < ACTIONS}
    assert far == {(a, (a + 4) % 8) for a in range(ACTIONS)}
    ends = action[(group == 0) & (action[:, 0] == 0)]
    assert set(ends[:, 1]) == {1}, "reflected, not wrapped around"


@pytest.mark.parametrize("feature_map", FEATURES)
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_sizes_and_winners(feature_map, scenario):
    drawn = world(feature_map, scenario, seed=3)
    assert np.bincount(drawn.training.group).tolist() == list(SCENARIOS[scenario].sizes)
    assert np.bincount(drawn.validation.group).tolist() == [500, 500]
    assert drawn.test.shape == (1000, 2, 8, 4)
    assert ((drawn.start >= 0) & (drawn.start <= 5)).all()
    for pairs in (drawn.training, drawn.validation):
        assert (rewards(pairs.difference, pairs.group) > 0).all(), "the larger true reward wins"


def test_a_loser_named_first_is_turned_round():
    pairs = comparisons("same", np.tile(STATE, (2, 1)), np.array([[0, 7], [7, 0]]), np.array([1, 1]))
    assert pairs.difference[0] == pytest.approx(pairs.difference[1])
    assert pairs.difference[0] @ TRUE_PARAMETERS[1] > 0


def test_draws_come_in_the_order_states_actions_start():
    random = np.random.default_rng(5)
    state = random.random((2300, 2))
    first = random.integers(8, size=1300)
    random.integers(1, 8, size=1300)
    random.random(1300)
    start = random.uniform(0, 5, 4)
    drawn = world("same", "uneven-imbalanced", seed=5)
    assert drawn.start.tolist() == start.tolist()
    assert drawn.test[0, 0, 0] == pytest.approx(features("same", state[1300], 0, 0))
    far = 100
    ends = [features("same", state[far], action, 1) for action in (first[far], (first[far] + 4) % 8)]
    assert np.abs(drawn.training.difference[far]) == pytest.approx(np.abs(ends[0] - ends[1]))


def test_worlds_of_a_seed_share_states_and_start():
    drawn = [world(feature_map, scenario, 7) for feature_map in FEATURES for scenario in SCENARIOS]
    assert len({tuple(one.start) for one in drawn}) == 1
    assert all((one.test[:, 0] == drawn[0].test[:, 0]).all() for one in drawn)
    assert world("same", "even-imbalanced", 8).start.tolist() != drawn[0].start.tolist()
