"""Rewards whose figures are known beforehand, through every suite: the figures, what is undefined, what is refused."""

from __future__ import annotations

import importlib
import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from pipeline_core.errors import BadInput
from pipeline_core.evaluation.relations import relate
from pipeline_core.plugin.registry import PluginOrigin, Registry
from pipeline_core.rewards.load import BadReward
from pipeline_core.stage.key import Job
from pipeline_core.stage.run import run_stage
from pipeline_core.stage.settings import ExecutionSettings
from pipeline_core.stats import platt
from pipeline_core.store.artifacts import Store
from plugins.evaluate.reward_suites._labels import MADLIBS, hatecheck_scores
from plugins.evaluate.reward_suites._texts import MeasuredText, text_scores
from tests.plugins.modules import module_of

SUITES = ("reward_pairs", "reward_scores", "reward_hatecheck", "reward_madlibs", "reward_hhh", "reward_identity")
RUNNER = ExecutionSettings(launch="in_process", device="cpu")
PEOPLE = ("Muslim", "Hindu", "Sikh", "Jewish")
LENGTHS = ("", " on Monday", " on Monday and again today")


@pytest.fixture
def registry():
    found = Registry()
    for module in ("tests.plugins.evaluate.rigged", *{module_of("evaluate", name) for name in SUITES}):
        found.add(importlib.import_module(module), PluginOrigin(module, "tests", "1"))
    return found


@pytest.fixture
def measure(tmp_path, monkeypatch, registry):
    """Runs a suite on a reward over rows written as a catalog entry; gives metrics and measures."""

    def run(suite, how, rows=None, more="", **settings):
        store = Store(tmp_path / "store")
        reward = run_stage(
            Job(stage="reward", label=how, config={"name": "rigged", "how": how}, runner=RUNNER), store, registry
        )
        if rows is not None:
            settings["data"] = entry(tmp_path, monkeypatch, rows, more)
        job = Job(
            stage="evaluate",
            label=how,
            config={"name": suite, **settings},
            inputs={"reward": reward.ref},
            runner=RUNNER,
        )
        made = run_stage(job, store, registry)
        measures = json.loads((made.path / "measures.json").read_text())
        return made, made.metrics, {name.removeprefix(f"{suite}/"): one for name, one in measures.items()}

    return run


def entry(tmp_path, monkeypatch, rows, more=""):
    from pipeline_core.data import catalog

    kind = "preference" if "chosen" in rows[0] else "scored"
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    keep = ", keep: [template_id]" if kind == "scored" else ""
    text = (
        f"mine: {{kind: jsonl, path: {tmp_path}/rows.jsonl, rows: {kind}, licence: none, citation: none{keep}{more}}}\n"
    )
    (tmp_path / "catalog.yaml").write_text(text)
    monkeypatch.setenv("EVENHAND_CATALOG", str(tmp_path / "catalog.yaml"))
    catalog._read_catalog.cache_clear()
    return {"entry": "mine"}


def pairs(count=45):
    """Every sixth pair is about age; chosen and rejected texts have lengths in every combination."""
    for index in range(count):
        yield {
            "id": f"p{index:02d}",
            "prompt": f"What of visitor {index}?",
            "chosen": f"They were kind{LENGTHS[index % 3]}.",
            "rejected": f"They were rude{LENGTHS[index // 3 % 3]}.",
            "domain": "religion" if index % 6 else "age",
            "group": PEOPLE[index % 4],
        }


def sentences():
    """Good and bad sentences about four groups, from templates; the two without a group are good and bad as well."""
    for person in (*PEOPLE, "plain"):
        for number in range(8):
            for word, score in (("kind", 1), ("rude", 0)):
                yield {
                    "completion": f"The {person} guest number {number} is {word}.",
                    "score": score,
                    "domain": f"is_{word}",
                    "group": [person] if person != "plain" else [],
                    "template_id": f"{word}{number}",
                }


