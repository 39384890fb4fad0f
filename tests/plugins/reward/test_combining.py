"""Rewards made of rewards: an ensemble by hand, a score without its length, and artifacts that stand alone."""

import json
import shutil

import numpy as np
import pytest
import torch
from datasets import Dataset

from pipeline_core.checks.whole import load_config
from pipeline_core.data.refs import DataRef
from pipeline_core.errors import BadInput, UnknownName
from pipeline_core.pipeline.plan import plan
from pipeline_core.plugin.context import Inputs
from pipeline_core.plugin.registry import load_registry
from pipeline_core.rewards.ensembles import split_of
from pipeline_core.rewards.load import load_reward
from pipeline_core.rewards.measuring import MeasuredReward
from pipeline_core.rewards.reader import RewardArtifacts
from plugins.reward import ensemble, length_controlled, lexicon, tfidf_ridge
from plugins.reward.encoder_regression import plugin as encoder_regression
from plugins.reward.length_controlled import explains, fitted, log_lengths
from tests.rewards import worlds
from tests.rewards.worlds import Given, context, made, pairs, scored_text, tiny_bert

ROWS = pairs(120)


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """Folders of a word list whose sign is -1 (it lists the better words) and of a fitted reward."""
    root = tmp_path_factory.mktemp("parts")
    (root / "words.yaml").write_text("early: 1\nalert: 1\n")
    given = Given(Dataset.from_list(ROWS))
    words, metrics = made(lexicon, lexicon.LexiconConfig(words=str(root / "words.yaml")), given, root / "words")
    assert metrics["sign"] == -1
    fit, _ = made(tfidf_ridge, tfidf_ridge.TfidfRidgeConfig(), given, root / "fit")
    return {"part:words": words, "part:fit": fit}


def combined(plugin, config, parts, folder, rows=ROWS, run_context=None):
    made_rows = folder.parent / "rows"
    made_rows.mkdir(exist_ok=True)
    (made_rows / "manifest.json").write_text(json.dumps({"digest": worlds.ROWS}))
    given = Given(Dataset.from_list(rows), folders={"preferences": made_rows, **parts})
    return made(plugin, config, given, folder, run_context)


def test_mean_and_worst_by_hand():
    members = {"a": lambda p, c: torch.tensor([1.0, 5.0]), "b": lambda p, c: torch.tensor([0.0, -0.1])}
    scales = {"a": (3.0, 2.0), "b": (0.0, 0.1)}  # standardised: -1, 1 and 0, -1
    for combine, expected in (("mean", [-0.5, 0.0]), ("worst", [-1.0, -1.0])):
        assert ensemble.together(members, scales, combine)(["", ""], ["", ""]).tolist() == pytest.approx(expected)


def test_scores_are_standardised_on_common_texts():
    text = scored_text(Dataset.from_list(pairs(4)))
    scale = ensemble.standards({"a": lambda p, c: torch.arange(8.0)}, text)["a"]
    assert scale == pytest.approx((3.5, np.arange(8).std()))
    with pytest.raises(BadInput, match="the reward 'a' gives 8 texts the same score: leave it out of `members`"):
        ensemble.standards({"a": lambda p, c: torch.ones(8)}, text)


@pytest.mark.parametrize("combine", ["mean", "worst"])
def test_an_ensemble_stands_alone_and_respects_the_signs_of_its_members(parts, tmp_path, combine):
    copies = {role: shutil.copytree(folder, tmp_path / role.removeprefix("part:")) for role, folder in parts.items()}
    folder, metrics = combined(ensemble, ensemble.EnsembleConfig(combine=combine), copies, tmp_path / "out")
    assert (metrics["members"], metrics["sign"], metrics["held_out/pairwise_accuracy"]) == (2, 1, 100)
    for copy in copies.values():
        shutil.rmtree(copy)
    reward = load_reward(folder, "cpu", load_registry())
    good, bad = reward(["He is"] * 2, ["early today.", "late today."]).tolist()
    assert good > bad


def test_members_are_chosen_by_label(parts, tmp_path):
    folder, metrics = combined(ensemble, ensemble.EnsembleConfig(members=["fit"]), parts, tmp_path / "out")
    assert metrics["members"] == 1
    assert [path.name for path in (folder / "parts").iterdir()] == ["fit"]
    with pytest.raises(UnknownName, match="unknown reward 'fitt'. Did you mean 'fit'"):
        combined(ensemble, ensemble.EnsembleConfig(members=["fitt"]), parts, tmp_path / "other")


