"""Calibration errors hold the truth, and curves rest on clusters and seeds. Simulations are seeded."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline_core.stats.calibration import reliability
from pipeline_core.stats.ranking import RELATIONS
from pipeline_core.stats.related_items import Paired
from pipeline_core.stats.relation_bootstrap import RelationBootstrap

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
