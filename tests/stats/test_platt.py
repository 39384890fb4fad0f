"""Probabilities fitted to scores: against a library, on what is parted perfectly, the wrong way round or not at all."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline_core.stats import platt

calm = settings(deadline=None, derandomize=True)


def sample(slope, intercept, n=4000, seed=0):
    rng = np.random.default_rng(seed)
    score = rng.normal(2.0, 3.0, n)
    return score, (rng.random(n) < 1 / (1 + np.exp(-slope * score - intercept))).astype(float)


def test_the_fit_is_that_of_logistic_regression():
    from sklearn.linear_model import LogisticRegression

    score, label = sample(0.8, -1.0)
    reference = LogisticRegression(C=np.inf, tol=1e-10).fit(score[:, None], label)
    slope, intercept = platt.fit(score, label)
    assert slope == pytest.approx(reference.coef_[0, 0], rel=0.01)  # Platt's targets pull a little
    assert intercept == pytest.approx(reference.intercept_[0], rel=0.02)


def test_classes_that_are_parted_have_a_finite_fit_that_says_platts_targets():
    score = np.array([-1.0] * 8 + [1.0] * 8)
    slope, intercept = platt.fit(score, (score > 0).astype(float))
    assert 1 / (1 + np.exp(-slope - intercept)) == pytest.approx(9 / 10)
    assert 1 / (1 + np.exp(slope - intercept)) == pytest.approx(1 / 10)


def test_a_score_the_wrong_way_round_gets_the_share():
    score, label = sample(-0.8, 0.5)
    slope, intercept = platt.fit(score, label)
    assert slope == 0.0
    assert 1 / (1 + np.exp(-intercept)) == pytest.approx(label.mean(), abs=1e-3)


@calm
@given(st.floats(0.01, 100), st.floats(-1e3, 1e3))
def test_probabilities_know_no_unit(scale, shift):
    score, label = sample(0.8, -1.0, n=200)
    half = np.arange(200) % 2 == 0
    expected = platt.cross_fitted(score, label, half)
    assert platt.cross_fitted(score * scale + shift, label, half) == pytest.approx(expected, abs=1e-6)


def test_each_half_is_told_by_the_other():
    """Where the halves disagree on which way is up, each is told what the other knows."""
    score = np.tile([0.0, 1.0], 20)
    half = np.arange(40) < 20
    label = np.where(half, score, 1 - score)
    found = platt.cross_fitted(score, label, half)
    assert found[half] == pytest.approx(0.5)  # the other half's slope would be negative
    assert (found[~half & (score == 1)] > 0.8).all()


def test_confidence_is_at_least_one_half_and_grows_with_the_margin():
    rng = np.random.default_rng(0)
    margin = rng.normal(0.5, 1.0, 400)
    found = platt.confidences(margin, np.arange(400) % 2 == 0)
    for part in (slice(0, None, 2), slice(1, None, 2)):
        order = np.argsort(np.abs(margin[part]))
        assert (np.diff(found[part][order]) >= 0).all()
    assert found.min() >= 0.5


@pytest.mark.parametrize(
    ("score", "label", "expected"),
    [
        ([1, 2, 3, 4], [0, 0, 1, 1], 2.5),
        ([1, 2, 3, 10], [0, 0, 0, 1], 6.5),
        ([1, 2, 3, 4], [0, 1, 0, 1], 1.5),  # as good as 3.5, and lower
        ([7, 7], [0, 1], 7.0),
        ([1, 2], [0, 1], 1.5),
        ([1, 2, 3, 4, 5], [0, 1, 0, 0, 0], 1.5),  # a class counts by its share, however many it holds
        ([1, 2, 3, 4, 5, 6], [0, 1, 0, 0, 0, 0], 1.5),
        ([1, 2, 3], [0, 0, 0], 2.5),
    ],
)
def test_the_threshold_by_hand(score, label, expected):
    assert platt.threshold(np.array(score, float), np.array(label, float)) == expected


def test_a_threshold_beats_every_other_on_its_own_data():
    rng = np.random.default_rng(1)
    score, label = rng.integers(0, 9, 60).astype(float), rng.integers(0, 2, 60).astype(float)

    def balanced(border):
        return ((score > border)[label == 1].mean() + (score < border)[label == 0].mean()) / 2

    best = balanced(platt.threshold(score, label))
    assert best == max(balanced(border + 0.5) for border in range(8))


def test_each_half_is_judged_at_the_threshold_of_the_other():
    """The first half parts at 2.5, the second at 15: at 15 all of the first read as 0, at 2.5 all others as 1."""
    half = np.arange(6) < 3
    score, label = np.array([1.0, 2, 3, 10, 20, 30]), np.array([0.0, 0, 1, 0, 1, 1])
    assert platt.cross_fitted_right(score, label, half).tolist() == [1, 1, 0, 0, 1, 1]


def test_confidence_is_what_the_other_half_shows():
    """Eight pairs that are all in order at a margin of 1 say 9/10 there (Platt's target); eight in disorder say 1/2."""
    margin, half = np.array([1.0] * 8 + [-1.0] * 8), np.arange(16) < 8
    found = platt.confidences(margin, half)
    assert found[half] == pytest.approx(0.5)
    assert found[~half] == pytest.approx(0.9)


def test_both_halves_need_both_labels():
    half = np.array([True, True, False, False])
    assert platt.both_halves([0, 1, 1, 0], half)
    assert not platt.both_halves([0, 0, 1, 0], half)
    assert not platt.both_halves([0, 1, 1, 1], half)


def test_on_the_threshold_counts_one_half():
    half = np.array([True, True, False, False])
    right = platt.cross_fitted_right(np.full(4, 3.0), np.array([0.0, 1.0, 0.0, 1.0]), half)
    assert right.tolist() == [0.5] * 4
