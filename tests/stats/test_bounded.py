"""Effective sample sizes, exact bounds and differences of bounded values: by hand and by plain references."""

import itertools
import math

import numpy as np
import pytest

from pipeline_core.stats import bounded
from pipeline_core.stats.resampling import Items
from pipeline_core.stats.spread import Spread
from pipeline_core.stats.statistic import STATISTICS

SHARE, BALANCE = STATISTICS["share"], STATISTICS["balance"]


def seeds(*columns):
    """Items from one list of values per seed."""
    return Items.collect(*({str(i): [v] for i, v in enumerate(column) if v is not None} for column in columns))


def apart(items):
    """The two columns of items, which keep the items of both."""
    return items.part(slice(None), slice(0, 1)), items.part(slice(None), slice(1, 2))


def test_effective_sample_sizes_by_hand():
    assert bounded.effective(0.25, Spread(0.01, 0.0025, 9), most=100, fewest=7) == pytest.approx(20)
    assert bounded.effective(0.25, Spread(0.001, 0, 9), most=100, fewest=7) == 100
    for variance, items in ((0.0, 0.01), (0.25, 0.0), (0.25, math.nan), (math.nan, 0.01)):
        assert bounded.effective(variance, Spread(items, 0, 9), most=100, fewest=7) == 7


def test_shares_of_several_answers_count_for_several_draws():
    """Values 1/2, 1/2, 1, 0: mean 1/2, variance 1/8 where single answers have 1/4, so 8 draws."""
    assert bounded.most_draws(seeds([0.5, 0.5, 1, 0]), 0.5, 1.5 / 4) == 8
    assert bounded.most_draws(seeds([1, 0, 1, 0]), 0.5, 0.5) == 4
    assert bounded.most_draws(seeds([0.5, 0.5]), 0.5, 0.25) == 2, "values that do not vary"


def test_a_balance_by_hand():
    """Mean .2 and square .4 of ten values: centre 2 / 11, variance 5 / 11 - (2 / 11)^2 over 11."""
    low, high = bounded.of_balance(0.2, 0.4, 10, math.inf, 0.95)
    reach = 1.959964 * math.sqrt((5 / 11 - (2 / 11) ** 2) / 11)
    assert (low, high) == pytest.approx((2 / 11 - reach, 2 / 11 + reach))


@pytest.mark.parametrize("sizes", [[8], [5, 5], [1, 9], [2, 3, 40], [1, 1, 60]])
def test_the_bound_of_groups_that_agree_is_the_smallest_mean_that_the_data_allow(sizes):
    bound = bounded.all_agree(np.array(sizes, float), sum(sizes), 0.95)
    if len(set(sizes)) == 1:
        assert bound == pytest.approx(0.025 ** (1 / sum(sizes)))
    grid = np.exp(-np.linspace(0, 4, 161))
    for others in itertools.product(grid, repeat=len(sizes) - 1):  # the last group's share follows from the others
        left = 0.025 / np.prod([p**n for p, n in zip(others, sizes, strict=False)])
        if left <= 1:
            assert (sum(others) + left ** (1 / sizes[-1])) / len(sizes) >= bound - 1e-12
    assert bounded.all_agree(np.array(sizes, float), sum(sizes) / 2, 0.95) < bound, "groups that share their values"


def reference(statistic, paired, value, spread, most, fewest):
    """`of_balance` of the differences of pairs, on the statistic's scale."""
    slope = statistic.of_mean(1.0) - statistic.of_mean(0.0)
    square, mean = (paired**2).mean(), value / slope
    scaled = Spread(spread.items / slope**2, spread.seeds / slope**2, spread.df)
    n = bounded.effective(square - mean**2, scaled, most, fewest)
    return [slope * end for end in bounded.of_balance(mean, square, n, spread.df, 0.95)]


