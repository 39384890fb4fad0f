"""The preference gap: losses and accuracies by hand, the reference itself, the worst group."""

import math
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from pipeline_core.evaluation import write_evaluation
from pipeline_core.loops.score_cache import cached_scores
from pipeline_core.loops.scoring import score_completions
from pipeline_core.modeling import load_model
from pipeline_core.ops.preference import PairLogps
from pipeline_core.testing import check_plugin, tiny_model
from plugins.evaluate.preference_gap import PreferenceGapConfig, measures, pair_scores


def logps(chosen, rejected, reference_chosen, reference_rejected):
    values = [torch.tensor(v, dtype=torch.float64) for v in (chosen, rejected, reference_chosen, reference_rejected)]
    ones = torch.ones(len(chosen), dtype=torch.int64)
    return PairLogps(*values, ones, ones)


ROWS = [{"id": str(i), "domain": domain, "group": ["g"]} for i, domain in enumerate(["a", "a", "b", "b"])]
# margins h: 2, -2, 0, 4
PAIRS = logps([-1, -3, -2, 0], [-2, -2, -2, -3], [-2, -2, -3, -2], [-1, -3, -3, -1])


def metrics(tmp_path, pairs, **config):
    config = PreferenceGapConfig(**config)
    return write_evaluation(tmp_path, list(pair_scores(config, ROWS, pairs)), measures(config.group_by))


def test_logistic_loss_and_accuracies_by_hand(tmp_path):
    found = metrics(tmp_path, PAIRS, beta=0.5)
    losses = [math.log1p(math.exp(-0.5 * h)) for h in (2, -2, 0, 4)]
    assert found["preference_gap/loss"] == pytest.approx(sum(losses) / 4)
    assert found["preference_gap/loss/worst_group"] == pytest.approx(sum(losses[:2]) / 2)
    assert found["preference_gap/reward_accuracy"] == 100 * (1 + 0 + 0.5 + 1) / 4
    assert found["preference_gap/reward_accuracy/worst_group"] == 50
    assert found["preference_gap/reward_accuracy/gap"] == 25
    assert found["preference_gap/logp_accuracy"] == 100 * (1 + 0 + 0.5 + 1) / 4


def test_squared_loss_by_hand(tmp_path):
    found = metrics(tmp_path, PAIRS, loss="squared", beta=0.25)
    assert found["preference_gap/loss"] == pytest.approx(sum((h - 2) ** 2 for h in (2, -2, 0, 4)) / 4)


def test_the_reference_itself_has_log_2_and_no_reward_accuracy(tmp_path):
    same = logps([-1, -3, -2, 0], [-2, -2, -2, -3], [-1, -3, -2, 0], [-2, -2, -2, -3])
    found = metrics(tmp_path, same)
    assert found["preference_gap/loss"] == pytest.approx(math.log(2))
    assert "preference_gap/reward_accuracy" not in found
    assert found["preference_gap/logp_accuracy"] == 62.5


def test_it_conforms(tmp_path):
    result = check_plugin("evaluate", "preference_gap", tmp_path)
    assert result.metrics["preference_gap/loss"] == pytest.approx(math.log(2))
    assert result.metrics["preference_gap/worst_group_loss"] == pytest.approx(math.log(2))


def test_reference_scores_are_kept_by_content(tmp_path):
    folder = tiny_model(tmp_path / "model")
    context = SimpleNamespace(scratch=tmp_path / "scratch", device="cpu", is_main=True)
    first = cached_scores(folder, ["a"], ["late"], context)
    direct = score_completions(*load_model(folder), ["a"], ["late"])
    (file,) = (tmp_path / "scratch/scores").iterdir()
    written = file.stat().st_mtime_ns
    again = cached_scores(folder, ["a"], ["late"], context)
    assert file.stat().st_mtime_ns == written
    assert first.logps.tolist() == again.logps.tolist() == direct.logps.tolist()
    cached_scores(folder, ["a"], ["late"], context, eos=True)
    assert len(list(Path(tmp_path / "scratch/scores").iterdir())) == 2