@pytest.mark.parametrize("suite", ["reward_pairs", "reward_hhh"])
@pytest.mark.parametrize(("how", "accuracy"), [("constant", 50.0), ("perfect", 100.0), ("reverse", 0.0)])
def test_pairs_of_a_constant_a_perfect_and_a_reversed_reward(measure, suite, how, accuracy):
    _, metrics, found = measure(suite, how, list(pairs()))
    assert found["accuracy"]["value"] == accuracy
    assert {name: one["value"] for name, one in found["accuracy"]["groups"].items()} == {
        "age": accuracy,
        "religion": accuracy,
    }
    assert (metrics[f"{suite}/accuracy/worst_group"], metrics[f"{suite}/accuracy/gap"]) == (accuracy, 0)
    assert metrics[f"{suite}/ties"] == (100.0 if how == "constant" else 0.0)
    error = found["calibration_error"]["value"]
    if how == "constant":  # says nothing at all: no probability, no correlation
        assert error is None
        assert found["length_correlation"]["value"] is None
        assert f"{suite}/length_correlation" not in metrics
    elif how == "perfect":  # all right, and about 23 of 24 said
        assert 0 < error < 5
    else:  # it never says less than one half of its own order, and is never right
        assert error == pytest.approx(50, abs=1)


def test_pairs_of_a_reward_that_reads_length_only(measure):
    _, _, found = measure("reward_pairs", "length", list(pairs()))
    assert found["length_correlation"]["value"] == pytest.approx(1)
    assert found["margin_length_correlation"]["value"] == pytest.approx(1)
    assert (found["longer_preferred"]["value"], found["longer_preferred"]["n"]) == (100.0, 30)
    assert found["accuracy"]["value"] == 50.0  # every combination of lengths is there


def test_pairs_can_be_counted_again_from_the_rows(measure):
    made, _, found = measure("reward_pairs", "length", list(pairs()))
    table = pq.read_table(made.path / "rows.parquet").to_pylist()
    margin = {row["item"]: row["value"] for row in table if row["score"] == "margin"}
    score = {row["item"]: row["value"] for row in table if row["score"] == "score"}
    assert all(margin[item] == score[f"{item}/chosen"] - score[f"{item}/rejected"] for item in margin)
    right = [(value > 0) + 0.5 * (value == 0) for value in margin.values()]
    assert 100 * sum(right) / len(right) == found["accuracy"]["value"]


def test_pairs_of_one_prompt_are_one_cluster(measure):
    rows = [row | {"prompt": f"Prompt {index % 6}"} for index, row in enumerate(pairs())]
    _, _, found = measure("reward_pairs", "length", rows)
    assert (found["accuracy"]["value"], found["accuracy"]["n_clusters"]) == (50.0, 6)
    assert found["length_correlation"]["n_clusters"] == 6


def test_a_set_without_groups_is_refused_or_told_so(measure):
    rows = [{name: value for name, value in row.items() if name not in ("group", "domain")} for row in pairs()]
    with pytest.raises(BadInput, match=r"reward_pairs: none of the 90 texts names a domain.*group_by"):
        measure("reward_pairs", "perfect", rows)
    _, metrics, found = measure("reward_pairs", "perfect", rows, group_by=None)
    assert metrics["reward_pairs/accuracy"] == 100.0
    assert "groups" not in found["accuracy"]


def test_rows_without_a_group_are_counted(measure):
    rows = [row | {"domain": "" if index < 6 else "age"} for index, row in enumerate(pairs())]
    _, metrics, found = measure("reward_pairs", "perfect", rows)
    assert metrics["reward_pairs/without_domain"] == 12  # texts of six pairs
    assert (found["accuracy"]["n"], found["accuracy"]["groups"]["age"]["n"]) == (45, 39)


@pytest.mark.parametrize(("how", "auc"), [("constant", 0.5), ("perfect", 1.0), ("reverse", 0.0)])
def test_scores_of_a_constant_a_perfect_and_a_reversed_reward(measure, how, auc):
    _, metrics, found = measure("reward_scores", how, list(sentences()), group_by="group")
    assert found["auc"]["value"] == auc
    assert set(found["auc"]["groups"]) == set(PEOPLE)
    if how == "constant":
        assert found["spearman"]["value"] is None
        assert found["spearman"]["undefined"] == sorted(PEOPLE)
        assert metrics["reward_scores/spearman/undefined_groups"] == 4
        assert found["calibration_error"]["value"] is None
    else:
        assert found["spearman"]["value"] == pytest.approx(2 * auc - 1)
        assert found["pearson"]["value"] == pytest.approx(2 * auc - 1)


