"""Intervals and p-values that agree with them, worked by hand.

Student's quantiles at 10 degrees of freedom: 1.372184 (90 %), 2.228139 (97.5 %), 3.169273 (99.5 %).
"""

import math

import numpy as np
import pytest
from scipy.special import stdtr

from pipeline_core.stats.estimates import Difference, Estimate
from pipeline_core.stats.intervals import agreeing, correlation, mover, on_logit_scale

TEN = {"df": 10, "level": 0.95}


@pytest.mark.parametrize("sign", [1, -1])
def test_an_interval_beside_an_exact_test_that_rejects_nothing_reaches_zero(sign):
    """A test with p = .2, an interval from 1 to 7 about 4: the lower end moves to where Student's tail is .2."""
    given = (4, 1, 7) if sign == 1 else (-4, -7, -1)
    found = agreeing(*given, 0.2, **TEN)
    moved = 4 - 4 * 2.228139 / 1.372184
    assert (found.low, found.high) == pytest.approx((moved, 7) if sign == 1 else (-7, -moved), abs=1e-4)
    assert found.p == 0.2


def test_a_p_value_on_the_level_has_an_interval_that_ends_at_zero():
    assert agreeing(4, 1, 7, 1 - TEN["level"], **TEN).low == pytest.approx(0, abs=1e-12)
    assert agreeing(4, -3, 7, 1 - TEN["level"], **TEN).low == -3, "what is wide enough stays"


def test_a_p_value_of_one_has_a_very_wide_interval():
    found = agreeing(4, 1, 7, 1.0, **TEN)
    assert found.low == pytest.approx(4 - 4 * 2.228139 / 1e-3, rel=1e-6)
    assert agreeing(0.0, -1, 2, 1.0, **TEN) == (-1, 2, 1), "no difference has no side"


@pytest.mark.parametrize(
    ("value", "low", "high", "in_reaches"), [(1, -1, 3, 1 / 2), (1, 0, 2, 1), (-1, -3, 1, 1 / 2), (-1, -2, 0, 1)]
)
def test_an_interval_that_holds_zero_raises_a_small_p_value(value, low, high, in_reaches):
    found = agreeing(value, low, high, 0.01, **TEN)
    assert found[:2] == (low, high)
    assert found.p == pytest.approx(2 * stdtr(10, -2.228139 * in_reaches), rel=1e-5)


def test_what_agrees_stays():
    assert agreeing(4, 1, 7, 0.01, **TEN) == (4 - 3, 7, 0.01)
    raised = agreeing(4, -1, 9, 0.005, df=10, level=0.99)  # of another level
    assert raised == (-1, 9, pytest.approx(2 * stdtr(10, -4 / 5 * 3.169273), rel=1e-5))


def test_correlations_of_resamples_by_hand():
    one, two = np.array([1.0, 2, 3, math.nan, 9]), np.array([1.0, 3, 2, 5, math.inf])
    assert correlation(one, two) == pytest.approx(0.5)
    assert correlation(one / 1e3, two / 1e3) == pytest.approx(0.5)
    assert correlation(np.ones(3), np.arange(3.0)) == correlation(np.arange(3.0), np.ones(3)) == 0
    assert correlation(np.full(3, math.nan), np.arange(3.0)) == 0


def test_an_interval_on_the_logit_scale_by_hand():
    """75 of 0 to 100 plus and minus 10: log 3 plus and minus 10 / (100 * 3/4 * 1/4)."""
    ends = [100 / (1 + math.exp(-(math.log(3) + sign * 10 / 18.75))) for sign in (-1, 1)]
    assert on_logit_scale(75, 10, 0, 100) == pytest.approx(ends)
    assert on_logit_scale(0.5, 0.2, -1, 1) == pytest.approx([2 * end / 100 - 1 for end in ends])


def test_a_difference_of_two_intervals_by_hand():
    """Distances 3 and 4 make 5; with a correlation of 1 the difference of both."""
    mine, base = Estimate(10, 7, 14, 9, 9), Estimate(2, -1, 6, 9, 9)
    assert mover(mine, base) == (8 - math.hypot(3, 4), 8 + math.hypot(4, 3))
    assert mover(mine, base, 1.0) == pytest.approx((8 - 1, 8 + 1))
    assert mover(mine, base, 0.5) == pytest.approx((8 - math.sqrt(25 - 12), 8 + math.sqrt(25 - 12)))


def test_figures_without_an_interval_or_a_test():
    assert Estimate(1.0, None, 2.0, 3, 2).ends is Estimate(1.0, 0.0, None, 3, 2).ends is None
    assert Estimate(1.0, 0.0, 2.0, 3, 2).ends == (0, 2)
    assert Difference.untested(1.5, 5, 3) == Difference(1.5, None, None, n=5, n_clusters=3, p=None, test="")
    assert Difference.none(5, 3) == Difference(0, 0, 0, n=5, n_clusters=3, p=1, test="")