def test_copies_hold_no_times(parts, tmp_path):
    folder, _ = combined(ensemble, ensemble.EnsembleConfig(), parts, tmp_path / "out")
    manifest = json.loads((folder / "parts" / "words" / "manifest.json").read_text())
    assert manifest["metrics"]["sign"] == -1
    assert "created" not in manifest


def test_a_member_without_a_sign_is_refused(parts, tmp_path):
    undecided = shutil.copytree(parts["part:words"], tmp_path / "words")
    (undecided / "manifest.json").write_text(json.dumps({"plugin": "lexicon", "metrics": {"sign": 0}}))
    with pytest.raises(BadInput, match="undecided on 0 labelled pairs"):
        combined(ensemble, ensemble.EnsembleConfig(), {"part:words": undecided}, tmp_path / "out")


@pytest.mark.parametrize(
    ("plugin", "config"),
    [
        (ensemble, ensemble.EnsembleConfig(held_out=0.3)),
        (length_controlled, length_controlled.LengthControlledConfig(of="fit", held_out=0.3)),
    ],
)
def test_what_a_part_may_have_learned_from_is_not_held_out(parts, tmp_path, caplog, plugin, config):
    _, metrics = combined(plugin, config, parts, tmp_path / "out")
    assert (metrics["sign"], metrics["sign/held_out"], metrics["held_out/texts"]) == (1, 0, 0)
    assert "held_out/pairwise_accuracy" not in metrics
    assert "nothing counts as held out: fit may have learned from it" in caplog.text


def test_another_seed_holds_out_other_rows(parts, tmp_path):
    _, metrics = combined(ensemble, ensemble.EnsembleConfig(), parts, tmp_path / "out", run_context=context(seed=1))
    assert metrics["sign/held_out"] == 0


def test_a_part_of_a_part_counts_too(parts, tmp_path):
    within, _ = combined(ensemble, ensemble.EnsembleConfig(held_out=0.3), parts, tmp_path / "within")
    manifest = json.loads((within / "manifest.json").read_text())
    manifest["config"]["held_out"] = 0.1  # itself alike, its part is not
    (within / "manifest.json").write_text(json.dumps(manifest))
    part = within / "parts" / "fit" / "manifest.json"
    for share, held_out in ((0.3, 0), (0.1, 1)):
        facts = json.loads(part.read_text())
        facts["config"]["held_out"] = share
        part.write_text(json.dumps(facts))
        _, metrics = combined(ensemble, ensemble.EnsembleConfig(), {"part:e": within}, tmp_path / f"out{share}")
        assert metrics["sign/held_out"] == held_out


def test_a_part_that_learned_from_other_rows_of_the_catalog_differs():
    ref = DataRef(entry="mine").model_dump_json(exclude_none=True)
    known = {"config": {"data": [{"entry": "mine"}], "held_out": 0.1}, "seed": 0, "data": {ref: "a"}}
    own = {"rows": {ref: "a"}, "held_out": 0.1, "seed": 0}
    assert split_of(known) == own
    assert split_of(known | {"data": {ref: "b"}}) != own


def test_nothing_to_combine_is_refused(tmp_path):
    with pytest.raises(BadInput, match="combines those before it, and there are none"):
        combined(ensemble, ensemble.EnsembleConfig(), {}, tmp_path / "out")


def test_of_several_rewards_one_must_be_named(parts, tmp_path):
    with pytest.raises(BadInput, match=r"several rewards stand before it \(fit, words\): say which one with `of`"):
        combined(length_controlled, length_controlled.LengthControlledConfig(), parts, tmp_path / "out")


def test_the_plan_gives_a_combining_reward_what_its_settings_name():
    rewards = [
        "lexicon",
        {"name": "tfidf_ridge", "label": "words"},
        {"name": "length_controlled", "of": "words"},
        {"name": "ensemble", "members": ["lexicon", "length_controlled"]},
    ]
    settings = {"data": "sandbox_pairs", "reward": rewards, "evaluate": "reward_identity"}
    registry = load_registry()
    planned = plan(load_config(settings, registry=registry), registry)
    stages = {stage.label: stage for stage in planned if stage.stage == "reward"}
    assert stages["length_controlled"].needs == {"part:words": "reward:words"}
    assert set(stages["ensemble"].needs) == {"part:lexicon", "part:length_controlled"}
    with pytest.raises(BadInput, match=r"reward\.2 \(ensemble\): unknown reward 'word'. Did you mean 'words'"):
        load_config(
            {**settings, "reward": [*rewards[:2], {"name": "ensemble", "members": ["word"]}]}, registry=registry
        )
    with pytest.raises(BadInput, match=r"reward\.2 \(length_controlled\): several rewards stand before it"):
        load_config({**settings, "reward": [*rewards[:2], "length_controlled"]}, registry=registry)


