"""Statistics of two numbers per item: by hand, against naive loops and libraries, and what must not change them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pipeline_core.stats import bounded, related_items
from pipeline_core.stats.calibration import reliability
from pipeline_core.stats.ranking import RELATIONS, equal_bins
from pipeline_core.stats.related_items import Paired, resampling_weights
from pipeline_core.stats.relation_bootstrap import EVERY, RelationBootstrap

calm = settings(deadline=None, derandomize=True)
small = st.integers(-4, 4).map(float)
rows = st.lists(st.tuples(small, st.integers(0, 1).map(float)), min_size=2, max_size=25)


def figure(name, x, y, weights=None):
    found = RELATIONS[name](np.array(x, float), np.array(y, float), weights)
    return float(found[0])


def naive_auc(x, y):
    wins = [
        (a > b) + 0.5 * (a == b)
        for (a, one), (b, zero) in itertools.product(zip(x, y, strict=True), repeat=2)
        if one == 1 and zero == 0
    ]
    return sum(wins) / len(wins) if wins else float("nan")


@pytest.mark.parametrize(
    ("x", "y", "expected"),
    [
        ([1, 2, 3, 4], [0, 0, 1, 1], 1.0),
        ([1, 2, 3, 4], [1, 1, 0, 0], 0.0),
        ([1, 2, 3, 4], [0, 1, 0, 1], 0.75),  # 2 > 1, 4 > 1, 4 > 3; 2 < 3
        ([5, 5, 5], [0, 1, 1], 0.5),
        ([1, 1, 2], [0, 1, 1], 0.75),  # one tie, one win
    ],
)
def test_auc_by_hand(x, y, expected):
    assert figure("auc", x, y) == expected


@calm
@given(rows)
def test_auc_is_what_a_double_loop_and_sklearn_count(pairs):
    from sklearn.metrics import roc_auc_score

    x, y = zip(*pairs, strict=True)
    assume(len(set(y)) == 2)
    assert figure("auc", x, y) == pytest.approx(naive_auc(x, y), abs=1e-12)
    assert figure("auc", x, y) == pytest.approx(roc_auc_score(y, x), abs=1e-12)


@pytest.mark.parametrize("name", ["spearman", "pearson"])
@calm
@given(st.lists(st.tuples(small, small), min_size=3, max_size=25))
def test_correlations_are_those_of_scipy(name, pairs):
    import scipy.stats

    x, y = zip(*pairs, strict=True)
    assume(len(set(x)) > 1 and len(set(y)) > 1)
    reference = getattr(scipy.stats, f"{name}r")(x, y).statistic
    assert figure(name, x, y) == pytest.approx(reference, abs=1e-9)


def test_correlations_by_hand():
    """Ranks 1, 2.5, 2.5, 4 against 1, 2, 3, 4: covariance 4.5 over sqrt(4.5 * 5)."""
    assert figure("spearman", [1, 7, 7, 9], [1, 2, 3, 40]) == pytest.approx(4.5 / np.sqrt(4.5 * 5))
    assert figure("pearson", [0, 1, 2], [0, 1, 5]) == pytest.approx(5 / np.sqrt(2 * 14))


@pytest.mark.parametrize("name", ["auc", "spearman"])
@calm
@given(rows)
def test_a_rising_transform_changes_no_order(name, pairs):
    x, y = map(np.array, zip(*pairs, strict=True))
    assume(len(set(x)) > 1 and len(set(y)) > 1)
    before = figure(name, x, y)
    assert figure(name, np.exp(x) * 3 - 1e3, y) == pytest.approx(before, abs=1e-12)
    assert figure(name, -x, y) == pytest.approx((1 - before) if name == "auc" else -before, abs=1e-12)


@pytest.mark.parametrize("name", sorted(RELATIONS))
@calm
@given(rows, st.randoms(use_true_random=False))
def test_whole_weights_are_rows_written_down_so_often(name, pairs, random):
    x, y = map(np.array, zip(*pairs, strict=True))
    if name == "calibration_error":
        x = (x + 4) / 8
    weights = np.array([random.randint(0, 3) for _ in pairs])
    assume(weights.sum() > 0)
    weighted = figure(name, x, y, weights[None].astype(float))
    if name == "calibration_error":  # bins are those of the data, whatever is drawn from it
        bins, expected = equal_bins(x), 0.0
        for index in np.unique(bins):
            part = bins == index
            expected += abs((weights * (x - y))[part].sum())
        assert weighted == pytest.approx(100 * expected / weights.sum())
    else:
        repeated = figure(name, np.repeat(x, weights), np.repeat(y, weights))
        assert weighted == pytest.approx(repeated, abs=1e-9, nan_ok=True)


@pytest.mark.parametrize(
    ("name", "x", "y"),
    [
        ("auc", [1, 2], [1, 1]),
        ("auc", [1, 2], [0, 0]),
        ("balanced_accuracy", [1, 0], [1, 1]),
        ("spearman", [0.1, 0.1, 0.1], [1, 2, 3]),
        ("pearson", [1, 2, 3], [1e9 + 0.1] * 3),
    ],
)
def test_one_class_or_a_constant_is_undefined_never_zero(name, x, y):
    assert np.isnan(figure(name, x, y))


@pytest.mark.parametrize("name", sorted(RELATIONS))
def test_nothing_is_undefined(name):
    assert np.isnan(figure(name, [], []))


def test_balanced_accuracy_by_hand():
    assert figure("balanced_accuracy", [1, 1, 1, 0, 0], [1, 1, 1, 1, 0]) == 100 * (3 / 4 + 0 / 1) / 2


def test_calibration_error_by_hand():
    """Two bins: said .6, half right; said .9, all right: distances .1 and .1."""
    x, y = [0.6] * 10 + [0.9] * 10, [1, 0] * 5 + [1] * 10
    assert figure("calibration_error", x, y) == pytest.approx(10)
    names = [f"i{index:02d}" for index in range(20)]
    first, last = reliability([dict(zip(names, x, strict=True))], [dict(zip(names, map(float, y), strict=True))])
    assert (first.confidence, first.share, first.n) == (pytest.approx(0.6), 0.5, 10)
    assert (last.confidence, last.share, last.high) == (pytest.approx(0.9), 1.0, pytest.approx(1.0))
    assert first.low == pytest.approx(bounded.of_share(0.5, 10, 9, 0.95)[0], abs=0.02)  # Wilson, 5 of 10
    assert last.low == pytest.approx(0.025 ** (1 / 10))


def test_bins_are_equally_full_and_keep_ties_together():
    assert np.bincount(equal_bins(np.arange(100.0))).tolist() == [10] * 10
    assert len(set(equal_bins(np.full(50, 0.5)))) == 1


def test_subgroup_areas_of_borkan_by_hand():
    """The group's texts score two lower, good ones as well: within the group nothing is wrong, beside others it is."""
    x = np.array([0, 1, 2, 3], float)  # bad in the group, good in it, bad elsewhere, good elsewhere
    y, member = np.array([0, 1, 0, 1], float), np.array([True, True, False, False])
    found = {}
    for name in ("auc", "bpsn_auc", "bnsp_auc"):
        chosen = RELATIONS[name].select(member, y)
        found[name] = figure(name, x[chosen], y[chosen])
    assert found == {"auc": 1.0, "bpsn_auc": 0.0, "bnsp_auc": 1.0}


