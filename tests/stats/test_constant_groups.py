"""Draws for groups whose resamples do not vary: their quantiles by hand, who moves with whom, and what stays."""

import numpy as np
import pytest

from pipeline_core.stats.constant_groups import (
    at_ends,
    bounded_draws,
    by_part,
    jointly_bounded_draws,
    least_noise,
    pooled_draws,
    smoothed,
    symmetric,
    variance_of,
)

R = 4000
PERCENT = (0.0, 100.0)
SIGNED = (-1.0, 1.0)


def constant(*values):
    """Values (G, 1) and their resamples, which do not vary."""
    column = np.array(values)[:, None]
    return column, np.tile(column, (R, 1, 1))


def counts(*n):
    return np.array(n, float)[:, None]


def lone(*flags):
    return np.array(flags, bool)[:, None]


def quantile(draws, q):
    return float(np.nanquantile(draws, q))


def test_values_at_the_ends_of_their_range():
    bottom, top = at_ends(np.array([-1.0, -1 + 1e-12, -0.999, 0.5, 1 - 1e-12, 1.0, np.nan]), SIGNED)
    assert bottom.tolist() == [True, True, False, False, False, False, False]
    assert top.tolist() == [False, False, False, False, True, True, False]


@pytest.mark.parametrize(
    ("ends", "value", "side"), [(PERCENT, 0.0, 1), (PERCENT, 100.0, -1), (SIGNED, -1.0, 1), (SIGNED, 1.0, -1)]
)
def test_a_group_at_an_end_moves_away_by_the_exact_bound(ends, value, side):
    """Of five values that all lie at an end, 97.5 % of the draws lie within 1 - .025^(1/5) of the range."""
    values, drawn = constant(value)
    moved = bounded_draws(values, drawn, counts(5), lone(False), ends, 0)
    away = side * (moved - value) / (ends[1] - ends[0])
    assert away.min() >= 0
    assert quantile(away, 0.975) == pytest.approx(1 - 0.025**0.2, abs=0.02)
    assert quantile(away, 0.5) == pytest.approx(1 - 0.5**0.2, abs=0.02)
    assert (bounded_draws(values, drawn, counts(0), lone(False), ends, 0) != value).all(), "at least one value"


def test_a_group_of_one_cluster_may_lie_anywhere():
    values, drawn = constant(30.0, 60.0, np.nan)
    moved = bounded_draws(values, drawn, counts(1, 9, 1), lone(True, False, True), PERCENT, 0)
    assert [quantile(moved[:, 0], q) for q in (0.025, 0.5, 0.975)] == pytest.approx([2.5, 50, 97.5], abs=3)
    assert (moved[:, 1] == 60).all() and np.isnan(moved[:, 2]).all()
    low = bounded_draws(*constant(-1.0), counts(1), lone(True), SIGNED, 0)
    assert -1 <= low.min() < -0.95 and 0.95 < low.max() <= 1


def test_for_extremes_one_group_moves_at_a_time():
    values, drawn = constant(100.0, 50.0, 100.0, 20.0)
    drawn[:, 1] += np.arange(R)[:, None] % 3
    moved = bounded_draws(values, drawn, counts(5, 9, 5, 1), lone(False, False, False, True), PERCENT, 0, in_turn=True)
    moves = moved[:, [0, 2], 0] != 100
    assert (moves.sum(1) == 1).all() and 0.45 < moves[:, 0].mean() < 0.55
    assert (moved[:, 1] == drawn[:, 1]).all()
    assert len(np.unique(moved[:, 3])) > R / 2, "a group of one cluster moves in every resample"
    assert quantile(100 - moved[moves[:, 0], 0], 0.5) == pytest.approx(100 * (1 - 0.5**0.2), abs=3)


