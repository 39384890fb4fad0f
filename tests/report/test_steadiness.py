"""How steadily a policy gained reward, by hand."""

import numpy as np
import pytest

from pipeline_core.report import write_report
from pipeline_core.report.figures.collect import Curve
from pipeline_core.report.sections.steadiness import about_rolling_mean, steadiness
from tests.report.run import FakeRun


def curve(label, seed, values):
    return Curve(label, label, seed, [{"step": step, "reward/mean": value} for step, value in enumerate(values, 1)])


def test_gains_and_spreads_by_hand():
    rising = [curve("grpo", seed, [0.0, *np.linspace(0, 1 + seed, 39)]) for seed in (0, 1)]
    (found,) = steadiness(rising)
    ends = [np.linspace(0, 1 + seed, 39)[-4:].mean() for seed in (0, 1)]
    assert (found.label, found.seeds, found.start) == ("grpo", 2, 0)
    assert found.gained == pytest.approx(np.mean(ends)) and found.over_seeds == pytest.approx(np.std(ends, ddof=1))
    assert found.error == pytest.approx(np.std(ends, ddof=1) / np.sqrt(2)) and found.learned


def test_the_spread_over_steps_knows_no_trend():
    line, noise = np.linspace(0, 10, 200), np.tile([0.1, -0.1], 100)
    assert about_rolling_mean(np.zeros(50)) == 0
    assert about_rolling_mean(noise) == pytest.approx(0.1, rel=0.05)
    inside = slice(20, -20)
    assert about_rolling_mean((line + noise)[inside]) == pytest.approx(0.15, abs=0.1)
    assert about_rolling_mean(line + noise) < 0.1 * np.std(line)


def test_one_that_moved_no_further_than_its_noise_has_not_learned():
    values = np.tile([0.1, -0.1], 50)
    (flat,) = steadiness([curve("ppo", 0, [0.1, *values[1:]])])
    # Alone: the noise of the first step and that of the mean of the last ten, here 0.1 each way.
    assert flat.error == pytest.approx(0.1 * np.sqrt(1 + 1 / 10), rel=0.05)
    assert flat.gained == pytest.approx(-0.1) and not flat.learned
    (risen,) = steadiness([curve("ppo", 0, values + np.linspace(0, 1, 100))])
    assert risen.gained == pytest.approx(0.9, abs=0.1) and risen.learned
    (lost,) = steadiness([curve("ppo", seed, [1.0, *[0.5 + 0.1 * seed] * 30]) for seed in range(3)])
    assert lost.gained < 0 and not lost.learned
    assert steadiness([curve("dpo", 0, [])]) == []


def test_the_report_shows_it(tmp_path):
    run = FakeRun(tmp_path / "store", labels=("dpo", "grpo"))
    paths = write_report(run.results, {"name": "r"}, tmp_path / "report")
    assert [one.label for one in paths.report.steadiness] == ["grpo"]
    for text in (paths.html.read_text(), paths.markdown.read_text()):
        assert "Reward gained, and how steadily" in text and "loss near zero" in text.replace("\n", " ")
