"""Rewards as scorers: what a score means, what is clipped and counted, which rewards are refused, who names them."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from pipeline_core.checks.whole import load_config
from pipeline_core.errors import BadInput, UnknownName
from pipeline_core.pipeline.plan import plan
from pipeline_core.plugin.registry import load_registry
from pipeline_core.rewards.scorers import ToxicityScorer, open_scorers, probabilities
from pipeline_core.stage.key import Job
from pipeline_core.stage.run import run_stage
from pipeline_core.stage.settings import ExecutionSettings
from pipeline_core.store.artifacts import Store
from plugins.evaluate.reward_suites._labels import TOXICITY, toxicity_scores
from plugins.evaluate.reward_suites._texts import MeasuredText
from plugins.reward.encoder_regression import plugin as encoder_regression
from tests.plugins.evaluate.speaking import registered, scored_by

RUNNER = ExecutionSettings(launch="in_process", device="cpu")


def scorer(tmp_path, how, **settings):
    registry = registered()
    made = scored_by(Store(tmp_path / "store"), registry, how, **settings)
    return ToxicityScorer(how, made.path, "cpu", registry)


@pytest.mark.parametrize(
    ("scale", "sign", "rewards", "toxicity"),
    [
        ("unit", 1, [0.3, 1.0, 1.2], [0.7, 0.0, -0.2]),
        ("unit", -1, [-0.3, 0.0, -1.2], [0.3, 0.0, 1.2]),
        ("logit", 1, [0.0, np.log(3), 1e6], [0.5, 0.25, 0.0]),
        ("logit", -1, [-np.log(3), -1e6], [0.75, 1.0]),
    ],
)
def test_probabilities_by_hand(scale, sign, rewards, toxicity):
    """A reward of the sign -1 is minus its raw score."""
    assert probabilities(np.array(rewards), scale, sign) == pytest.approx(toxicity, abs=1e-12)


@pytest.mark.parametrize("sign", [1, -1])
def test_scores_beyond_the_range_are_clipped_and_counted_once_each(tmp_path, sign):
    found = scorer(tmp_path, "beyond", sign=sign)
    texts = ["rude", "kind", "plain", "rude", "", " \n"]
    assert found(texts).tolist() == [1, 0, 0.25, 1, 0, 0]
    assert found(["rude", "very rude"]).tolist() == [1, 1]
    assert found.counts() == {"texts_of_beyond": 4, "clipped_by_beyond": 3}


@pytest.mark.parametrize("sign", [1, -1])
def test_a_logit_gives_its_probability(tmp_path, sign):
    found = scorer(tmp_path, "coin", scale="logit", sign=sign)
    plain = scorer(tmp_path / "plain", "coin")
    texts = [f"text {number}" for number in range(50)]
    assert found(texts) == pytest.approx(plain(texts), abs=1e-5)
    assert found(["", " "]).tolist() == [0, 0]


def test_no_text_at_all(tmp_path):
    assert scorer(tmp_path, "coin")([]).shape == (0,)


def test_a_reward_without_a_scale_is_refused(tmp_path):
    with pytest.raises(BadInput, match=r"'rude' \(rigged_scorer\) gives no probability"):
        scorer(tmp_path, "rude", scale="none")
    with pytest.raises(BadInput, match="needs a reward that scores its texts"):
        open_scorers(SimpleNamespace(scorer_folders={}), "cpu")


@pytest.mark.parametrize(("loss", "scale"), [("mse", "unit"), ("pairwise", None)])
def test_an_encoder_trained_on_differences_has_no_origin(tmp_path, loss, scale):
    (tmp_path / "manifest.json").write_text(json.dumps({"config": {"loss": loss}}))
    assert encoder_regression.scale(tmp_path) == scale


WORDS, LEXICON = {"name": "tfidf_ridge", "label": "words"}, {"name": "lexicon"}


def configured(rewards, **settings):
    return load_config(
        {
            "base": "tiny_lm",
            "data": "sandbox_pairs",
            "reward": rewards,
            "evaluate": [{"name": "real_toxicity", "data": "sandbox_prompts", **settings}],
        }
    )


@pytest.mark.parametrize(
    ("rewards", "settings", "needs"),
    [
        ([LEXICON, WORDS], {}, {"reward:words": "reward:words"}),
        ([WORDS, LEXICON], {"scorers": "words"}, {"reward:words": "reward:words"}),
        ([WORDS], {"scorers": ["words"]}, {"reward:words": "reward"}),
    ],
)
def test_a_suite_takes_the_scorers_it_names_or_the_last_reward(rewards, settings, needs):
    config = configured(rewards, **settings)
    stage = plan(config, load_registry())[-1]
    assert dict(stage.needs) == {"model": "base"} | needs


def test_a_scorer_that_is_none_is_refused_before_anything_runs():
    with pytest.raises(UnknownName, match=r"evaluate.0.scorers \(real_toxicity\).*'word'.*words"):
        configured([WORDS], scorers=["word"])
    with pytest.raises(BadInput, match=r"'lexicon' \(lexicon\) gives no probability.*tfidf_ridge"):
        configured([WORDS, LEXICON])
    with pytest.raises(BadInput, match="needs a reward and none is configured"):
        configured([])


def text(number, label):
    return MeasuredText(f"t{number}", "", f"text {number}", 1 - label, "", (), f"unit {number // 2}")


def test_the_figures_of_a_scorer_by_hand(tmp_path):
    from pipeline_core.evaluation.measures import write_evaluation

    labels, said = [0.9, 0.5, 0.4, 0.1], np.array([0.8, 0.4, 0.5, 0.2])
    texts = [text(number, label) for number, label in enumerate(labels)]
    write_evaluation(tmp_path, list(toxicity_scores(texts, said)), TOXICITY)
    found = json.loads((tmp_path / "measures.json").read_text())
    value = {name.removeprefix("reward_toxicity/"): one["value"] for name, one in found.items()}
    assert (value["is_toxic"], value["said_toxic"]) == (50, 50)
    assert (value["sensitivity"], value["specificity"]) == (50, 50)
    assert value["mean_error"] == pytest.approx(0, abs=1e-12)
    assert value["auc"] == 0.75
    assert value["spearman"] == pytest.approx(0.8)
    assert value["calibration_error"] == pytest.approx(10)
    assert found["reward_toxicity/sensitivity"]["n_clusters"] == 1, "two texts of one unit are one cluster"


def test_it_is_measured_as_it_is_used(tmp_path):
    """A score that only needs another origin is calibrated for `reward_scores`, and wrong where it is used."""
    registry, store = registered(), Store(tmp_path / "store")
    reward = scored_by(store, registry, "always")
    job = Job(
        stage="evaluate",
        label="always",
        config={"name": "reward_toxicity", "data": {"entry": "sandbox_pairs", "rows": 20}},
        inputs={"reward": reward.ref},
        runner=RUNNER,
    )
    metrics = run_stage(job, store, registry).metrics
    assert (metrics["reward_toxicity/sensitivity"], metrics["reward_toxicity/specificity"]) == (100, 0)
    assert metrics["reward_toxicity/calibration_error"] == pytest.approx(50)
    assert metrics["reward_toxicity/mean_error"] == pytest.approx(0.5)
    assert "reward_toxicity/spearman" not in metrics, "a constant has no rank correlation"
