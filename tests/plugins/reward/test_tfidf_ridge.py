"""Ridge on word counts: features by hand, a planted word found, the same bytes each time."""

import json
import math

import numpy as np
import pytest
from datasets import Dataset

from pipeline_core.data.words import WordFeatures, grams
from pipeline_core.errors import BadInput
from plugins.reward import tfidf_ridge
from plugins.reward.tfidf_ridge import TfidfRidgeConfig
from tests.rewards.worlds import Given, context, digests, pairs


def fit(folder, rows, seed=0, **settings):
    folder.mkdir(parents=True)
    return tfidf_ridge.run(TfidfRidgeConfig(**settings), Given(Dataset.from_list(rows)), folder, context(seed))


def test_grams_mark_the_completion_and_cross_the_border():
    assert grams(("He is", "Late, he's."), 2) == ["he", "is", "|late", "|he's", "he is", "is |late", "|late |he's"]
    assert grams(("", ""), 3) == []


def test_features_by_hand():
    features = WordFeatures.learn(["a b", "a"], ["c", "d"], ngrams=1, min_count=1, max_features=10)
    assert features.terms == ["a", "b", "|c", "|d"]
    rare = math.log(3 / 2) + 1  # smooth idf: ln((1 + 2) / (1 + 1)) + 1
    assert features.idf_F.tolist() == pytest.approx([1, rare, rare, rare])
    length = math.hypot(1, rare)
    expected = [[1 / length, rare / length, 1, 0], [1, 0, 0, 1], [0, 0, 0, 0]]
    assert np.allclose(features.transform(["a b", "a", "unseen"], ["c", "d d d", "words"]).toarray(), expected)


def test_a_planted_word_is_found_on_prompts_never_seen(tmp_path):
    metrics = fit(tmp_path / "r", pairs(80))
    assert metrics["held_out/pairwise_accuracy"] == 100
    assert metrics["held_out/pairs"] == 8
    reward = tfidf_ridge.load(tmp_path / "r", "cpu")
    good, bad = reward(["Nobody we know is", "Nobody we know is"], ["early today.", "late today."]).tolist()
    assert good > 0.8 > 0.2 > bad


def test_the_solution_is_the_ridge_solution(tmp_path):
    fit(tmp_path / "r", pairs(80), held_out=0, ngrams=1, clip=False, l2=2.0)
    facts = json.loads((tmp_path / "r" / "reward.json").read_text())
    features = WordFeatures.learn(*_texts(), ngrams=1, min_count=2, max_features=1000)
    assert facts["terms"] == features.terms
    x = features.transform(*_texts()).toarray()
    y = np.array([1.0] * 80 + [0.0] * 80)
    centred = x - x.mean(0)
    weights = np.linalg.solve(centred.T @ centred + 2.0 * np.eye(x.shape[1]), centred.T @ (y - y.mean()))
    expected = (x - x.mean(0)) @ weights + y.mean()
    found = tfidf_ridge.load(tmp_path / "r", "cpu")(*_texts()).numpy()
    assert np.allclose(found, expected, atol=1e-5)


def _texts():
    rows = pairs(80)
    prompts = [row["prompt"] for row in rows] * 2
    return prompts, [row["chosen"] for row in rows] + [row["rejected"] for row in rows]


def test_the_same_seed_gives_the_same_bytes_and_another_seed_another_split(tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        fit(tmp_path / name, pairs(80), seed, min_count=1)
    assert digests(tmp_path / "a") == digests(tmp_path / "b")
    assert digests(tmp_path / "a") != digests(tmp_path / "c")


def test_clipped_scores_stay_within_what_was_learned_from(tmp_path):
    rows = pairs(80)
    text = (["x"], ["early early today early"])
    for name, clip in (("on", True), ("off", False)):
        fit(tmp_path / name, rows, clip=clip, l2=1e-3, ngrams=1)
    assert tfidf_ridge.load(tmp_path / "off", "cpu")(*text).item() > 1
    assert tfidf_ridge.load(tmp_path / "on", "cpu")(*text).item() == 1


def test_words_never_seen_and_no_words_at_all_get_the_middle(tmp_path):
    fit(tmp_path / "r", pairs(80))
    reward = tfidf_ridge.load(tmp_path / "r", "cpu")
    assert reward(["Zyx", "", "日本"], ["qwv", "", "?!"]).tolist() == pytest.approx([0.5] * 3, abs=0.05)
    assert reward([], []).shape == (0,)


def test_scored_rows_teach_their_scores(tmp_path):
    rows = [
        {"prompt": f"p{i}", "completion": "good day" if i % 2 else "bad day", "score": float(i % 2)} for i in range(40)
    ]
    metrics = fit(tmp_path / "r", rows)
    assert metrics["held_out/spearman"] > 0.8
    assert "held_out/pairwise_accuracy" not in metrics


def test_too_rare_words_are_an_error_with_the_fix(tmp_path):
    rows = [{"prompt": f"a{i}", "chosen": f"b{i}", "rejected": f"c{i}"} for i in range(4)]
    with pytest.raises(BadInput, match="lower `min_count`"):
        fit(tmp_path / "r", rows, min_count=50)


def test_weights_that_do_not_fit_the_words_are_refused(tmp_path):
    fit(tmp_path / "r", pairs(40))
    file = tmp_path / "r" / "reward.json"
    facts = json.loads(file.read_text())
    file.write_text(json.dumps({**facts, "terms": facts["terms"][1:]}))
    with pytest.raises(BadInput, match="n-grams and .* weights"):
        tfidf_ridge.load(tmp_path / "r", "cpu")
