"""The preference gap: losses and accuracies by hand, the reference itself, the worst group."""

import json
import math
import random
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from pipeline_core.conformance.kit import check_plugin, tiny_model
from pipeline_core.evaluation.measures import write_evaluation
from pipeline_core.evaluation.units import units_of
from pipeline_core.losses.preference import PairLogps
from pipeline_core.models.likelihood.scoring import score_completions
from pipeline_core.models.loading import load_model
from plugins.evaluate.preference_gap._score_cache import cached_scores
from plugins.evaluate.preference_gap.plugin import PreferenceGapConfig, measures, pair_scores, run
from tests.plugins.evaluate.rigged_models import word_model


def logps(chosen, rejected, reference_chosen, reference_rejected):
    values = [torch.tensor(v, dtype=torch.float64) for v in (chosen, rejected, reference_chosen, reference_rejected)]
    ones = torch.ones(len(chosen), dtype=torch.int64)
    return PairLogps(*values, ones, ones)


ROWS = [{"id": str(i), "domain": domain, "group": ["g"]} for i, domain in enumerate(["a", "a", "b", "b"])]
# margins h: 2, -2, 0, 4
PAIRS = logps([-1, -3, -2, 0], [-2, -2, -2, -3], [-2, -2, -3, -2], [-1, -3, -3, -1])


def metrics(tmp_path, pairs, **config):
    config = PreferenceGapConfig(**config)
    return write_evaluation(tmp_path, list(pair_scores(config, ROWS, pairs, units_of(ROWS))), measures(config.group_by))


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


def test_a_pair_whose_likelihood_is_no_number_is_invalid_and_has_no_other_score(tmp_path):
    broken = logps([math.nan, -3, -math.inf, 0], [-2, -2, -2, -3], [-2, -2, -3, -2], [-1, -3, -3, -1])
    found = metrics(tmp_path, broken)
    assert found["preference_gap/invalid_share"] == 50
    assert found["preference_gap/reward_accuracy"] == found["preference_gap/logp_accuracy"] == 50
    nothing = logps(*[[math.nan] * 4] * 4)
    assert metrics(tmp_path, nothing) == {"preference_gap/invalid_share": 100}


LEANS = {"always": ({"good": 3}, 100), "never": ({"bad": 3}, 0)}


def pairs_of_words(count, chosen="good", rejected="bad"):
    return [
        {"id": f"p{n}", "prompt": "the one is", "chosen": chosen.format(n), "rejected": rejected.format(n)}
        | {"domain": "ab"[n % 2], "group": ["g"]}
        for n in range(count)
    ]


def measured(tmp_path, rows, favours):
    """Metrics and measures of a model with these favours against one that finds all words alike."""
    texts = [f"{row['prompt']} {row[side]}" for row in rows for side in ("chosen", "rejected")]
    model, reference = (word_model(tmp_path / name, texts, likes) for name, likes in (("m", favours), ("r", None)))
    inputs = SimpleNamespace(
        data=lambda ref: SimpleNamespace(to_list=lambda: rows),
        catalog=SimpleNamespace(left_out=lambda ref: {}, entry=lambda name: SimpleNamespace(unit=None)),
        model=model,
        reference=reference,
    )
    out = tmp_path / "out"
    out.mkdir()
    context = SimpleNamespace(scratch=tmp_path / "scratch", device="cpu", is_main=True, seed=0)
    return run(PreferenceGapConfig(data="sandbox_pairs"), inputs, out, context), json.loads(
        (out / "measures.json").read_text()
    )


@pytest.mark.parametrize("name", LEANS)
def test_models_that_always_and_never_prefer_the_chosen_one(tmp_path, name):
    favours, expected = LEANS[name]
    found, _ = measured(tmp_path, pairs_of_words(6), favours)
    for figure in ("reward_accuracy", "logp_accuracy"):
        assert found[f"preference_gap/{figure}"] == found[f"preference_gap/{figure}/worst_group"] == expected


def test_a_random_model_is_at_chance_within_its_interval(tmp_path):
    rows, rng = pairs_of_words(80, "w{}a", "w{}b"), random.Random(0)
    favours = {row[side]: rng.gauss(0, 1) for row in rows for side in ("chosen", "rejected")}
    _, entries = measured(tmp_path, rows, favours)
    for figure in ("reward_accuracy", "logp_accuracy"):
        entry = entries[f"preference_gap/{figure}"]
        assert entry["low"] < 50 < entry["high"]


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
