"""Differences of two models whose items differ, that agree on all items, or of which tests and intervals disagree."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import stdtr

from pipeline_core.stats.bootstrap import Bootstrap
from pipeline_core.stats.intervals import sides
from pipeline_core.stats.ranking import RELATIONS
from pipeline_core.stats.related_items import Paired
from pipeline_core.stats.relation_bootstrap import RelationBootstrap
from pipeline_core.stats.resampling import Items
from pipeline_core.stats.spread import Spread, p_value
from pipeline_core.stats.statistic import STATISTICS

SHARE, SIGNED = STATISTICS["share"], STATISTICS["signed_share"]
FIRST, SECOND = slice(0, 1), slice(1, 2)


def test_s5_a_difference_whose_items_differ_rests_on_its_spread():
    """A policy answers as the base, but says "unknown" on 15 of 50 biased answers. The models agree on every item that
    both answer, so the variance of the pairs' differences is 0."""
    base = {f"q{i}": [float(i % 2 == 0)] for i in range(100)}
    policy = {name: value for name, value in base.items() if int(name[1:]) >= 30 or value == [0.0]}
    boot = Bootstrap.of(SIGNED, Items.collect(policy, base))
    found = boot.difference(FIRST, SECOND)
    drawn = 200 * (boot.drawn[:, 0, 0] - boot.drawn[:, 0, 1])
    assert (found.low, found.high) == pytest.approx(np.quantile(drawn, [0.025, 0.975]), abs=2.5)
    assert 1e-6 < found.p < 0.01


@pytest.mark.parametrize(("dropped", "n"), [(0.2, 100), (0.5, 60)])
def test_s5_models_alike_whose_items_differ_are_told_apart_seldom(dropped, n):
    generator, rejected = np.random.default_rng(1), 0
    for _ in range(150):
        values, kept = generator.random(n) < 0.6, generator.random(n) >= dropped
        base = {f"q{i}": [float(values[i])] for i in range(n)}
        policy = {name: value for (name, value), is_kept in zip(base.items(), kept, strict=True) if is_kept}
        boot = Bootstrap.of(SIGNED, Items.collect(policy, base), resamples=300)
        rejected += boot.difference(FIRST, SECOND).p < 0.05
    assert rejected / 150 <= 0.08, "28 and 32 % of models alike were told apart"


def right(count, n=50):
    return {f"q{index:02d}": [float(index < count)] for index in range(n)}


def test_s5_mcnemars_test_and_the_interval_say_the_same():
    """25 and 30 of 50, five pairs that differ: the exact p is .0625, so the interval holds 0."""
    found = Bootstrap.of(SHARE, Items.collect(right(30), right(25))).difference(FIRST, SECOND)
    assert (found.test, found.p) == ("McNemar, exact", pytest.approx(2 / 32))
    assert found.low < 0 < found.value < found.high, "the interval began at 0.4"


@pytest.mark.parametrize("n", [8, 20, 50])
def test_s5_every_p_value_agrees_with_its_interval(n):
    generator, exact = np.random.default_rng(n), 0
    for _ in range(60):
        values = generator.random((n, 1, 2)) < generator.random(2)
        items = Items(values.astype(float), np.ones(values.shape), values.astype(float))
        found = Bootstrap.of(SHARE, items, resamples=200).difference(FIRST, SECOND)
        exact += found.test == "McNemar, exact"
        assert (found.p < 0.05) == (not found.low <= 0 <= found.high)
    assert exact > 50


def related(name, x, y, member=None):
    member = np.ones((len(x), 1), bool) if member is None else member
    return RelationBootstrap.of(RELATIONS[name], Paired(x, y, member, np.arange(len(x))), resamples=300)


def test_s5_a_difference_of_areas_is_within_what_is_possible():
    """Of eight items more than half of the intervals passed 1 or -1."""
    for seed in range(60):
        generator = np.random.default_rng(seed)
        y = np.repeat(np.arange(8.0)[:, None] % 2, 2, 1)
        found = related("auc", generator.normal(size=(8, 2)), y).difference(FIRST, SECOND)
        assert -1 <= found.low <= found.value <= found.high <= 1
        assert found.p > 1e-6


def test_s5_two_perfect_areas_are_not_equal_for_certain():
    y = np.repeat(np.arange(20.0)[:, None] % 2, 2, 1)
    found = related("auc", y + 0.1 * np.random.default_rng(0).random((20, 2)), y).difference(FIRST, SECOND)
    assert (found.value, found.p) == (0.0, 1.0)
    assert -0.7 < found.low < -0.2 < 0.2 < found.high < 0.7


def test_s5_resamples_on_one_side_of_a_difference_make_no_p_value_of_zero():
    """All resamples lie above the value: the interval still reaches down, by Student's quantile."""
    around = np.linspace(0.3, 3.0, 100)
    spread = Spread(0.01, 0.0, 4.0)
    low, high = sides(around, 0.25, spread, 0.95)
    assert low == pytest.approx(0.25 - spread.reach())
    assert p_value(0.25, low, high, 4.0) == pytest.approx(2 * stdtr(4.0, -2.5))


@pytest.mark.parametrize(("clusters", "is_seen"), [(3, False), (12, True)])
def test_s5_models_that_differ_by_the_same_on_every_item_have_the_p_value_of_a_sign_test(clusters, is_seen):
    columns = [{f"q{i}": [value + i] for i in range(clusters)} for value in (0.25, 0.0)]
    found = Bootstrap.of(STATISTICS["mean"], Items.collect(*columns)).difference(FIRST, SECOND)
    assert found.p == 2.0 ** (1 - clusters)
    assert (found.low > 0) == is_seen
