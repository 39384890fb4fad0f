"""Statistics by hand, the bootstrap against what is known, paired tests against references."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline_core.stats import resampling
from pipeline_core.stats.bootstrap import Bootstrap
from pipeline_core.stats.resampling import Items, resampled_means
from pipeline_core.stats.statistic import STATISTICS, holm, mcnemar

calm = settings(deadline=None, derandomize=True)


def one_value_each(values):
    return {f"item{index:05d}": [float(value)] for index, value in enumerate(values)}


def paired_difference(statistic, model, base, **how):
    """`model` minus `base`, one mapping item -> values per seed."""
    both = Bootstrap.of(statistic, Items.collect(*model, *base), **how)
    return both.difference(slice(0, len(model)), slice(len(model), None))


def estimate(statistic, sample, **how):
    return Bootstrap.of(statistic, sample, **how).estimate()


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


@pytest.mark.parametrize(("many", "kept"), [(1000, 10**7), (100, 0), (1000, 0)])
@pytest.mark.parametrize("kind", ["few values", "many values"])
def test_every_way_to_resample_agrees_with_the_standard_error(monkeypatch, many, kept, kind):
    """Weights by item, counts of distinct items where these are few, items drawn in chunks."""
    monkeypatch.setattr(resampling, "MANY", many)
    monkeypatch.setattr(resampling, "KEPT_WEIGHTS", kept)
    monkeypatch.setattr(resampling, "CHUNK", 50_000)
    generator = np.random.default_rng(5)
    values = generator.integers(0, 5, 400) if kind == "few values" else generator.normal(2.0, 1.4, 400)
    means = resampled_means(items(values), resamples=4000)
    assert means.shape == (4000, 1, 1)
    assert means.std() == pytest.approx(values.std() / math.sqrt(400), rel=0.06)
    assert means.mean() == pytest.approx(values.mean(), abs=0.03)


def test_the_order_of_items_and_of_sums_does_not_matter():
    """Sums are exact, so that columns that hold the same values in another order have equal means."""
    values = np.random.default_rng(1).normal(size=60)
    both = Items.collect(one_value_each(values), one_value_each(-values))
    drawn = resampled_means(both, resamples=300)
    assert np.array_equal(drawn[..., 0], -drawn[..., 1])


def by_group(**groups):
    """One model's items of groups: values by group name."""
    return Items.of_groups([[{f"{name}{i}": [float(v)] for i, v in enumerate(vs)}] for name, vs in groups.items()])


def test_items_are_drawn_within_their_groups():
    """Groups keep their sizes and do not lend each other variance; one that does not vary has none."""
    drawn = resampled_means(by_group(a=[1] * 5, b=[0, 1] * 50), resamples=2000)
    assert set(drawn[:, 0, 0]) == {1.0}
    assert drawn[:, 1, 0].std() == pytest.approx(0.05, rel=0.1)
    assert set(np.round(drawn[:, 1, 0] * 99, 6) % 1) == {0.0}  # of a hundred items 99 are drawn


def test_an_item_in_two_groups_is_drawn_for_both_and_lone_items_vary():
    shared = [{f"i{i}": [float(i)] for i in range(20)}]
    drawn = resampled_means(Items.of_groups([shared, shared]), resamples=50)
    assert np.array_equal(drawn[:, 0], drawn[:, 1])
    lone = resampled_means(by_group(a=[1.0], b=[5.0]), resamples=200)
    assert np.isnan(lone).any()  # drawn together: a group may be missing in a resample
    assert np.nanmin(lone[:, 0]) == np.nanmax(lone[:, 0]) == 1.0


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


def shares(*ones, n=100):
    """One column for each seed: the first so many of `n` items are 1, in another order for each."""
    generator = np.random.default_rng(0)
    return [one_value_each(generator.permutation(np.arange(n) < count)) for count in ones]


@pytest.mark.parametrize("counts", [(47, 52, 54), (50, 50, 50), (45,), (49, 53)])
def test_seeds_that_are_nearly_even_have_an_interval_that_holds_evenness(counts):
    """A mean of distances lies above the truth, and resampled ones lie higher still."""
    found = estimate(STATISTICS["distance_from_half"], Items.collect(*shares(*counts)))
    assert found.value == pytest.approx(np.mean([abs(count - 50) for count in counts]))
    assert found.low == 0.0 <= found.value < found.high < 25


def test_even_seeds_are_found_even_about_95_times_in_a_hundred():
    generator, covered = np.random.default_rng(3), 0
    for _ in range(200):
        columns = [one_value_each(generator.random(80) < 0.5) for _ in range(3)]
        found = estimate(STATISTICS["distance_from_half"], Items.collect(*columns), resamples=300)
        covered += found.low == 0.0
    assert covered / 200 >= 0.92


def test_seeds_far_from_the_fold_have_the_plain_interval():
    near = estimate(STATISTICS["distance_from_half"], Items.collect(*shares(90, 92, 94)))
    plain = estimate(STATISTICS["share"], Items.collect(*shares(90, 92, 94)))
    assert (near.low, near.high) == pytest.approx((plain.low - 50, plain.high - 50), abs=1.5)


@pytest.mark.parametrize(("name", "end"), [("mean", 0), ("mean", 1), ("distance_from_zero", 0), ("exp_mean", 0)])
def test_only_shares_have_binomial_bounds(name, end):
    """Margins that are all 0 (the base against itself) are 0 for certain."""
    found = estimate(STATISTICS[name], items([end] * 20))
    assert found.low == found.value == found.high