@pytest.mark.parametrize(
    ("ours", "theirs", "paired"),
    [
        ([[1, 0, 1, 1, 0]], [[1, 1, 0, 0, 0]], [[0, -1, 1, 1, 0]]),
        ([[1, 0, 1, 1, 0], [1, 1, 1, 1, 0]], [[1, 1, 0, 0, 0], [0, 0, 0, 0, 0]], [[0, -1, 1, 1, 0], [1, 1, 1, 1, 0]]),
        ([[1, 0, 1, 1, 0], [1, 1, 1, 1, 0]], [[1, 1, 0, 0, 0]], [[0, -1, 1, 1, 0], [0, 0, 1, 1, 0]]),
        # unequal numbers of seeds: each meets the mean 2/3, 1/3, 1/3, 0, 0 of the three
        (
            [[1, 0, 1, 1, 0], [1, 1, 1, 1, 0]],
            [[1, 1, 0, 0, 0], [0, 0, 1, 0, 0], [1, 0, 0, 0, 0]],
            [[1 / 3, -1 / 3, 2 / 3, 1, 0], [1 / 3, 2 / 3, 2 / 3, 1, 0]],
        ),
    ],
)
@pytest.mark.parametrize("statistic", [SHARE, BALANCE])
@pytest.mark.parametrize("variance", [1.0, 400.0])
def test_a_difference_rests_on_the_differences_of_pairs(ours, theirs, paired, statistic, variance):
    paired, spread = np.array(paired), Spread(variance, variance / 2, 9)
    value = 100 * float(paired.mean())
    most = max(np.size(ours), np.size(theirs))
    found = bounded.of_difference(statistic, seeds(*ours), seeds(*theirs), value, spread, 0.95, 5)
    assert found == pytest.approx(reference(statistic, paired, value, spread, most, 5))


def test_a_difference_that_is_the_same_for_every_pair_rests_on_the_clusters():
    found = bounded.of_difference(SHARE, seeds([1, 1, 1]), seeds([0, 0, 0]), 100.0, Spread(0.0, 0.0, 9), 0.95, 2)
    assert found == pytest.approx(reference(SHARE, np.ones((1, 3)), 100.0, Spread(0.0, 0.0, 9), 3, 2))


def test_items_of_one_model_alone_move_its_mean():
    """Ours 1, 0 and theirs 1, 0, 0: the third item pulls their mean from 1/2 to 1/3."""
    ours, theirs = apart(seeds([1, 0, None], [1, 0, 0]))
    found = bounded.of_difference(SHARE, ours, theirs, 50 / 3, Spread(4.0, 0, 9), 0.95, 3)
    paired = 3 * np.array([0.5 / 2 - (2 / 3) / 3, -0.5 / 2 + (1 / 3) / 3, (1 / 3) / 3]) + 1 / 6
    assert found == pytest.approx(reference(SHARE, paired, 50 / 3, Spread(4.0, 0, 9), 3, 3))


def test_which_values_have_bounds():
    assert bounded.are_bounded(SHARE, seeds([0, 0.5, 1]))
    assert not bounded.are_bounded(SHARE, seeds([0, 0.5, 1]), seeds([0, 1.5]))
    assert not bounded.are_bounded(SHARE, seeds([-1, 0]))
    assert bounded.are_bounded(BALANCE, seeds([-1, 0, 1])) and not bounded.are_bounded(BALANCE, seeds([-1.5, 0]))
    assert not bounded.are_bounded(STATISTICS["mean"], seeds([0, 1]))


def test_means_whose_values_agree_by_hand():
    edge = 0.025 ** (1 / 4)
    clusters = np.array([4.0])
    assert bounded.where_all_agree(SHARE, seeds([1] * 4), clusters, 4, 0.95) == pytest.approx((edge, 1))
    assert bounded.where_all_agree(SHARE, seeds([0] * 4), clusters, 4, 0.95) == pytest.approx((0, 1 - edge))
    assert bounded.where_all_agree(BALANCE, seeds([-1] * 4), clusters, 4, 0.95) == pytest.approx((-1, 1 - 2 * edge))
    assert bounded.where_all_agree(BALANCE, seeds([1] * 4), clusters, 4, 0.95) == pytest.approx((2 * edge - 1, 1))
    assert bounded.where_all_agree(SHARE, seeds([1, 0]), clusters, 4, 0.95) is None
    assert bounded.where_all_agree(STATISTICS["mean"], seeds([1] * 4), clusters, 4, 0.95) is None
    assert bounded.where_all_agree(SHARE, seeds([]), clusters, 4, 0.95) is None
    with_empty = bounded.where_all_agree(SHARE, seeds([1] * 4), np.array([4.0, 0.0]), 4, 0.95)
    assert with_empty == pytest.approx((edge, 1)), "a group without clusters has no part"


def test_pairs_of_single_answers():
    assert bounded.are_binary_pairs(seeds([0, 1]), seeds([1, 1]))
    assert not bounded.are_binary_pairs(seeds([0, 0.5]), seeds([1, 1]))
    assert not bounded.are_binary_pairs(*apart(seeds([0, 1], [1, None])))
    assert not bounded.are_binary_pairs(seeds([0, 1], [0, 1]), seeds([1, 1]))
