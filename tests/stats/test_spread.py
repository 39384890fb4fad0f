"""Variance over clusters and seeds, Student's quantiles and p-values, worked by hand."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_core.stats.spread import (
    ResampledFigure,
    Spread,
    _interaction,
    differences,
    evenness,
    p_value,
    spread_of,
    student,
    upper_quartile,
)


def rows(*values):
    return np.array(values, float)


def test_quantiles_by_table():
    assert student(0.95, math.inf) == pytest.approx(1.959964)
    assert student(0.95, 10) == pytest.approx(2.228139)
    assert student(0.8, 10) == pytest.approx(1.372184)
    assert upper_quartile(2) == pytest.approx(-2 * math.log(0.75))
    spread = Spread(3.0, 1.0, 10)
    assert spread.variance == 4
    assert spread.reach() == pytest.approx(2 * 2.228139)
    assert spread.widening(0.8) == pytest.approx(1.372184 / 1.281552)


def test_interaction_of_seeds_by_hand():
    """Two seeds that move against each other: variances 1, covariance -1, so (1 + 1) / 2 is interaction."""
    assert _interaction(rows([0, 2], [2, 0])) == 1
    # Variances 1, covariances -1, 1, -1: own 1, shared -1/3, of three seeds.
    assert _interaction(rows([0, 2, 0], [2, 0, 2])) == pytest.approx(4 / 9)
    assert _interaction(rows([0, 0], [2, 2], [5, 5])) == 0, "seeds that move together"


def test_a_single_seed_has_the_variance_of_its_resamples():
    one = ResampledFigure(rows(5), rows([4], [6], [math.nan], [8]))
    assert spread_of([one], 7, 1.5) == Spread(pytest.approx(8 / 3 * 1.5), 0, pytest.approx(7))
    lost = ResampledFigure(rows(5), rows([4], [math.nan]))
    assert spread_of([lost], 7)[1:] == (0, 7) and math.isnan(spread_of([lost], 7).items)


def test_seeds_add_what_clusters_do_not_explain():
    """Seeds 1 and 5 (variance of their mean 4) whose interaction is 1, twice that with an inflation of 2."""
    two = ResampledFigure(rows(1, 5), rows([0, 2], [2, 0], [1, 1], [1, 1]))
    found = spread_of([two], 7)
    assert (found.items, found.seeds) == (0, pytest.approx(4 - 0.5))
    assert spread_of([two], 7, 2.0).seeds == pytest.approx(4 - 1)
    assert found.df == pytest.approx(1)  # all doubt is that of one degree of freedom
    both = ResampledFigure(rows(1, 5), rows([0, 0], [2, 2]))
    weights = np.array([1, 4 / upper_quartile(1)]) / (1 + 4 / upper_quartile(1))
    assert spread_of([both], 7).df == pytest.approx(1 / (weights[0] ** 2 / 7 + weights[1] ** 2))
    alike = ResampledFigure(rows(3, 3), rows([0, 0], [0, 0]))
    assert spread_of([alike], 7) == (0, 0, 7), "nothing varies"


def test_which_seeds_are_paired():
    def seeds(*values):
        return ResampledFigure(rows(*values), rows(values, values))

    (paired,) = differences(seeds(5, 7), seeds(1, 2), by_seed=True)
    assert paired.figures.tolist() == [4, 5] and paired.drawn.tolist() == [[4, 5]] * 2
    (alone,) = differences(seeds(5, 7), seeds(1), by_seed=False)
    assert alone.figures.tolist() == [4, 6]
    (alone,) = differences(seeds(5), seeds(1, 2), by_seed=True)
    assert alone.figures.tolist() == [4, 3]
    for ours, theirs, by_seed in ((seeds(5, 7), seeds(1, 2), False), (seeds(5, 7, 9), seeds(1, 2), True)):
        first, second = differences(ours, theirs, by_seed)
        assert first is ours
        assert second.figures.tolist() == [-1, -2] and second.drawn.tolist() == [[-1, -2]] * 2


def test_evenness_by_hand():
    assert evenness(rows(4, 4, 4, 0)) == pytest.approx((2, 1))
    assert evenness(rows(9)) == evenness(rows()) == (1, 1)
    # Weights 1/4 and 3/4: sums of squares .625 and cubes .4375, trace .625 - .875 + .390625.
    assert evenness(rows(1, 3)) == pytest.approx((1, 0.625 / (0.140625 * 2)))


@given(st.lists(st.integers(1, 40), min_size=2, max_size=12))
def test_evenness_is_what_a_plain_quadratic_form_has(counts):
    """The estimator is the sum of w_k^2 (x_k - mean)^2 for means x_k of one variance, written as a matrix."""
    weight = np.array(counts) / sum(counts)
    away = np.eye(len(counts)) - weight[None, :]
    form = away.T @ np.diag(weight**2) @ away
    df, correction = evenness(np.array(counts, float))
    assert df == pytest.approx(max(1.0, np.trace(form) ** 2 / np.trace(form @ form)))
    assert correction * len(counts) / (len(counts) - 1) * np.trace(form) == pytest.approx((weight**2).sum())


def test_p_values_by_hand():
    assert p_value(0.0, -1, 1, 10) == 1
    assert p_value(2.0, 0, 4, 10) == p_value(-2.0, -4, 0, 10) == pytest.approx(0.05)
    assert p_value(2.0, 0, 4, 10, level=0.9) == pytest.approx(0.1)
    assert p_value(2.0, 2, 2, 10) == 0
    # Reach 2 towards zero, whatever it is on the other side; 2.228139 / 2 is Student's quantile of .8543.
    assert p_value(1.0, -1, 99, 10) == p_value(-1.0, -99, 1, 10) == pytest.approx(0.2912, abs=1e-3)