def test_for_a_mean_of_distances_groups_at_the_ends_move_together():
    """Three and five clusters: one draw from Beta(1, 8) for both."""
    values, drawn = constant(-1.0, 1.0, 0.25, 0.5)
    moved = jointly_bounded_draws(values, drawn, counts(3, 5, 9, 1), lone(False, False, False, True), SIGNED, 0)
    shift = moved[:, 0, 0] + 1
    assert shift == pytest.approx(1 - moved[:, 1, 0])
    assert quantile(shift, 0.5) == pytest.approx(2 * (1 - 0.5 ** (1 / 8)), abs=0.02)
    assert (moved[:, 2] == 0.25).all()
    assert quantile(moved[:, 3], 0.025) == pytest.approx(-0.95, abs=0.05)
    single = jointly_bounded_draws(*constant(0.0), counts(1), lone(False), PERCENT, 0)
    assert quantile(single, 0.5) == pytest.approx(50, abs=3)
    at_end_alone = jointly_bounded_draws(*constant(-1.0, 1.0), counts(1, 4), lone(True, False), SIGNED, 0)
    assert quantile(1 - at_end_alone[:, 1], 0.5) == pytest.approx(2 * (1 - 0.5**0.25), abs=0.03)


def test_both_parts_of_a_complex_value_move_by_themselves():
    values, drawn = constant(1.0 + 0.5j, 0.5 + 0.0j)
    moved = bounded_draws(values, drawn, counts(4, 4) + 1j * counts(4, 4), lone(False, False), (0.0, 1.0), 0)
    assert (moved[:, 0].imag == 0.5).all() and (moved[:, 1].real == 0.5).all()
    assert quantile(moved[:, 1].imag, 0.975) == pytest.approx(1 - 0.025**0.25, abs=0.02)
    assert by_part(np.maximum, np.array([1 + 4j]), np.array([3.0])).tolist() == [3 + 4j]
    assert by_part(np.maximum, np.array([1.0]), np.array([3.0])).dtype == float


def test_unbounded_groups_of_one_cluster_vary_as_the_others_do():
    """A mean of 4 clusters with variance 1, and of 2 with 5: a single cluster has (4 + 10) / 2."""
    values, drawn = constant(10.0, 20.0, 30.0, np.nan)
    rng = np.random.default_rng(0)
    drawn[:, 0] += rng.standard_normal((R, 1))
    drawn[:, 1] += np.sqrt(5) * rng.standard_normal((R, 1))
    moved = pooled_draws(values, drawn, counts(4, 2, 1, 1), 0)
    assert (moved[:, :2] == drawn[:, :2]).all() and np.isnan(moved[:, 3]).all()
    assert moved[:, 2].mean() == pytest.approx(30, abs=0.2)
    assert moved[:, 2].std() == pytest.approx(np.sqrt(7), rel=0.05)
    assert np.isnan(pooled_draws(*constant(10.0, 20.0), counts(1, 1), 0)).all()
    several = constant(10.0, 20.0)
    assert pooled_draws(*several, counts(3, 2), 0) is several[1]


def test_symmetric_draws_have_their_mean_square_as_variance():
    values, drawn = constant(100.0, 50.0, np.nan)
    changed = drawn.copy()
    changed[:, 0] -= 8
    found = symmetric(values, drawn, changed, 0)
    assert set(found[:, 0].ravel()) == {92, 108} and 0.45 < (found[:, 0] == 92).mean() < 0.55
    assert (found[:, 1] == 50).all() and np.isnan(found[:, 2]).all()


def test_noise_of_values_at_an_end_by_hand():
    """Four values of 100 % and one at each end: 5/6, so a variance of 100^2 * 5/36, a quarter of that for the mean."""
    values, n = np.array([[100.0], [50.0], [-0.0]]), counts(4, 4, 0)
    assert smoothed(values, n, PERCENT).ravel() == pytest.approx([1e4 * 5 / 36, 1e4 / 4, 1e4 / 4])
    assert least_noise(values, n, PERCENT).ravel() == pytest.approx([1e4 * 5 / 144, 0, 1e4 / 4])
    assert smoothed(np.array([[-1.0]]), counts(2), SIGNED).ravel() == pytest.approx([4 * 3 / 16])
    both = least_noise(np.array([[1.0 + 0.5j]]), np.array([[4 + 4j]]), (0.0, 1.0))
    assert both.ravel().tolist() == [pytest.approx(5 / 144)]


def test_variances_of_resamples_by_hand():
    found = variance_of(np.array([[1.0, np.nan, np.nan], [3.0, 4.0, np.nan], [8.0, 6.0, np.inf]]))
    assert found.tolist() == [pytest.approx(26 / 3), 1, pytest.approx(np.nan, nan_ok=True)]
