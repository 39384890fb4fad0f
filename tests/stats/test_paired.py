"""Means over seeds and paired differences, worked by hand."""

import numpy as np
import pytest

from pipeline_core.stats.paired import over_seeds, paired_over_seeds


def test_mean_standard_error_and_interval_by_hand():
    """Differences 1, 2, 3, 6: mean 3, variance 14/3; Student's 97.5 % point with 3 degrees of freedom is 3.1824463."""
    values = np.array([2.0, 4.0, 6.0, 10.0])
    assert over_seeds(values).mean == 5.5
    assert over_seeds(values).se == pytest.approx((35 / 3) ** 0.5 / 2)
    found = paired_over_seeds(values, np.array([1.0, 2.0, 3.0, 4.0]))
    se = (14 / 3 / 4) ** 0.5
    assert (found.mean, found.se, found.n, found.below_zero) == (3.0, pytest.approx(se), 4, 0)
    assert (found.low, found.high) == pytest.approx((3 - 3.1824463 * se, 3 + 3.1824463 * se))


def test_seeds_at_which_the_difference_is_below_zero_are_counted():
    found = paired_over_seeds(np.array([1.0, 2.0, 3.0]), np.array([2.0, 2.0, 1.0]), level=0.5)
    assert (found.mean, found.n, found.below_zero) == (pytest.approx(1 / 3), 3, 1)
    se = (7 / 3 / 3) ** 0.5  # differences -1, 0, 2; Student's 75 % point with 2 degrees of freedom is 0.8164966
    assert (found.low, found.high) == pytest.approx((1 / 3 - 0.8164966 * se, 1 / 3 + 0.8164966 * se))
