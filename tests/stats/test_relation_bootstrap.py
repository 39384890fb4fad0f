"""Exact bounds of areas and correlations, single groups, and which scale an interval has."""

from dataclasses import replace

import numpy as np
import pytest

from pipeline_core.stats.bootstrap import Bootstrap
from pipeline_core.stats.calibration import least_error
from pipeline_core.stats.estimates import Difference
from pipeline_core.stats.intervals import mover, on_logit_scale
from pipeline_core.stats.ranking import RELATIONS, even_preference, icat
from pipeline_core.stats.related_items import Paired
from pipeline_core.stats.relation_bootstrap import EVERY, RelationBootstrap
from pipeline_core.stats.resampling import Items
from pipeline_core.stats.statistic import STATISTICS


def bootstrap(name, x, y, member=None, cluster=None):
    """Of one model, or of several in columns."""
    x, y = (np.array(values, float).reshape(len(values), -1) for values in (x, y))
    member = np.ones((len(x), 1), bool) if member is None else np.array(member, bool)
    cluster = np.arange(len(x)) if cluster is None else np.array(cluster)
    return RelationBootstrap.of(RELATIONS[name], Paired(x, y, member, cluster), resamples=200)


CLASSES = np.repeat([0.0, 1.0], 6)


@pytest.mark.parametrize(
    ("name", "x", "y", "low", "high"),
    [
        ("auc", range(12), CLASSES, 0.025 ** (1 / 6), 1),
        ("auc", range(12), 1 - CLASSES, 0, 1 - 0.025 ** (1 / 6)),
        ("pearson", range(8), range(8), 1 - 2 * (1 - 0.025 ** (1 / 4)), 1),
        ("spearman", range(8), range(8, 0, -1), -1, 2 * (1 - 0.025 ** (1 / 4)) - 1),
        ("balanced_accuracy", [1] * 12, CLASSES, 100 * 0.025 ** (1 / 6), 100),
        ("auc", range(7), [0] * 6 + [1], 0.025, 1),  # one item of a class is one value
        ("auc", [4, 1, 2, 3, 5, 6], [1, 0, 0, 0, 0, 0], 0.025 * 0.6, 1 - 0.025 * 0.4),  # Markov's inequality
        ("pearson", [1, 2, 4], [1, 3, 2], -1 + 0.025 * (1 + 0.3273268), 1 - 0.025 * (1 - 0.3273268)),
    ],
)
def test_exact_bounds_by_hand(name, x, y, low, high):
    found = bootstrap(name, list(x), list(y)).estimate()
    assert (found.low, found.high) == pytest.approx((low, high))


def test_perfect_areas_of_two_groups_rest_on_the_clusters_of_both():
    apart = [[item % 6 < 3, item % 6 >= 3] for item in range(12)]
    assert bootstrap("auc", range(12), CLASSES, apart).estimate(across="mean").low == pytest.approx(0.025 ** (1 / 6))
    shared = [[True, True]] * 12
    assert bootstrap("auc", range(12), CLASSES, shared).estimate(across="mean").low == pytest.approx(0.025 ** (1 / 6))
    twice = bootstrap("auc", [*range(12)] * 2, [*CLASSES] * 2, [[True, False]] * 12 + [[False, True]] * 12)
    assert twice.estimate(across="mean").low == pytest.approx(0.025 ** (1 / 12))
    with_none = bootstrap("auc", [*range(12), 1, 2], [*CLASSES, 1, 1], [[True, False]] * 12 + [[False, True]] * 2)
    assert with_none.estimate(across="mean").low == pytest.approx(0.025 ** (1 / 6)), "a group of one class has no part"


def test_a_value_at_the_end_of_its_range_has_no_interval_on_the_logit_scale():
    """Two seeds: areas 1 and .89."""
    one, other = np.arange(12.0), np.array([0, 1, 2, 3, 8, 9, 4, 5, 6, 7, 10, 11.0])
    for columns, is_on_scale in ((np.stack([one, other], 1), False), (np.stack([other, other], 1), True)):
        drawn = bootstrap("auc", columns, np.stack([CLASSES] * 2, 1))
        found = drawn.estimate()
        reach = drawn._groups(EVERY, "all").spread.reach(0.95)
        assert ((found.low, found.high) == on_logit_scale(found.value, reach, 0, 1)) is is_on_scale


def test_a_group_alone_is_that_group_of_all():
    rng = np.random.default_rng(0)
    member = np.repeat([[True, False, False], [False, True, False], [False, False, True]], [20, 30, 10], axis=0)
    x = rng.uniform(0.5, 1, (60, 2))
    drawn = bootstrap("calibration_error", x, rng.random((60, 2)) < x, member, np.arange(60) // 2)
    alone = drawn.group(1)
    for field in ("values", "independent"):
        assert np.array_equal(getattr(alone, field), getattr(drawn, field)[1:2])
    assert np.array_equal(alone.drawn, drawn.drawn[:, 1:2])
    assert alone.counts[:, 0].tolist() == alone.total.tolist() == [[30, 30], [15, 15]]
    assert alone.even == drawn.even[1:2] and alone.freedom == pytest.approx(14)
    assert alone.misses == {(0, 0): drawn.misses[1, 0], (0, 1): drawn.misses[1, 1]}
    assert (alone.estimate().n, alone.estimate().n_clusters) == (30, 15)
    values = [{f"{group}{item}": [float(item % 3)] for item in range(10 * (group + 1))} for group in range(3)]
    of_means = Bootstrap.of(STATISTICS["mean"], Items.of_groups([[one] for one in values]), resamples=50)
    found = of_means.group(1).estimate()
    assert (found.n, found.value) == (20, pytest.approx(0.95))


def test_figures_of_the_resamples():
    member = np.repeat([[True, False], [False, True]], [30, 10], axis=0)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 2))
    drawn = bootstrap("auc", x, np.tile([[0, 0], [1, 1]], (20, 1)), member)
    first = drawn.resampled(slice(0, 1))
    assert first.shape == (200,) and np.array_equal(first, drawn.resampled(slice(0, 1), "all"))
    assert not np.array_equal(first, drawn.resampled(slice(0, 1), "mean"))
    assert not np.array_equal(first, drawn.resampled(slice(1, 2)))
    groups = [[{str(i): [v] for i, v in enumerate(rng.normal(size=n))}] for n in (30, 10)]
    means = Bootstrap.of(STATISTICS["mean"], Items.of_groups(groups), resamples=50)
    assert np.array_equal(means.resampled(EVERY), means.resampled(EVERY, "all"))
    assert not np.array_equal(means.resampled(EVERY), means.resampled(EVERY, "mean"))
    assert drawn.has_items(EVERY) and not bootstrap("auc", [np.nan], [1]).has_items(EVERY)


