"""The sign of a reward: by an exact test, on held-out pairs, and never assumed."""

import json
import re

import numpy as np
import pytest
import torch
from datasets import Dataset

from pipeline_core.errors import BadInput
from pipeline_core.plugin.registry import load_registry
from pipeline_core.rewards.load import load_reward
from pipeline_core.rewards.measuring import reward_metrics
from pipeline_core.rewards.scored_text import NOTHING, TextSource, hold_out, joined
from pipeline_core.rewards.sign import deciding_pairs, doubt, sign_metrics
from plugins.reward import lexicon, tfidf_ridge
from tests.rewards.worlds import Given, context, made, pairs, scored_text


@pytest.mark.parametrize(
    ("wins", "losses", "sign", "p_value"),
    [(9, 1, 1, 22 / 1024), (1, 9, -1, 22 / 1024), (5, 5, 1, 1.0), (8, 0, 1, 2 / 256), (0, 0, 1, 1.0)],
)
def test_the_sign_by_an_exact_binomial_test(wins, losses, sign, p_value):
    better = np.array([1.0] * wins + [0.0] * losses + [3.0] * 4)
    worse = np.array([0.0] * wins + [1.0] * losses + [3.0] * 4)
    metrics = sign_metrics(np.stack([better, worse], axis=1), alpha=1.0)  # ties have no vote
    assert (metrics["sign"], metrics["sign/pairs"]) == (sign, wins + losses)
    assert metrics["sign/p_value"] == pytest.approx(p_value)


def scores_of(wins, losses):
    return np.array([[1.0, 0.0]] * wins + [[0.0, 1.0]] * losses)


@pytest.mark.parametrize(
    ("wins", "losses", "sign"), [(8, 0, 1), (0, 8, -1), (7, 0, 0), (60, 40, 0), (65, 35, 1), (0, 0, 0)]
)
def test_a_sign_counts_from_one_in_a_hundred_on(wins, losses, sign):
    metrics = sign_metrics(scores_of(wins, losses))  # 2 / 2^8 is below .01, 2 / 2^7 above it
    assert (metrics["sign"], metrics["sign/pairs"]) == (sign, wins + losses)


def scored(scores):
    rows = [{"prompt": f"p{i}", "completion": f"c{i}", "score": float(score)} for i, score in enumerate(scores)]
    return scored_text(Dataset.from_list(rows))


def test_pairs_among_scored_texts_differ_clearly_and_use_a_text_once():
    text = scored(np.linspace(0, 1, 21))
    made_P2 = deciding_pairs(text, seed=0)
    better, worse = text.scores_N[made_P2].T
    assert len(made_P2) == 10
    assert (better - worse >= text.scores_N.std()).all()
    assert len(set(made_P2.ravel())) == 20


def test_texts_of_nearly_one_score_make_no_pair():
    text = scored([0.5] * 30 + [1.0] * 2)
    assert text.scores_N[deciding_pairs(text, 0)].tolist() == [[1.0, 0.5]] * 2
    assert deciding_pairs(NOTHING, 0).shape == (0, 2)


def test_pairs_of_one_unit_have_one_vote():
    """Eight prompts with fifty pairs each: a score that hangs on the prompt alone is no four hundred observations."""
    units, rng, wrong = np.repeat([f"p{unit}" for unit in range(8)], 50).tolist(), np.random.default_rng(0), 0
    for _ in range(200):
        leaning = np.repeat(rng.normal(size=8), 50) + 0.5 * rng.normal(size=400)
        metrics = sign_metrics(np.stack([leaning, np.zeros(400)], axis=1), units)
        assert metrics["sign/pairs"] <= 8
        wrong += metrics["sign"] != 0
    assert wrong <= 7  # 2 / 2^8 of 200 is 1.6


def test_a_unit_votes_by_the_number_of_its_pairs_not_by_their_margins():
    """Two pairs won by a little and one lost by a lot are a vote for the higher scores."""
    raw_P2 = np.array([[0.1, 0.0], [0.1, 0.0], [0.0, 9.0]] * 8)
    assert sign_metrics(raw_P2, np.repeat(range(8), 3).astype(str).tolist())["sign"] == 1


def test_a_unit_that_is_evenly_split_does_not_vote():
    raw_P2 = [[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, 0.0]]
    assert sign_metrics(np.array(raw_P2), ["a", "a", "b", "b"])["sign/pairs"] == 1


def test_scored_texts_beside_a_few_pairs_are_paired_too():
    rows = [{"prompt": f"q{i}", "completion": f"c{i}", "score": i / 40} for i in range(41)]
    text = joined([TextSource(Dataset.from_list(pairs(3))), TextSource(Dataset.from_list(rows))])
    made_P2 = deciding_pairs(text, 0)
    assert made_P2[:3].tolist() == text.pairs_P2.tolist()
    assert len(made_P2) == 3 + 20
    assert len({text.units[row] for row in made_P2.ravel()}) == 3 + 40


