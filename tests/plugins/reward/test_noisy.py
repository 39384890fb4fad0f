"""Noise that belongs to a text: its size, its sameness, and what it leaves of a reward."""

import hashlib
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from datasets import Dataset

from pipeline_core.plugin.registry import load_registry
from pipeline_core.rewards.load import load_reward
from plugins.reward import lexicon, noisy
from plugins.reward.noisy import NoisyConfig, error, with_noise
from tests.rewards.worlds import Given, made, pairs

ROWS = pairs(120)


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    root = tmp_path_factory.mktemp("clean")
    (root / "words.yaml").write_text("late: 1\ndreamy: 1\n")
    config = lexicon.LexiconConfig(words=str(root / "words.yaml"))
    return made(lexicon, config, Given(Dataset.from_list(ROWS)), root / "words")[0]


def test_errors_are_standard_normal_and_belong_to_the_text(monkeypatch):
    errors = [error("The baker is", f"text {number}", 0) for number in range(4000)]
    assert abs(np.mean(errors)) < 0.06 and np.std(errors) == pytest.approx(1, abs=0.05)
    assert error("a", "b", 0) == error("a", "b", 0) != error("a", "b", 1)
    assert error("a", "b", 0) != error("ab", "", 0)
    monkeypatch.setattr(hashlib, "blake2b", lambda *_, **__: SimpleNamespace(digest=lambda: b"\xff" * 7))
    assert 8 < error("a", "b", 0) < 9  # the quantile of 1 - 2**-53, not of 1


def test_scores_do_not_hang_on_the_batch():
    flat = with_noise(lambda prompts, texts: torch.zeros(len(texts)), 2.0, 3)
    together = flat(["a", "b"], ["x", "y"]).tolist()
    assert together == [flat(["a"], ["x"]).item(), flat(["b"], ["y"]).item()]
    assert together[0] == pytest.approx(2 * error("a", "x", 3))


@pytest.mark.parametrize(("noise", "low", "high"), [(0.0, 100, 100), (1.0, 65, 95), (20.0, 35, 65)])
def test_noise_takes_accuracy_away(clean, tmp_path, noise, low, high):
    given = Given(Dataset.from_list(ROWS), folders={"preferences": tmp_path, "part:words": clean})
    folder, metrics = made(noisy, NoisyConfig(noise=noise), given, tmp_path / "out")
    assert low <= metrics["held_out/pairwise_accuracy"] <= high
    reward = load_reward(folder, "cpu", load_registry())
    assert reward([""], ["late"]).shape == (1,)