def test_figures_of_two_means_by_hand():
    assert icat(0.9 + 0.6j) == icat(0.9 + 0.4j) == pytest.approx(72)
    turned = even_preference(np.array([0.9 + 0.7j, np.nan + 0j]))
    assert turned[0] == 0.9 + 0.5j and np.isnan(turned[1])
    assert RELATIONS["balanced_accuracy"](np.array([1.0, 1, 0, 1]), np.array([1.0, 1, 0, 0]))[0] == 75


FIRST, SECOND = slice(0, 1), slice(1, 2)


def test_differences_without_a_test_keep_their_counts():
    y = np.stack([CLASSES, CLASSES], 1)
    x = np.stack([np.arange(12.0), np.arange(12.0)[::-1]], 1)
    in_one = bootstrap("auc", x, y, cluster=[0] * 12).difference(FIRST, SECOND)
    assert in_one == Difference.untested(1.0, 12, 1)
    in_two = bootstrap("auc", x, y, cluster=[item % 2 for item in range(12)]).difference(FIRST, SECOND)
    assert (in_two.value, in_two.n, in_two.n_clusters) == (1, 12, 2) and in_two.p is not None
    x[:6, 1] = np.nan  # the second model answered items of one class alone
    lacking = bootstrap("auc", x, y, cluster=np.arange(12) // 2)
    assert lacking.difference(FIRST, SECOND) == lacking.difference(SECOND, FIRST) == Difference.untested(None, 6, 3)
    same = bootstrap("auc", np.stack([x[:, 0]] * 2, 1), y, cluster=np.arange(12) // 2)
    assert same.difference(FIRST, SECOND) == Difference.none(12, 6)


def test_seeds_of_differences_are_paired_unless_told_otherwise():
    rng = np.random.default_rng(0)
    y = np.tile(np.repeat([0.0, 1.0], 40)[:, None], (1, 4))
    shared = rng.normal(size=(80, 2)) + 3 * y[:, :2] * np.array([0, 1])  # seeds that differ, alike in both models
    x = np.concatenate([shared, shared + 0.3 * rng.normal(size=(80, 2))], 1)
    drawn = bootstrap("auc", x, y)
    paired, apart = (drawn.difference(slice(0, 2), slice(2, 4), by_seed=by_seed) for by_seed in (True, False))
    assert drawn.difference(slice(0, 2), slice(2, 4)) == paired
    assert apart.high - apart.low > 2 * (paired.high - paired.low)


@pytest.mark.parametrize("level", [0.95, 0.99])
def test_differences_of_calibration_errors_are_combined_about_values_without_noise(level):
    """The first model is off by 30 points, the second calibrated: the upper end reaches the first one's own."""
    rng = np.random.default_rng(3)
    x = rng.uniform(0.6, 1, (300, 2))
    drawn = bootstrap("calibration_error", x, rng.random((300, 2)) < x - np.array([0.3, 0]))
    ours, theirs = (drawn.estimate(columns, "all", level) for columns in (FIRST, SECOND))
    assert theirs.low == 0 < ours.low
    middles = [
        least_error(drawn.misses_of(columns), one.value, 0.0) for columns, one in ((FIRST, ours), (SECOND, theirs))
    ]
    low, high = mover(*(replace(one, value=middle) for one, middle in zip((ours, theirs), middles, strict=True)))
    high = max(high, drawn.estimate(FIRST, "all", 2 * level - 1).high)
    found, turned = drawn.difference(FIRST, SECOND, level=level), drawn.difference(SECOND, FIRST, level=level)
    assert (found.low, found.high) == pytest.approx((low, high))
    assert (turned.low, turned.high) == pytest.approx((-high, -low))


def test_an_error_of_one_model_that_may_be_none_reaches_the_other_ones_end():
    """Thirty items: neither is told from perfect calibration, and each end includes the other model's."""
    rng = np.random.default_rng(5)
    x = rng.uniform(0.6, 1, (30, 2))
    drawn = bootstrap("calibration_error", x, rng.random((30, 2)) < x)
    ours, theirs = (drawn.estimate(columns, "all", 0.9) for columns in (FIRST, SECOND))
    found = drawn.difference(FIRST, SECOND)
    assert found.low <= -theirs.high and found.high >= ours.high
    assert drawn.estimate(FIRST).low == drawn.estimate(SECOND).low == 0