def test_a_unit_gives_its_best_and_its_worst_text():
    rows = [{"prompt": f"q{i}", "completion": f"c{i}{j}", "score": j / 4} for i in range(5) for j in range(5)]
    text = scored_text(Dataset.from_list(rows))
    assert sorted(deciding_pairs(text, 0).tolist()) == [[5 * i + 4, 5 * i] for i in range(5)]


def test_equal_scores_are_paired_by_the_seed():
    text = scored([0.0] * 20 + [1.0] * 20)
    assert np.array_equal(deciding_pairs(text, 0), deciding_pairs(text, 0))
    assert not np.array_equal(deciding_pairs(text, 0), deciding_pairs(text, 1))


def words_for(prompts, completions):
    return torch.tensor([float("early" in text or "alert" in text) for text in completions])


def test_a_fit_that_puts_worse_texts_first_has_failed(tmp_path, caplog):
    text = scored_text(Dataset.from_list(pairs(40)))
    metrics = reward_metrics(lambda p, c: -words_for(p, c), tmp_path, text, fitted=True)
    assert (metrics["sign"], metrics["held_out/pairwise_accuracy"]) == (0, 0)
    assert "the fit failed: it puts worse texts first" in caplog.text


def test_nothing_held_out_is_said(tmp_path):
    text = scored_text(Dataset.from_list(pairs(40)))
    learned, held = hold_out(text, 0.3, seed=0)
    apart = reward_metrics(words_for, tmp_path, held, learned)
    within = reward_metrics(words_for, tmp_path, NOTHING, text)
    assert (apart["sign"], apart["sign/held_out"], apart["sign/pairs"]) == (1, 1, 12)
    assert (within["sign"], within["sign/held_out"], within["sign/pairs"]) == (1, 0, 40)
    assert within["held_out/texts"] == 0
    assert apart["perf/reward_texts_per_second"] > 0


def test_a_reward_with_another_sign_is_another_artifact(tmp_path):
    text = scored_text(Dataset.from_list(pairs(40)))
    reward_metrics(lambda p, c: -words_for(p, c), tmp_path, text)
    assert json.loads((tmp_path / "sign.json").read_text()) == {"sign": -1}


def reversed_pairs(count):
    return [{**row, "chosen": row["rejected"], "rejected": row["chosen"]} for row in pairs(count)]


@pytest.mark.parametrize(("rows", "sign"), [(pairs(80), 1), (reversed_pairs(80), -1)])
def test_an_anti_correlated_reward_comes_out_flipped(tmp_path, rows, sign):
    words = tmp_path / "words.yaml"
    words.write_text("late: 1\ndreamy: 1\n")
    config = lexicon.LexiconConfig(words=str(words))
    folder, metrics = made(lexicon, config, Given(Dataset.from_list(rows)), tmp_path / "out")
    assert metrics["sign"] == sign
    assert metrics["held_out/pairwise_accuracy"] == 100
    reward = load_reward(folder, "cpu", load_registry())
    chosen, rejected = reward(["He is"] * 2, [rows[0]["chosen"], rows[0]["rejected"]]).tolist()
    assert chosen > rejected


def test_a_learned_reward_follows_reversed_labels_by_itself(tmp_path):
    rows = reversed_pairs(120)
    folder, metrics = made(tfidf_ridge, tfidf_ridge.TfidfRidgeConfig(), Given(Dataset.from_list(rows)), tmp_path)
    assert (metrics["sign"], metrics["sign/held_out"]) == (1, 1)
    late, early = load_reward(folder, "cpu", load_registry())(["He is"] * 2, ["late today.", "early today."]).tolist()
    assert late > early


@pytest.mark.parametrize(
    ("metrics", "why"),
    [
        ({}, "no sign is recorded"),
        (
            {"sign": 0.0, "sign/pairs": 12.0, "sign/p_value": 0.388},
            "undecided on 12 labelled pairs (those of one unit count once), p = 0.388",
        ),
    ],
)
def test_a_reward_without_a_sign_is_refused(tmp_path, metrics, why):
    folder, _ = made(lexicon, lexicon.LexiconConfig(), Given(None, folders={}), tmp_path)
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, "metrics": metrics}))
    with pytest.raises(BadInput, match=rf"{re.escape(why)}.*make it again with more labelled rows \(`reward.data`\)"):
        load_reward(folder, "cpu", load_registry())
    assert why in doubt(metrics)


def test_a_word_list_without_labelled_rows_stays_undecided(tmp_path):
    _, metrics = made(lexicon, lexicon.LexiconConfig(), Given(None, folders={}), tmp_path)
    assert (metrics["sign"], metrics["sign/pairs"]) == (0, 0)


def test_the_digest_of_the_files_is_the_same_twice(tmp_path):
    for name in ("a", "b"):
        made(lexicon, lexicon.LexiconConfig(), Given(Dataset.from_list(pairs(20))), tmp_path / name, context())
    assert (tmp_path / "a" / "sign.json").read_bytes() == (tmp_path / "b" / "sign.json").read_bytes()
