"""Exact bounds of areas and correlations, single groups, and which scale an interval has."""

from dataclasses import replace

import numpy as np
import pytest

from pipeline_core.stats import intervals
from pipeline_core.stats.across import evenness_across
from pipeline_core.stats.bootstrap import Bootstrap
from pipeline_core.stats.calibration import least_error
from pipeline_core.stats.constant_groups import bounded_draws, least_noise
from pipeline_core.stats.estimates import Difference
from pipeline_core.stats.groups import apart, held, spread_apart
from pipeline_core.stats.intervals import mover, on_logit_scale, sides
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


def relations_of_groups(name, seeds=2, models=2):
    """Three groups of different strength, two seeds of two models in columns, items in clusters of two."""
    rng = np.random.default_rng(7)
    member = np.repeat(np.eye(3, dtype=bool), [40, 24, 30], axis=0)
    y = np.tile(np.tile([[0.0], [1.0]], (47, 1)), (1, seeds * models))
    if name in ("spearman", "pearson"):
        y = rng.normal(size=y.shape)
    x = rng.normal(size=y.shape) + y * np.repeat([[0.4], [1.5], [0.9]], [40, 24, 30], axis=0)
    x = x + np.repeat([[0.0, 0.3]], seeds, axis=1).reshape(1, -1) * y
    return bootstrap(name, x, y, member, np.arange(94) // 2)


MINE, BASE = slice(0, 2), slice(2, 4)


@pytest.mark.parametrize("level", [0.9, 0.95])
@pytest.mark.parametrize("across", ["highest", "lowest", "gap"])
@pytest.mark.parametrize("name", ["auc", "spearman"])
def test_extremes_have_the_wide_interval_of_their_groups(name, across, level):
    drawn = relations_of_groups(name)
    groups = drawn._groups(MINE, across)
    found, mean = drawn.estimate(MINE, across, level), drawn.estimate(MINE, "mean", level)
    alone = [drawn.group(index).estimate(MINE, "all", level) for index in range(3)]
    low, high = groups.wide(level, lambda: (mean.low, mean.high), lambda group: (alone[group].low, alone[group].high))
    floor, ceiling = {"gap": (0.0, np.diff(drawn.statistic.range)[0])}.get(across, drawn.statistic.range)
    assert (found.low, found.high) == pytest.approx((max(low, floor), min(high, ceiling)))
    assert (found.n, found.n_clusters) == (94, 47)
    assert found.low < found.value < found.high


@pytest.mark.parametrize("by_seed", [True, False])
@pytest.mark.parametrize("across", ["highest", "lowest", "gap"])
@pytest.mark.parametrize("name", ["auc", "spearman"])
def test_differences_of_extremes_have_the_wide_interval_and_the_p_value_of_it(name, across, by_seed):
    drawn = relations_of_groups(name)
    mine, base = (drawn._groups(columns, across) for columns in (MINE, BASE))
    found = drawn.difference(MINE, BASE, across, 0.9, by_seed=by_seed)
    spread = spread_apart(mine, base, by_seed, mine.even)
    low, high = apart(mine, base, spread, 0.9, lambda: 1 / 0)
    value = mine.value - base.value
    low, high = held(value, low, high, drawn.statistic.range, across)
    # A biased figure has no degrees of freedom of its own: its interval is the normal one.
    expected = intervals.tested(value, low, high, np.inf, 0.9, 47)
    assert (found.value, found.n, found.n_clusters) == (pytest.approx(value), 94, 47)
    assert (found.low, found.high, found.p) == pytest.approx(expected)


def test_differences_of_folded_figures_use_the_ends_of_both():
    rng = np.random.default_rng(2)
    member = np.repeat(np.eye(2, dtype=bool), [30, 30], axis=0)
    x, y = (rng.random((60, 2)) < share for share in (0.8, [0.55, 0.3]))
    drawn = bootstrap("icat", x, y, member)
    assert drawn.statistic.on_fold is not None
    mine, base = (drawn._groups(columns, "mean") for columns in (FIRST, SECOND))
    ends = [drawn.estimate(columns, "mean", 0.9).ends for columns in (FIRST, SECOND)]
    low, high = apart(mine, base, spread_apart(mine, base, True, mine.even), 0.9, lambda: ends)
    found = drawn.difference(FIRST, SECOND, "mean", 0.9)
    assert (found.low, found.high) == pytest.approx(held(found.value, low, high, drawn.statistic.range, "mean"))


def test_a_single_group_is_its_own_highest_and_lowest():
    drawn = relations_of_groups("auc").group(1)
    assert drawn.estimate(MINE, "highest") == drawn.estimate(MINE, "lowest") == drawn.estimate(MINE, "all")
    assert drawn.estimate(MINE, "gap").value == 0


def test_two_clusters_have_an_interval_and_one_has_none():
    x, y = [0, 3, 1, 2, 5, 4], [0, 0, 0, 1, 1, 1]
    two = bootstrap("auc", x, y, cluster=[0, 1, 1, 1, 0, 0]).estimate()
    assert two.low < two.value < two.high
    one = bootstrap("auc", x, y, cluster=[0] * 6).estimate()
    assert (one.value, one.low, one.high, one.n, one.n_clusters) == (two.value, None, None, 6, 1)


def test_figures_of_a_smooth_mean_have_students_interval():
    drawn = relations_of_groups("spearman")
    found = drawn.difference(MINE, BASE, "mean", 0.9)
    mine, base = (drawn._groups(columns, "mean") for columns in (MINE, BASE))
    spread = spread_apart(mine, base, True, mine.even)
    low, high = sides(mine.around - base.around, found.value, spread, 0.9)
    assert (found.low, found.high, found.p) == pytest.approx(
        intervals.tested(found.value, low, high, spread.df, 0.9, 47)
    )
    assert np.isfinite(spread.df)


def test_what_groups_know_of_their_noise():
    """The facts by which `Groups` judges: ends, independent values, evenness of the groups that vary."""
    drawn = relations_of_groups("auc")
    groups = drawn._groups(MINE, "highest")
    assert (groups.ends, groups.power) == (drawn.statistic.ends, 1.0)
    assert np.array_equal(groups.n, drawn.independent[:, MINE])
    assert np.array_equal(groups.values, drawn.values[:, MINE])
    assert groups.least_noise == pytest.approx(least_noise(groups.values, groups.n, groups.ends))
    assert groups.even == evenness_across(drawn.even, drawn.freedom, "highest")
    errors = relations_of_groups("spearman")._groups(MINE, "highest")
    assert errors.power == (1.0 if RELATIONS["spearman"].bends else 0.5)
    lone = replace(drawn, independent=np.where(np.arange(3)[:, None] == 1, 1, drawn.independent))
    assert lone._groups(MINE, "mean").even == evenness_across([drawn.even[0], drawn.even[2]], drawn.freedom, "mean")
    expected = bounded_draws(
        drawn.values[:, MINE],
        drawn.drawn[:, :, MINE],
        lone.independent[:, MINE].astype(float),
        np.broadcast_to(np.arange(3)[:, None] == 1, (3, 2)),
        drawn.statistic.ends,
        0,
        in_turn=True,
    )
    assert np.array_equal(lone._groups(MINE, "highest").drawn, expected), "a group of one value is drawn from the range"