def test_an_evaluation_counts_the_texts_that_any_part_cuts(parts, tmp_path):
    bert = tiny_bert(tmp_path / "bert", ROWS)
    settings = {"patience": None, "steps": 60, "batch_size": 16, "learning_rate": 1e-2, "max_length": 9}
    config = encoder_regression.EncoderRegressionConfig(encoder=str(bert), **settings)
    short, _ = made(encoder_regression, config, Given(Dataset.from_list(ROWS)), tmp_path / "short")
    folder, _ = combined(ensemble, ensemble.EnsembleConfig(), {**parts, "part:short": short}, tmp_path / "out")
    prompts, completions = ["He is", "The baker number 3 is", "The baker number 3 is"], ["late.", "late.", "late."]
    for reward, truncated in ((short, 1.0), (folder, 1.0), (parts["part:fit"], None)):
        measured = MeasuredReward(Inputs({"reward": reward}, None, RewardArtifacts(load_registry())), "cpu")
        measured(prompts[:2], completions[:2])
        measured(prompts, completions)  # one of them is known already, and counts once
        assert measured.metrics("suite").get("suite/truncated") == truncated


def lengths(count, seed=0):
    generator = np.random.default_rng(seed)
    return log_lengths(["x" * int(n) for n in generator.integers(5, 400, count)]), generator.normal(size=count)


@pytest.mark.parametrize("fit", ["linear", "monotone"])
@pytest.mark.parametrize("slope", [2.0, -2.0])
def test_what_length_explains_is_found_and_the_rest_is_left(fit, slope):
    log_length_N, rest_N = lengths(800)
    scores_N = slope * log_length_N + rest_N
    left_N = scores_N - explains(fitted(log_length_N, scores_N, fit), log_length_N)
    assert abs(np.corrcoef(log_length_N, scores_N)[0, 1]) > 0.75
    assert abs(np.corrcoef(log_length_N, left_N)[0, 1]) < 0.05
    assert np.corrcoef(left_N, rest_N)[0, 1] > 0.9
    assert left_N.mean() == pytest.approx(scores_N.mean())


def test_a_bent_relation_needs_the_monotone_fit():
    log_length_N, rest_N = lengths(800)
    scores_N = np.exp(2 * log_length_N - 10) + 0.1 * rest_N
    left = {
        fit: scores_N - explains(fitted(log_length_N, scores_N, fit), log_length_N) for fit in ("linear", "monotone")
    }
    assert left["monotone"].var() < left["linear"].var() / 2


def test_texts_of_one_length_leave_nothing_to_explain():
    assert explains(fitted(np.ones(5), np.arange(5.0), "linear"), np.ones(3)).tolist() == [0, 0, 0]


def test_a_reward_that_likes_short_texts_no_longer_does(tmp_path):
    rows = pairs(200)
    for index, row in enumerate(rows):  # a share of listed words falls as texts get longer
        for side in ("chosen", "rejected"):
            row[side] = row[side].replace("today", "today " + "again and " * (index // 10) + "again")
    (tmp_path / "words.yaml").write_text("today: -1\nlate: 0.1\ndreamy: 0.1\n")
    given = Given(Dataset.from_list(rows))
    config = lexicon.LexiconConfig(words=str(tmp_path / "words.yaml"))
    folder, _ = made(lexicon, config, given, tmp_path / "words")
    settings = length_controlled.LengthControlledConfig(held_out=0.3)
    out, metrics = combined(length_controlled, settings, {"part:words": folder}, tmp_path / "out", rows)
    assert metrics["length/spearman_before"] < -0.9
    assert abs(metrics["length/spearman_after"]) < abs(metrics["length/spearman_before"]) / 2
    assert metrics["sign"] == 1
    shutil.rmtree(folder)
    reward = load_reward(out, "cpu", load_registry())
    good, bad = reward(["He is"] * 2, ["early today.", "late. today."]).tolist()
    assert good > bad
