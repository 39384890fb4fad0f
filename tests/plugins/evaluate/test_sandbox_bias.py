import json
import math

import pytest

from pipeline_core.evaluation.measures import write_evaluation
from pipeline_core.sandbox.parts import generate
from pipeline_core.sandbox.world import load_world
from plugins.evaluate.sandbox_bias.plugin import (
    MEASURES,
    continuation_scores,
    fact_scores,
    question_scores,
    text_scores,
)

WORLD = load_world()
PROMPTS = generate("sandbox_prompts")


def measured(tmp_path, scores):
    return write_evaluation(tmp_path, list(scores), MEASURES, seed=0)


def say(stereotyped):
    """A continuation of every prompt, twice."""
    return [f"{WORLD.domains[row['domain']].words(stereotyped(row))[0]} at home." for row in PROMPTS for _ in range(2)]


def test_always_the_stereotype_is_as_biased_as_never(tmp_path):
    for name, answer in (("always", True), ("never", False)):
        metrics = measured(tmp_path, continuation_scores(PROMPTS, say(lambda _, answer=answer: answer), 2))
        assert metrics["sandbox/bias"] == 50, name
        assert metrics["sandbox/bias/worst_group"] == 50
        assert metrics["sandbox/reference_bias"] == 50
        assert metrics["sandbox/invalid_share"] == 0
        assert metrics["sandbox/stereotyped_share"] == (100 if answer else 0)


def test_babble_is_invalid_and_has_no_bias_at_all(tmp_path):
    metrics = measured(tmp_path, continuation_scores(PROMPTS, ["bread and rope."] * len(PROMPTS), 1))
    assert metrics["sandbox/invalid_share"] == 100
    assert "sandbox/bias" not in metrics


def test_a_bias_in_one_group_shows_in_its_group_and_domain_only(tmp_path):
    texts = [
        f"{WORLD.domains[row['domain']].words(sample == 0 or row['group'] == ['frost'])[0]}."
        for row in PROMPTS
        for sample in range(2)
    ]
    measured(tmp_path, continuation_scores(PROMPTS, texts, 2))
    entries = json.loads((tmp_path / "measures.json").read_text())
    groups = entries["sandbox/group_bias"]["groups"]
    assert groups["frost"]["value"] == 50
    assert {groups[name]["value"] for name in groups if name != "frost"} == {0}
    assert entries["sandbox/bias"]["worst_group"]["name"] == "age"
    assert entries["sandbox/bias"]["groups"]["age"]["value"] == pytest.approx(50 / 3)
    assert entries["sandbox/reference_bias"]["value"] == 0


def test_opposite_biases_of_domains_cancel_in_the_bias_and_not_in_the_domain_bias(tmp_path):
    names = sorted(WORLD.domains)
    one_way = names[: len(names) // 2]
    metrics = measured(tmp_path, continuation_scores(PROMPTS, say(lambda row: row["domain"] in one_way), 2))
    assert metrics["sandbox/bias"] < 5
    assert metrics["sandbox/domain_bias"] == metrics["sandbox/bias/mean"] == 50
    entry = json.loads((tmp_path / "measures.json").read_text())["sandbox/domain_bias"]
    assert (entry["headline"], entry["mean_over"]) == (True, "domain")
    assert 40 < entry["low"] <= 50 == entry["value"] == entry["high"]


def test_planted_share_is_that_of_the_world(tmp_path):
    measured(tmp_path, continuation_scores(PROMPTS, say(lambda _: True), 2))
    entries = json.loads((tmp_path / "measures.json").read_text())
    groups = entries["sandbox/planted_share"]["groups"]
    assert {name: entry["value"] for name, entry in groups.items()} == pytest.approx(
        {domain.name: 100 * domain.rate for domain in WORLD.domains.values()}
    )


class Rigged:
    """Finds one of the options of every row the most probable."""

    def __init__(self, favourites):
        self.favourites = favourites

    def summed(self, prompts, completions):
        return [0.0 if (p, c) in self.favourites else -1.0 for p, c in zip(prompts, completions, strict=True)]

    def texts(self, texts):
        return [-1.0 for _ in texts]


QUESTIONS = generate("sandbox_questions")


def answering(choose):
    return Rigged(
        {(f"{row['context']} {row['question']} Answer:", f"{row['options'][choose(row)]}.") for row in QUESTIONS}
    )


def test_question_scores_at_the_extremes(tmp_path):
    right = measured(tmp_path, question_scores(QUESTIONS, answering(lambda row: row["label"])))
    assert right["sandbox/ambiguous_accuracy"] == 100
    assert right["sandbox/disambiguated_accuracy"] == 100
    assert "sandbox/ambiguous_bias" not in right  # no answer but "unknown": undefined, not 0
    biased = measured(tmp_path, question_scores(QUESTIONS, answering(lambda row: row["biased"])))
    assert biased["sandbox/ambiguous_accuracy"] == 0
    assert biased["sandbox/ambiguous_bias"] == 100
    assert biased["sandbox/disambiguated_bias"] == 100
    unknown = measured(tmp_path, question_scores(QUESTIONS, answering(lambda row: row["unknown"])))
    assert unknown["sandbox/disambiguated_accuracy"] == 0
    assert unknown["sandbox/disambiguated_unknown_share"] == 100  # S13: why
    assert unknown["sandbox/two_name_accuracy"] == 50
    assert unknown["sandbox/unknown_auc"] == 0.5
    assert "sandbox/disambiguated_bias" not in unknown


class Numb(Rigged):
    """Rigged, with likelihoods that are no numbers for some prompts."""

    def __init__(self, favourites, prompts):
        super().__init__(favourites)
        self.prompts = prompts

    def summed(self, prompts, completions):
        found = zip(prompts, super().summed(prompts, completions), strict=True)
        return [math.nan if prompt in self.prompts else value for prompt, value in found]


def test_likelihoods_that_are_no_numbers_choose_nothing(tmp_path):
    """All right but for a fifth that has no likelihoods: these are invalid, and neither right nor wrong."""
    facts = generate("sandbox_facts")
    asked = [row["prompt"] for row in facts] + [f"{row['context']} {row['question']} Answer:" for row in QUESTIONS]
    right = {(row["prompt"], f"{row['options'][row['label']]}.") for row in facts}
    numb = Numb(right | answering(lambda row: row["label"]).favourites, set(asked[::5]))
    scores = [*fact_scores(facts, numb), *question_scores(QUESTIONS, numb)]
    metrics = measured(tmp_path, scores)
    assert metrics["sandbox/knowledge"] == metrics["sandbox/ambiguous_accuracy"] == 100
    assert metrics["sandbox/invalid_answers"] == pytest.approx(20, abs=1)
    assert sum(score.score == "fact_right" for score in scores) == 80


def test_facts_and_perplexity(tmp_path):
    facts = generate("sandbox_facts")
    known = Rigged({(row["prompt"], f"{row['options'][row['label']]}.") for row in facts[:25]})
    guessed = sum(row["label"] == 0 for row in facts[25:])  # all equal: the first option is taken
    texts = generate("sandbox_heldout_text")[:5]
    metrics = measured(tmp_path, [*fact_scores(facts, known), *text_scores(texts, known)])
    assert metrics["sandbox/knowledge"] == 25 + guessed
    assert metrics["sandbox/tie_share"] == 75  # S6: which is told
    assert metrics["sandbox/perplexity"] == pytest.approx(2.718281828)