def test_a_group_of_one_label_has_no_area_and_is_named(measure):
    rows = [row for row in sentences() if row["group"] != ["Sikh"] or row["score"]]
    _, metrics, found = measure("reward_scores", "perfect", rows, group_by="group")
    assert found["auc"]["groups"]["Sikh"] == {"value": None, "low": None, "high": None, "n": 8, "n_clusters": 8}
    assert found["auc"]["undefined"] == ["Sikh"]
    assert metrics["reward_scores/auc/undefined_groups"] == 1
    assert (metrics["reward_scores/auc/worst_group"], metrics["reward_scores/auc/gap"]) == (1.0, 0.0)


@pytest.mark.parametrize(("how", "right"), [("constant", 50.0), ("perfect", 100.0), ("reverse", 50.0)])
def test_hatecheck_of_a_constant_a_perfect_and_a_reversed_reward(measure, how, right):
    """For a reversed score no threshold is better than one that lies outside, which is never tried: see the area."""
    _, metrics, found = measure("reward_hatecheck", how, list(sentences()))
    assert found["auc"]["value"] == {"constant": 0.5, "perfect": 1.0, "reverse": 0.0}[how]
    assert set(found["auc"]["groups"]) == set(PEOPLE)
    assert set(found["accuracy"]["groups"]) == {"is_kind", "is_rude"}
    assert metrics["reward_hatecheck/without_group"] == 16
    if how != "reverse":
        assert found["balanced_accuracy"]["value"] == found["accuracy"]["value"] == right
        assert found["accuracy"]["n_clusters"] == 16
        assert found["accuracy"]["resampled"] == "template"
    else:
        assert found["balanced_accuracy"]["value"] <= right


def test_the_threshold_is_not_fitted_on_the_template_it_judges():
    """Scores that hang on the template alone: a threshold fitted on them gains from chance, one of others does not."""
    rng, fitted, judged = np.random.default_rng(0), [], []
    texts = [
        MeasuredText(f"{template}/{case}", "", "", float(template % 2), "", (), f"template{template}")
        for template in range(40)
        for case in range(5)
    ]
    label_N = np.array([text.label for text in texts])
    for _ in range(40):
        score_N = np.repeat(rng.normal(size=40), 5)
        right = [score.value for score in hatecheck_scores(texts, score_N) if score.score == "right"]
        judged.append(balanced(np.array(right), label_N))
        fitted.append(balanced((score_N > platt.threshold(score_N, label_N)) == label_N, label_N))
    assert np.mean(fitted) > 57
    assert 47 < np.mean(judged) < 53


def balanced(right_N, label_N):
    return 50 * (right_N[label_N == 1].mean() + right_N[label_N == 0].mean())


@pytest.mark.parametrize("suite", ["reward_hatecheck", "reward_madlibs", "reward_scores"])
def test_an_entry_whose_lower_scores_are_better_is_turned(measure, suite):
    rows = [row | {"score": 10 * (1 - row["score"])} for row in sentences()]
    _, metrics, found = measure(suite, "perfect", rows, more=", score_better: lower, score_range: [0, 10]")
    assert found["auc"]["value"] == 1.0
    assert metrics["perf/reward_texts_per_second"] > 0


def test_pairs_of_one_template_are_one_observation(measure):
    rows = [row | {"template_id": f"t{index % 9}"} for index, row in enumerate(pairs())]
    _, _, found = measure("reward_pairs", "perfect", rows)
    assert (found["accuracy"]["n"], found["accuracy"]["n_clusters"]) == (45, 9)


def test_madlibs_show_a_reward_that_punishes_identity_words_and_not_one_that_knows_bad_words(measure):
    rows = list(sentences())
    _, _, found = measure("reward_madlibs", "toxic", rows)
    for name in ("auc", "subgroup_auc", "bpsn_auc", "bnsp_auc"):
        assert found[name]["value"] == 1.0
    # Within a group all tie. A good one of a group lies below every bad plain one, and ties with those of other groups.
    _, metrics, found = measure("reward_madlibs", "identity", rows)
    assert found["subgroup_auc"]["value"] == 0.5
    assert [one["value"] for one in found["bpsn_auc"]["groups"].values()] == pytest.approx([0.5 * 24 / 32] * 4)
    assert [one["value"] for one in found["bnsp_auc"]["groups"].values()] == pytest.approx([(0.5 * 24 + 8) / 32] * 4)
    assert metrics["reward_madlibs/without_group"] == 16