def items(x, y, member=None, cluster=None):
    x, y = (np.atleast_2d(np.asarray(v, float).T).T for v in (x, y))
    member = np.ones((len(x), 1), bool) if member is None else np.asarray(member, bool)
    return Paired(x, y, member, np.arange(len(x)) if cluster is None else np.asarray(cluster))


@pytest.mark.parametrize("name", ["auc", "spearman"])
def test_the_interval_covers_the_truth_about_95_times_in_a_hundred(name):
    rng, hits, trials = np.random.default_rng(0), 0, 120
    truth = {"auc": 0.760250, "spearman": 6 / np.pi * np.arcsin(0.5 / 2)}[name]  # Phi(1 / sqrt 2); Kruskal 1958
    for _ in range(trials):
        if name == "auc":
            y = np.repeat([0.0, 1.0], 40)
            x = rng.normal(size=80) + y
        else:
            y = rng.normal(size=80)
            x = 0.5 * y + np.sqrt(0.75) * rng.normal(size=80)
        found = RelationBootstrap.of(RELATIONS[name], items(x, y), resamples=300).estimate()
        hits += found.low <= truth <= found.high
    assert 0.88 <= hits / trials <= 0.99


def test_clusters_are_drawn_whole():
    """Twenty copies of one item are one item: the interval is as wide as without them."""
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=40), rng.integers(0, 2, 40).astype(float)
    alone = RelationBootstrap.of(RELATIONS["auc"], items(x, y)).estimate()
    copies = items(np.repeat(x, 20), np.repeat(y, 20), cluster=np.repeat(np.arange(40), 20))
    together = RelationBootstrap.of(RELATIONS["auc"], copies).estimate()
    assert (together.value, together.n, together.n_clusters) == (alone.value, 800, 40)
    assert (together.low, together.high) == pytest.approx((alone.low, alone.high))


