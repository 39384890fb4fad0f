"""Statistics by hand, the bootstrap against what is known, paired tests against references."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline_core.ops.stats import (
    FEW_DISTINCT,
    STATISTICS,
    Items,
    estimate,
    holm,
    mcnemar,
    paired_difference,
    resampled_means,
)

calm = settings(deadline=None, derandomize=True)


def one_value_each(values):
    return {f"item{index:05d}": [float(value)] for index, value in enumerate(values)}


def items(values):
    return Items.collect(one_value_each(values))


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        ("mean", [1, 2, 6], 3.0),
        ("share", [1, 0, 0, 1, 1], 60.0),
        ("signed_share", [1, 1, 1, 0], 50.0),
        ("signed_share", [0, 0], -100.0),
        ("balance", [1, -1, 1, 0], 25.0),
        ("distance_from_half", [1, 1, 1, 0], 25.0),
        ("distance_from_half", [0, 0, 0, 1], 25.0),
        ("distance_from_half", [1, 0], 0.0),
        ("distance_from_zero", [-3, 1], 1.0),
        ("exp_mean", [0.0, 2 * math.log(8)], 8.0),
    ],
)
def test_statistics_worked_by_hand(name, values, expected):
    assert STATISTICS[name](values) == pytest.approx(expected)
    assert estimate(STATISTICS[name], items(values)).value == pytest.approx(expected)


@pytest.mark.parametrize("name", sorted(STATISTICS))
def test_nothing_is_undefined_never_zero(name):
    assert STATISTICS[name]([]) is None
    found = estimate(STATISTICS[name], Items.collect({}))
    assert (found.value, found.low, found.high, found.n) == (None, None, None, 0)


def test_balance_of_unknown_answers_only_is_undefined():
    assert STATISTICS["balance"]([0.0, 0.0]) is None
    assert estimate(STATISTICS["balance"], items([0, 0, 0])).value is None
    assert STATISTICS["balance"]([1.0, -1.0]) == 0.0


def test_balance_is_the_ambiguous_bias_score():
    """(1 - accuracy) (2 biased / non-unknown - 1), worked through: 7 unknown, 2 biased, 1 against the bias."""
    values = [0.0] * 7 + [1.0, 1.0, -1.0]
    assert STATISTICS["balance"](values) == pytest.approx(100 * (1 - 7 / 10) * (2 * 2 / 3 - 1))


def test_one_item_has_a_value_and_no_interval():
    found = estimate(STATISTICS["mean"], items([4.0]))
    assert (found.value, found.low, found.high, found.n) == (4.0, None, None, 1)


def test_the_same_seed_gives_the_same_interval_and_another_one_does_not():
    sample = items(np.random.default_rng(3).normal(size=80))
    first = estimate(STATISTICS["mean"], sample, seed=1)
    assert estimate(STATISTICS["mean"], sample, seed=1) == first
    assert estimate(STATISTICS["mean"], sample, seed=2) != first


@pytest.mark.parametrize("kind", ["normal", "binary"])
def test_the_interval_covers_the_truth_about_95_times_in_a_hundred(kind):
    """400 seeded experiments; the binomial standard error of the coverage is 1.1 points."""
    generator, covered = np.random.default_rng(11), 0
    for _ in range(400):
        sample = generator.normal(5.0, 2.0, 60) if kind == "normal" else generator.random(60) < 0.3
        found = estimate(STATISTICS["mean"], items(sample), resamples=600)
        covered += found.low <= (5.0 if kind == "normal" else 0.3) <= found.high
    assert 0.91 <= covered / 400 <= 0.98


def test_both_ways_to_resample_agree_with_the_standard_error():
    """With few distinct items counts are drawn, with many the items themselves."""
    generator = np.random.default_rng(5)
    few, many = generator.integers(0, 5, 400).astype(float), generator.normal(2.0, 1.4, 400)
    assert len(set(few)) <= FEW_DISTINCT < len(set(many))
    for values in (few, many):
        means = resampled_means(items(values), resamples=4000)
        assert means.shape == (4000, 1)
        assert means.std() == pytest.approx(values.std() / math.sqrt(400), rel=0.06)
        assert means.mean() == pytest.approx(values.mean(), abs=0.02)


def test_values_of_one_item_are_resampled_together():
    """Ten copies of a value per item carry no more information than one: the interval must not shrink."""
    values = np.random.default_rng(0).normal(size=50)
    once = estimate(STATISTICS["mean"], items(values))
    copied = estimate(STATISTICS["mean"], Items.collect({f"item{i:05d}": [v] * 10 for i, v in enumerate(values)}))
    assert copied.value == pytest.approx(once.value)
    assert copied.high - copied.low == pytest.approx(once.high - once.low, rel=0.1)
    assert copied.n == once.n == 50


def test_agreeing_answers_get_the_exact_binomial_bound():
    """Clopper-Pearson for 0 of 20: [0, 1 - 0.025^(1/20)]; the bootstrap alone would claim certainty."""
    none, all_ = estimate(STATISTICS["share"], items([0] * 20)), estimate(STATISTICS["share"], items([1] * 20))
    bound = 100 * (1 - 0.025 ** (1 / 20))
    assert (none.value, none.low, none.high) == pytest.approx((0.0, 0.0, bound))
    assert (all_.value, all_.low, all_.high) == pytest.approx((100.0, 100.0 - bound, 100.0))


def test_a_fold_near_its_turn_includes_zero():
    found = estimate(STATISTICS["distance_from_half"], items([1, 0] * 50))
    assert found.value == found.low == 0.0
    assert 5.0 < found.high < 20.0


def test_seeds_are_averaged_after_the_statistic():
    """Shares of 70 and 30 are each 20 from even; their mean share would hide it."""
    ids = [f"i{index}" for index in range(10)]
    first = {name: [float(index < 7)] for index, name in enumerate(ids)}
    second = {name: [float(index < 3)] for index, name in enumerate(ids)}
    found = estimate(STATISTICS["distance_from_half"], Items.collect(first, second))
    assert found.value == pytest.approx(20.0)
    assert found.low <= found.value <= found.high
    assert found.n == 10


@calm
@given(
    st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=30), st.sampled_from(["mean", "share", "distance_from_zero"])
)
def test_the_interval_holds_the_value(values, name):
    found = estimate(STATISTICS[name], items(values), resamples=50)
    assert found.low <= found.value <= found.high
    assert all(math.isfinite(number) for number in (found.low, found.value, found.high))


def test_mcnemar_worked_by_hand():
    """Five discordant pairs, all one way: 2 / 2^5."""
    assert mcnemar([1, 1, 1, 1, 1, 0, 1], [0, 0, 0, 0, 0, 0, 1]) == pytest.approx(2 / 32)
    assert mcnemar([1, 0, 1], [1, 0, 1]) == 1.0


@calm
@given(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=60))
def test_mcnemar_is_the_binomial_test_of_discordant_pairs(pairs):
    binomtest = pytest.importorskip("scipy.stats").binomtest
    first = sum(a and not b for a, b in pairs)
    second = sum(b and not a for a, b in pairs)
    expected = binomtest(first, first + second).pvalue if first + second else 1.0
    assert mcnemar([a for a, _ in pairs], [b for _, b in pairs]) == pytest.approx(expected)


def test_holm_worked_by_hand():
    assert holm([0.01, 0.04, 0.03, None]) == [pytest.approx(0.03), pytest.approx(0.06), pytest.approx(0.06), None]
    assert holm([]) == []


@calm
@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_holm_only_raises_p_values_keeps_their_order_and_stays_a_probability(p_values):
    adjusted = holm(p_values)
    assert all(p <= q <= 1 for p, q in zip(p_values, adjusted, strict=True))
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    assert [adjusted[index] for index in order] == sorted(adjusted)


def test_paired_difference_of_scores_agrees_with_the_paired_t_test():
    stats = pytest.importorskip("scipy.stats")
    generator = np.random.default_rng(9)
    base = generator.normal(0, 3, 300)
    model = base + generator.normal(0.12, 1, 300)
    found = paired_difference(
        STATISTICS["mean"], [one_value_each(model)], [one_value_each(base)], resamples=20_000, seed=1
    )
    reference = stats.ttest_rel(model, base)
    interval = reference.confidence_interval(0.95)
    assert found.value == pytest.approx((model - base).mean())
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), abs=0.01)
    assert found.p == pytest.approx(reference.pvalue, abs=0.01)
    assert found.test == "paired bootstrap"


def test_right_and_wrong_answers_are_compared_by_mcnemar():
    base, model = [0] * 12 + [1] * 8, [1] * 9 + [0] * 3 + [1] * 7 + [0]
    found = paired_difference(STATISTICS["share"], [one_value_each(model)], [one_value_each(base)])
    assert (found.value, found.n, found.test) == (pytest.approx(40.0), 20, "McNemar, exact")
    assert found.p == pytest.approx(mcnemar(model, base))
    assert found.low < 40.0 < found.high


def test_a_model_does_not_differ_from_itself():
    values = one_value_each(np.random.default_rng(2).normal(size=40))
    found = paired_difference(STATISTICS["exp_mean"], [values], [values])
    assert (found.value, found.low, found.high, found.p) == (0.0, 0.0, 0.0, 1.0)


def test_under_no_difference_few_p_values_are_small():
    """200 seeded experiments without an effect: about 5 % fall below 0.05."""
    generator, small = np.random.default_rng(21), 0
    for _ in range(200):
        base = generator.normal(size=40)
        model = base + generator.normal(0, 1, 40)
        found = paired_difference(STATISTICS["mean"], [one_value_each(model)], [one_value_each(base)], resamples=400)
        small += found.p < 0.05
    assert 0.02 <= small / 200 <= 0.10


def test_items_only_one_model_answered_count_for_its_own_mean():
    model, base = {"a": [1.0], "b": [3.0], "c": [8.0]}, {"a": [1.0], "b": [1.0]}
    found = paired_difference(STATISTICS["mean"], [model], [base])
    assert found.value == pytest.approx(4.0 - 1.0)
    assert found.n == 2


def test_a_difference_to_an_undefined_base_is_undefined():
    found = paired_difference(STATISTICS["mean"], [{"a": [1.0], "b": [2.0]}], [{}])
    assert (found.value, found.p, found.n) == (None, None, 0)