def test_identity_mentions_show_what_a_mention_does(measure):
    _, metrics, found = measure("reward_identity", "identity", domains=["religion", "age"])
    shifts = {name: one["value"] for name, one in found["shift"]["groups"].items()}
    assert len(shifts) == 10
    assert all(value == pytest.approx(-1 / metrics["reward_identity/score_sd"]) for value in shifts.values())
    assert found["absolute_shift"]["worst_group"]["value"] == pytest.approx(1 / metrics["reward_identity/score_sd"])
    assert found["religion/shift"]["gap"] == pytest.approx(0)
    _, metrics, found = measure("reward_identity", "toxic", domains=["religion", "age"])
    assert metrics["reward_identity/score_sd"] > 0
    assert (found["absolute_shift"]["value"], found["shift"]["gap"]) == (0.0, 0.0)


def test_identity_mentions_of_a_reward_that_reads_length(measure):
    """A word of n letters and a space shifts by n + 1; five of the twelve frames take `an` before `autistic`."""
    _, metrics, found = measure("reward_identity", "length", domains=["disability"])
    groups = {
        name: one["value"] * metrics["reward_identity/score_sd"] for name, one in found["shift"]["groups"].items()
    }
    assert groups["disability/deaf"] == pytest.approx((5 + 16) / 2, rel=1e-5)  # deaf, hard-of-hearing
    assert groups["disability/autistic"] == pytest.approx((9 + 15 + 5 / 12) / 2, rel=1e-5)  # autistic, neurodivergent


def test_a_constant_reward_has_no_shift_rather_than_none_at_all(measure):
    _, metrics, found = measure("reward_identity", "constant", domains=["religion"])
    assert metrics["reward_identity/score_sd"] == 0
    assert found["absolute_shift"]["value"] is None
    assert "reward_identity/shift" not in metrics


def test_a_domain_that_is_unknown_names_the_nearest(measure):
    with pytest.raises(ValidationError, match="unknown domain 'religon'. Did you mean 'religion'"):
        measure("reward_identity", "toxic", domains=["religon"])


@pytest.mark.parametrize("suite", ["reward_hatecheck", "reward_madlibs"])
def test_labels_that_are_not_two_classes_are_refused(measure, suite):
    with pytest.raises(BadInput, match=f"{suite}: all 40 texts have the score 1; both 0 and 1 are needed"):
        measure(suite, "toxic", [row for row in sentences() if row["score"]])
    with pytest.raises(BadInput, match=r"has the score 0.25; 0 \(bad\) or 1 \(good\) is needed"):
        measure(suite, "toxic", [row | {"score": 0.25} for row in sentences()])


@pytest.mark.parametrize("suite", SUITES)
def test_a_reward_that_is_no_number_measures_nothing(measure, suite):
    rows = None if suite == "reward_identity" else list(pairs())
    with pytest.raises(BadReward, match="'rigged' gave a number that is not finite"):
        measure(suite, "broken", rows)


def test_a_null_score_that_knows_the_words_covers_one_half_about_95_times_in_a_hundred():
    """A score with an opinion of every adjective, right or wrong by chance: as many observations as adjectives."""
    rng, hits, trials = np.random.default_rng(0), 0, 60
    texts = [
        MeasuredText(f"{phrase}/{term}", "", "", float(phrase % 2), "", (str(term),), str(phrase))
        for phrase in range(32)
        for term in range(6)
    ]
    for _ in range(trials):
        opinions = rng.normal(size=32)
        score_N = np.array([opinions[int(text.unit)] for text in texts]) + 0.3 * rng.normal(size=len(texts))
        by_score = {}
        for score in text_scores(texts, score_N):
            by_score.setdefault(score.score, []).append(score)
        found = relate(by_score, MADLIBS[0])
        hits += found["low"] <= 0.5 <= found["high"]
    assert hits / trials >= 0.88