@pytest.mark.parametrize(("end", "sign"), [(1, 1), (-1, -1)])
def test_agreeing_leanings_have_the_binomial_bound_of_both_signs(end, sign):
    found = estimate(STATISTICS["balance"], items([end] * 20))
    bound = 100 * (2 * 0.025 ** (1 / 20) - 1)
    expected = (bound, 100.0) if sign > 0 else (-100.0, -bound)
    assert (found.low, found.high) == pytest.approx(expected)
    assert found.value == 100.0 * sign


DISTANCE = STATISTICS["distance_from_half"]


def test_opposite_biases_of_groups_do_not_cancel_in_their_mean():
    """90 % in a and 10 % in b: even on the whole, 40 points away in each."""
    values = {"a": [1] * 9 + [0], "b": [0] * 9 + [1]}
    assert estimate(DISTANCE, items([*values["a"], *values["b"]])).value == 0.0
    boot = Bootstrap.of(DISTANCE, by_group(**values))
    found = {across: boot.estimate(across=across) for across in ("mean", "highest", "lowest", "gap")}
    assert [found[name].value for name in found] == pytest.approx([40, 40, 40, 0])
    assert all(one.low <= one.value <= one.high for one in found.values())
    assert 15 < found["mean"].low < found["mean"].high <= 50


def test_figures_across_groups_by_hand():
    boot = Bootstrap.of(STATISTICS["share"], by_group(a=[1, 1, 1, 0], b=[1, 0, 0, 0], c=[1, 0]))
    values = {across: boot.estimate(across=across).value for across in ("mean", "lowest", "gap")}
    assert values == {"mean": 50.0, "lowest": 25.0, "gap": 50.0}
    assert boot.group(0).estimate().value == 75.0


def test_the_mean_of_groups_of_a_share_has_the_stratified_standard_error():
    """Two groups of 100 and 400 at one half: the variances of both means, by a quarter each."""
    boot = Bootstrap.of(STATISTICS["share"], by_group(a=[0, 1] * 50, b=[0, 1] * 200), resamples=4000)
    found = boot.estimate(across="mean")
    error = 100 * math.sqrt(0.25 / 100 + 0.25 / 400) / 2
    assert found.high - found.low == pytest.approx(2 * 1.96 * error, rel=0.06)


@pytest.mark.parametrize(
    ("across", "truth"), [("gap", 0.0), ("lowest", 70.0), ("highest", 70.0)], ids=["gap", "lowest", "highest"]
)
def test_the_extremes_of_equal_groups_are_within_their_intervals(across, truth):
    """Eight groups of 40 items, all at 70 %: the worst looks bad by chance alone, and the interval knows."""
    generator, covered = np.random.default_rng(8), 0
    for _ in range(150):
        groups = {f"g{g}": generator.random(40) < 0.7 for g in range(8)}
        found = Bootstrap.of(STATISTICS["share"], by_group(**groups), resamples=300).estimate(across=across)
        covered += found.low - 5 <= truth <= found.high + 5 if across != "gap" else found.low == 0
    assert covered / 150 >= 0.93


def test_groups_that_agree_are_not_certain():
    """Twelve answers of each of three groups, all wrong: the worst share may be as high as chance allows."""
    share = STATISTICS["share"]
    boot = Bootstrap.of(share, by_group(a=[0] * 12, b=[0] * 12, c=[0] * 12))
    mean, lowest, gap = (boot.estimate(across=across) for across in ("mean", "lowest", "gap"))
    assert (mean.low, mean.high) == pytest.approx((0, 100 * (1 - 0.025 ** (1 / 36))))
    assert lowest.low == gap.low == 0
    assert 5 < lowest.high < gap.high < 40
    alone = Bootstrap.of(share, by_group(a=[0] * 12)).estimate(across="highest")
    assert alone.high == pytest.approx(100 * (1 - 0.025 ** (1 / 12)), rel=0.1)


def test_a_folded_difference_is_within_its_interval_and_the_interval_within_what_is_possible():
    """A model at one half exactly and a base that always says the stereotype."""
    model, base = shares(2000, n=4000)[0], one_value_each([1] * 4000)
    found = paired_difference(DISTANCE, [model], [base])
    assert found.value == found.low == -50.0
    assert found.low < found.high < -45
    assert found.p < 0.01


def test_models_that_are_equal_on_every_item_are_not_tested():
    values = one_value_each([0, 1, 1, 1])
    found = paired_difference(STATISTICS["share"], [values, values], [values])
    assert (found.value, found.low, found.high, found.p, found.test) == (0.0, 0.0, 0.0, 1.0, "")


def test_a_group_without_values_is_left_out_and_nothing_at_all_is_undefined():
    empty = Items.of_groups([[{"i": [1.0], "j": [0.0]}], [{}]])
    assert Bootstrap.of(STATISTICS["share"], empty).estimate(across="mean").value == 50.0
    unknown = Bootstrap.of(STATISTICS["balance"], by_group(a=[0, 0], b=[1, -1, 1]))
    assert unknown.estimate(across="mean").value == pytest.approx(100 / 3)
    assert Bootstrap.of(STATISTICS["balance"], by_group(a=[0, 0])).estimate(across="mean").value is None


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
