"""Differences of two models whose items differ, that agree on all items, or of which tests and intervals disagree."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline_core.ops.bootstrap import Bootstrap
from pipeline_core.ops.resampling import Items
from pipeline_core.ops.stats import STATISTICS

SHARE, SIGNED = STATISTICS["share"], STATISTICS["signed_share"]
FIRST, SECOND = slice(0, 1), slice(1, 2)


def test_s5_a_difference_whose_items_differ_rests_on_its_spread():
    """A policy answers as the base, but says "unknown" on 15 of 50 biased answers. The models agree on every item that
    both answer, so the variance of the pairs' differences is 0."""
    base = {f"q{i}": [float(i % 2 == 0)] for i in range(100)}
    policy = {name: value for name, value in base.items() if int(name[1:]) >= 30 or value == [0.0]}
    boot = Bootstrap.of(Items.collect(policy, base))
    found = boot.difference(SIGNED, FIRST, SECOND)
    drawn = 200 * (boot.drawn[:, 0, 0] - boot.drawn[:, 0, 1])
    assert (found.low, found.high) == pytest.approx(np.quantile(drawn, [0.025, 0.975]), abs=2.5)
    assert 1e-6 < found.p < 0.01


@pytest.mark.parametrize(("dropped", "n"), [(0.2, 100), (0.5, 60)])
def test_s5_models_alike_whose_items_differ_are_told_apart_seldom(dropped, n):
    generator, rejected = np.random.default_rng(1), 0
    for _ in range(150):
        values, kept = generator.random(n) < 0.6, generator.random(n) >= dropped
        base = {f"q{i}": [float(values[i])] for i in range(n)}
        policy = {name: value for (name, value), is_kept in zip(base.items(), kept, strict=True) if is_kept}
        boot = Bootstrap.of(Items.collect(policy, base), resamples=300)
        rejected += boot.difference(SIGNED, FIRST, SECOND).p < 0.05
    assert rejected / 150 <= 0.08, "28 and 32 % of models alike were told apart"