def test_large_samples_get_as_many_resamples_and_chunks_change_nothing(monkeypatch):
    rng = np.random.default_rng(4)
    y = rng.integers(0, 2, 60).astype(float)
    small = items(rng.normal(size=60) + y, y)
    whole = RelationBootstrap.of(RELATIONS["auc"], small, resamples=50).drawn
    monkeypatch.setattr(related_items, "CHUNK", 60 * 7)
    assert np.allclose(RelationBootstrap.of(RELATIONS["auc"], small, resamples=50).drawn, whole, rtol=1e-12)
    monkeypatch.undo()
    many = rng.integers(0, 2, 30_000).astype(float)
    assert len(RelationBootstrap.of(RELATIONS["pearson"], items(many, many), resamples=400).drawn) == 400


def test_perfect_order_still_has_an_interval():
    """Twenty independent pairs, all right: theta ** 20 = 2.5 %."""
    found = RelationBootstrap.of(RELATIONS["auc"], items(np.arange(50.0), np.arange(50) >= 20)).estimate()
    assert (found.value, found.high) == (1.0, 1.0)
    assert found.low == pytest.approx(0.025 ** (1 / 20))


def test_a_group_of_one_class_is_undefined_and_the_others_stand():
    member = np.repeat([[True, False], [False, True]], 4, axis=0)
    found = RelationBootstrap.of(RELATIONS["auc"], items(np.arange(8.0), [0, 1, 0, 1, 1, 1, 1, 1], member))
    first, second = found.group(0).estimate(), found.group(1).estimate()
    assert (first.value, first.n) == (0.75, 4)
    assert (second.value, second.low, second.high, second.n) == (None, None, None, 4)
    assert found.estimate(EVERY, "lowest").value == 0.75


def test_differences_are_paired_and_equal_models_are_not_tested():
    rng = np.random.default_rng(2)
    y = rng.integers(0, 2, 200).astype(float)
    good = y + rng.normal(size=200)
    both = items(np.stack([good, good + 0.1 * rng.normal(size=200), good], 1), np.stack([y] * 3, 1))
    found = RelationBootstrap.of(RELATIONS["auc"], both)
    near = found.difference(slice(0, 1), slice(1, 2))
    assert near.low <= near.value <= near.high
    assert near.high - near.low < 0.3 * (found.estimate(slice(0, 1)).high - found.estimate(slice(0, 1)).low)
    same = found.difference(slice(0, 1), slice(2, 3))
    assert (same.value, same.p, same.test) == (0.0, 1.0, "")


def test_a_better_reward_is_shown_to_be_better():
    rng = np.random.default_rng(3)
    y = np.repeat([0.0, 1.0], 100)
    both = items(np.stack([y + rng.normal(size=200), rng.normal(size=200)], 1), np.stack([y, y], 1))
    found = RelationBootstrap.of(RELATIONS["auc"], both).difference(slice(0, 1), slice(1, 2))
    assert found.low > 0.1
    assert found.p < 0.01


def test_every_resample_holds_each_class_as_often_though_the_first_model_lacks_items():
    labels = np.repeat([0.0, 1.0], [12, 8])
    y = np.stack([labels, labels], axis=1)
    y[::3, 0] = np.nan
    paired = Paired(np.zeros_like(y), y, np.ones((20, 1), bool), np.arange(20))
    (weights,) = resampling_weights(RELATIONS["auc"], paired, seed=0, resamples=50)
    assert weights[:, labels == 1].sum(1) == pytest.approx(np.full(50, 8.0))
