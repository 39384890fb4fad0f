"""Calibration errors hold the truth, and curves rest on clusters and seeds. Simulations are seeded."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import chdtri

from pipeline_core.stats.calibration import (
    CalibrationMisses,
    _design_effect,
    error_with_seeds,
    least_error,
    reliability,
)
from pipeline_core.stats.ranking import BINS, RELATIONS
from pipeline_core.stats.related_items import Paired
from pipeline_core.stats.relation_bootstrap import RelationBootstrap
from pipeline_core.stats.spread import Spread, student

ERROR = RELATIONS["calibration_error"]


def error_of(x, y, cluster=None):
    number = np.arange(len(x)) if cluster is None else cluster
    return RelationBootstrap.of(ERROR, Paired(x, y, np.ones((len(x), 1), bool), number), resamples=200)


def test_a_curve_is_of_items_that_have_a_probability_and_an_outcome():
    (one,) = reliability([{"a": 0.7, "b": 0.7, "c": 0.2}], [{"a": 1.0, "b": 0.0, "d": 1.0}])
    assert (one.confidence, one.share, one.n) == (pytest.approx(0.7), 0.5, 2)
    assert reliability([{"a": 0.7}], [{"b": 1.0}]) == []


@pytest.mark.parametrize("n", [20, 50, 150])
@pytest.mark.parametrize("error", [0, 10])
def test_s5_a_calibration_error_reaches_down_to_the_truth(n, error):
    """Of perfectly calibrated data 20, 42 and 52 % of intervals reached 0: noise alone makes an error."""
    generator, held = np.random.default_rng(4), 0
    for _ in range(120):
        x = generator.uniform(0.6, 1, (n, 1))
        found = error_of(x, 1.0 * (generator.random((n, 1)) < x - error / 100)).estimate()
        held += found.low - 1e-9 <= error <= found.high + 1e-9
    assert held / 120 >= 0.88


def test_s5_a_large_calibration_error_is_seen():
    generator = np.random.default_rng(0)
    x = generator.uniform(0.6, 1, (400, 1))
    found = error_of(x, 1.0 * (generator.random((400, 1)) < x - 0.3)).estimate()
    assert 15 < found.low < 30 < found.high < 40


def test_s5_a_calibration_error_knows_its_clusters():
    """Twenty templates of ten questions that come true or not together."""
    generator, held = np.random.default_rng(1), 0
    cluster = np.repeat(np.arange(20), 10)
    for _ in range(100):
        x = generator.uniform(0.5, 1, 20)[cluster][:, None]
        y = 1.0 * (generator.random(20)[cluster][:, None] < x)
        held += error_of(x, y, cluster).estimate().low <= 1e-9
    assert held >= 88


def test_s5_two_rewards_that_are_calibrated_are_told_apart_seldom():
    generator, rejected = np.random.default_rng(2), 0
    for _ in range(100):
        x = generator.uniform(0.6, 1, (60, 2))
        y = np.repeat(1.0 * (generator.random((60, 1)) < x.mean(1, keepdims=True)), 2, 1)
        rejected += error_of(x, y).difference(slice(0, 1), slice(1, 2)).p < 0.05
    assert rejected <= 11


def test_s5_a_difference_of_calibration_errors_reaches_to_the_truth():
    """Errors of 0 and 20 points: 79 % of intervals held the difference, since noise raises only the smaller error."""
    generator, held = np.random.default_rng(3), 0
    for _ in range(60):
        x = generator.uniform(0.6, 1, (500, 2))
        y = 1.0 * (generator.random((500, 2)) < x - [0, 0.2])
        found = error_of(x, y).difference(slice(0, 1), slice(1, 2))
        held += found.low <= -20 <= found.high
        assert found.high < 0
    assert held >= 54


def curve_of(x, y, copies=1):
    names = [f"q{i:02d}-{copy}" for i in range(len(x)) for copy in range(copies)]
    said, came = (dict(zip(names, map(float, np.repeat(values, copies)), strict=True)) for values in (x, y))
    return said, came, {name: name.split("-")[0] for name in names}


def test_s1_a_calibration_curve_draws_templates_whole():
    """Forty copies of each of sixty items tell nothing new."""
    generator = np.random.default_rng(0)
    x = generator.uniform(0.5, 1, 60)
    y = generator.random(60) < x
    said, came, _ = curve_of(x, y)
    once = reliability([said], [came])
    said, came, clusters = curve_of(x, y, 40)
    copied = reliability([said], [came], clusters)
    assert [point.n for point in copied] == [40 * point.n for point in once]
    for one, other in zip(once, copied, strict=True):
        assert (other.low, other.high) == pytest.approx((one.low, one.high), abs=0.05)


def test_s3_a_calibration_curve_is_that_of_all_seeds():
    generator = np.random.default_rng(3)
    x = np.repeat([0.6, 0.9], 100)
    runs = [curve_of(x, generator.random(200) < x + shift) for shift in (-0.3, -0.1, 0.1)]
    curve = reliability([run[0] for run in runs], [run[1] for run in runs])
    alone = reliability([runs[0][0]], [runs[0][1]])
    assert [point.confidence for point in curve] == pytest.approx([0.6, 0.9])
    shares = [np.mean([value for name, value in run[1].items() if run[0][name] == 0.6]) for run in runs]
    assert curve[0].share == pytest.approx(np.mean(shares))
    assert curve[0].high - curve[0].low > 2 * (alone[0].high - alone[0].low), "seeds lie 20 points apart"


def test_s1_a_bin_of_one_template_is_nearly_unknown():
    said, came, clusters = curve_of(np.array([0.7]), np.array([1.0]), 40)
    (point,) = reliability([said], [came], clusters)
    assert (point.share, point.low, point.high, point.n) == (1.0, pytest.approx(0.025), 1.0, 40)
    assert reliability([{}], [{}]) == []


def misses_by_hand(x, y):
    """Misses by bin in points of all items: equally filled bins of the sorted probabilities."""
    order = np.argsort(x, kind="stable")
    bins = np.array_split(order, BINS)
    return [100 * sum(x[item] - y[item] for item in bin_) / len(x) for bin_ in bins]


def misses(x, y, cluster=None, resamples=50, seed=3):
    cluster = np.arange(len(x)) if cluster is None else np.asarray(cluster)
    return CalibrationMisses.of(np.asarray(x, float), np.asarray(y, float), cluster, seed, resamples)


def test_misses_of_the_data_are_sums_by_bin():
    rng = np.random.default_rng(0)
    x = rng.uniform(0.2, 0.9, 100)
    y = (rng.random(100) < x).astype(float)
    assert misses(x, y).found == pytest.approx(misses_by_hand(x, y))


def test_simulated_misses_have_the_variance_of_calibrated_outcomes():
    """Sum over a bin of x (1 - x), in points of all items squared; the mean is none."""
    x = np.linspace(0.05, 0.95, 200)
    made = misses(x, np.zeros(200), resamples=4000)
    assert made.noise.shape == (4000, BINS)
    variance = [sum(v * (1 - v) for v in part) * (100 / 200) ** 2 for part in np.split(x, BINS)]
    assert made.noise.var(0) == pytest.approx(variance, rel=0.1)
    assert made.noise.mean(0) == pytest.approx(np.zeros(BINS), abs=0.1)
    again = misses(x, np.zeros(200), resamples=4000)
    assert np.array_equal(made.noise, again.noise), "equal data have equal intervals"
    assert not np.array_equal(made.noise, misses(x, np.zeros(200), resamples=4000, seed=4).noise)


def test_simulated_misses_of_much_data_are_drawn_in_pieces(monkeypatch):
    x, whole = np.linspace(0.1, 0.9, 60), misses(np.linspace(0.1, 0.9, 60), np.zeros(60), resamples=7)
    monkeypatch.setattr("pipeline_core.stats.calibration.CHUNK", 120)  # two samples at a time, and one at the end
    pieces = misses(x, np.zeros(60), resamples=7)
    assert pieces.noise.shape == (7, BINS)
    assert pieces.noise == pytest.approx(whole.noise)
    monkeypatch.setattr("pipeline_core.stats.calibration.CHUNK", 1)
    assert misses(x, np.zeros(60), resamples=3).noise == pytest.approx(whole.noise[:3])


@pytest.mark.parametrize(
    ("x", "y", "growth"),
    [
        ([0.9] * 10, [1, 0] * 5, 0.25 / 0.09),  # the probabilities without their miss are .5
        ([0.5] * 10, [1, 1, 1, 1, 0] * 2, 1.0),  # .8 has less variance than .5: never below 1
        ([0.9] * 5 + [0.2] * 5, [0] * 10, 0.5 * (0.35 * 0.65) / (0.5 * (0.09 + 0.16))),  # .35, and -.35 is 0
        ([0.1] * 5 + [0.8] * 5, [1] * 10, 0.5 * (0.65 * 0.35) / (0.5 * (0.09 + 0.16))),  # .65, and 1.35 is 1
        ([1.0] * 5 + [0.0] * 5, [1] * 10, 1.0),  # stated without any doubt
    ],
)
def test_the_growth_of_the_variance_by_hand(x, y, growth):
    assert misses(x, y).growth == pytest.approx(max(1.0, growth))


def test_noise_of_scaled_misses_grows_with_them():
    made = CalibrationMisses(np.array([3.0, -1.0]), np.array([[0.5, 2.0], [-1.0, 1.0]]), 5.0)
    assert made.errors(0.0) == pytest.approx([2.5, 2.0]), "no miss: the noise of the stated probabilities"
    assert made.errors(1.0) == pytest.approx([abs(3 + 0.5 * 5**0.5) + abs(-1 + 2 * 5**0.5), 3 - 5**0.5 + 5**0.5 - 1])
    assert made.errors(0.5)[0] == pytest.approx(abs(1.5 + 0.5 * 3**0.5) + abs(-0.5 + 2 * 3**0.5))


def test_the_design_effect_of_clusters_by_hand():
    """Four clusters of two: squared sums of their errors over the variance of independent outcomes."""
    x, y = np.array([0.5] * 8), np.array([1.0, 1, 0, 0, 1, 1, 0, 0])
    sums = [1.0, 1.0, 1.0, 1.0]  # squares of -1, 1, -1, 1
    expected = sum(sums) / (8 * 0.25) * 4 / chdtri(3, 0.75)
    assert _design_effect(x, y, np.arange(8) // 2) == pytest.approx(expected)
    assert _design_effect(x, y, np.arange(8)) == 1.0, "single outcomes have the variance of the simulation"
    shifted = np.array([1.0, 1, 1, 0, 1, 1, 1, 0])  # errors less their mean: -.25 and .75
    squares = [(-0.5) ** 2, 0.5**2, (-0.5) ** 2, 0.5**2]
    assert _design_effect(x, shifted, np.arange(8) // 2) == pytest.approx(sum(squares) / 2 * 4 / chdtri(3, 0.75))
    half = np.array([0.5] * 4 + [1.0] * 4)  # outcomes that are no 0 or 1 vary as they do
    away = np.array([0.0] * 4 + [-0.5] * 4) + 0.25
    assert _design_effect(x, half, np.arange(8)) == pytest.approx(sum(away**2) / 2 * 8 / chdtri(7, 0.75))
    assert _design_effect(np.array([1.0, 0.0]), np.array([0.0, 0.0]), np.array([0, 0])) == 1.0, "nothing is expected"
    one = _design_effect(x, shifted, np.zeros(8))
    assert one == pytest.approx(0.0), "the errors of one cluster sum to their mean"


def test_the_least_error_is_the_first_scale_that_reaches_the_value():
    made = CalibrationMisses(np.array([10.0]), np.array([[-1.0], [0.0], [1.0], [2.0]]), 1.0)
    # 10 s + 2 at most, and 10 s + .5 in half of the samples
    assert least_error([made], 10.0, 0.0) == pytest.approx(9.5)
    assert least_error([made], 10.0, 0.9999) == pytest.approx(8.1, abs=0.1 + 1e-9)
    assert least_error([made], 1.0, 0.9999) == 0.0, "perfect calibration would give it"
    assert least_error([made], 99.0, 0.5) == 99.0, "no scale reaches it"
    other = CalibrationMisses(np.array([20.0]), np.array([[0.0]] * 4), 1.0)
    assert least_error([made, other], 15.0, 0.0) == pytest.approx(15 * 0.99, abs=0.15 + 1e-9), "of the mean over seeds"


def test_seeds_widen_the_lower_end_of_an_error():
    made = [CalibrationMisses(np.array([10.0]), np.array([[-1.0], [0.0], [1.0], [2.0]]), 1.0)]
    alone, seeds = Spread(1.0, 0.0, 9.0), Spread(1.0, 4.0, 9.0)
    reach = (10.0 - least_error(made, 10.0, 0.9)) * student(0.9, 9.0) / student(0.9, math.inf)
    assert error_with_seeds(made, 10.0, alone, 0.9) == pytest.approx(10 - reach)
    assert error_with_seeds(made, 10.0, seeds, 0.9) == pytest.approx(10 - math.hypot(reach, student(0.9, 9.0) * 2))
