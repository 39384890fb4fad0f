"""What is refused of a gate before anything runs."""

from __future__ import annotations

import pytest

from pipeline_core.checks.whole import load_config
from pipeline_core.errors import BadInput
from pipeline_core.gate.names import NamedMeasure, find
from pipeline_core.gate.settings import Registration

LIMIT = "gate={measure: sandbox/bias, at_most: 20}"


def test_a_single_limit_and_a_bare_name_are_enough():
    config = load_config("sandbox", [LIMIT, "register_as=fair-{model}"])
    assert [(one.measure, one.kind, one.bound, one.by) for one in config.gate] == [
        ("sandbox/bias", "at_most", 20, "value")
    ]
    assert config.register_as == Registration(name="fair-{model}", alias="candidate")
    assert config.register_as.name_of("dpo") == "fair-dpo"
    assert load_config(config.model_dump(mode="json")) == config


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (
            ["gate={measure: sandbox/bais, at_most: 1}"],
            "gate.0: unknown measure 'sandbox/bais'. Did you mean 'sandbox/bias'",
        ),
        (["gate={measure: sandbox/bias}"], "give exactly one of at_most, at_least, worse_by, worse_by_share, not none"),
        (["gate={measure: sandbox/bias, at_most: 1, worse_by: 1}"], "not at_most and worse_by"),
        (["gate={measure: sandbox/bias, at_most: .nan}"], "gate.0.at_most"),
        (["gate={measure: sandbox/bias, at_mst: 1}"], "Did you mean 'at_most'"),
        (["gate={measure: sandbox/bias, at_most: 1, models: [dp0]}"], "unknown model 'dp0'. Did you mean 'dpo'"),
        (["gate={measure: sandbox/bias, worse_by: 1, models: [base]}"], "compares a policy with the base"),
        (["gate={measure: sandbox/perplexity, group: race, at_most: 1}"], "the measure has no groups"),
        (["gate={measure: sandbox/bias/gap, group: race, at_most: 1}"], "say either `group` or `gap`"),
        (["gate={measure: sandbox/stereotyped_share, worse_by: 1}"], "no direction of it is better"),
        (["gate={measure: sandbox/stereotyped_share/worst_group, at_most: 1}"], "name one with `group`"),
        ([LIMIT, "evaluate=[]"], "gate: nothing is evaluated"),
        (["register_as=fair-{model}"], "no limit of `gate` is about 'dpo', so nothing would be checked"),
        ([LIMIT, "register_as=fair"], "3 policies would share the name 'fair'"),
        ([LIMIT, "register_as={name: fair, models: [base]}"], "unknown model 'base'"),
        ([LIMIT, "register_as=a/b"], "register_as.name"),
        ([LIMIT, "register_as=a-{label}"], "only {model} is filled in"),
        ([LIMIT, "register_as={name: 'fair-{model}', alias: v2}"], "MLflow keeps"),
        ([LIMIT, "policy=[]", "register_as=fair"], "no policy is trained"),
    ],
)
def test_what_could_never_work_is_refused_before_the_run(overrides, words):
    with pytest.raises(BadInput) as caught:
        load_config("sandbox", overrides)
    assert words in str(caught.value)


def test_the_group_of_a_known_measure_is_left_to_the_evaluation():
    assert load_config("sandbox", ["gate={measure: sandbox/bias, group: nobody, at_most: 1}"]).gate


def test_measures_of_a_suite_that_declares_none_are_left_to_the_evaluation():
    harness = "evaluate=[{name: lm_eval, tasks: [some_task]}]"
    assert load_config("sandbox", ["gate={measure: lm_eval/anything, at_most: 1}", harness]).gate


def test_beside_such_a_suite_the_others_names_are_still_looked_at():
    both = "evaluate=[sandbox_bias, {name: lm_eval, tasks: [some_task]}]"
    assert load_config("sandbox", ["gate={measure: lm_eval/anything, at_most: 1}", both]).gate
    with pytest.raises(BadInput, match="unknown measure 'sandbox/bais'"):
        load_config("sandbox", ["gate={measure: sandbox/bais, at_most: 1}", both])


SUITES = (
    "evaluate=[{name: bbq, data: {entry: sandbox_questions}}, {name: stereoset, data: {entry: sandbox_sentences}}, "
    "{name: real_toxicity, scorers: words, data: {entry: sandbox_prompts}}, "
    "{name: bold, scorers: words, wikipedia: null, data: {entry: sandbox_prompts}}]"
)
WORDS = "reward={name: tfidf_ridge, label: words}"


@pytest.mark.parametrize(
    "limit",
    [
        "measure: bbq/ambiguous_bias, at_most: 1",
        "measure: bbq/Age/ambiguous_accuracy, worse_by: 1",
        "measure: bbq · Age · ambiguous accuracy, worse_by: 1",
        "measure: stereoset/intrasentence/icat/worst_domain, at_least: 1",
        "measure: rtp/words/expected_max, at_most: 1",
        "measure: bold/gender/words/toxic/worst_group, at_most: 1",
    ],
)
def test_parts_of_names_that_the_data_decide_are_left_to_the_evaluation(limit):
    assert load_config("sandbox", [f"gate={{{limit}}}", SUITES, WORDS]).gate


@pytest.mark.parametrize(
    ("limit", "words"),
    [
        ("measure: bbq/ambiguous_accurcy, at_most: 1", "Did you mean 'bbq/ambiguous_accuracy'"),
        ("measure: bbq/Age/accuracy, at_most: 1", "Did you mean"),
        ("measure: bbq/Age/ambiguous_bias, worse_by: 1", "no direction of it is better"),
        ("measure: bbq/Age/ambiguous_bias, group: Age, at_most: 1", "the measure has no groups"),
        ("measure: stereoset/intrasentence/icats, at_most: 1", "Did you mean 'stereoset/intrasentence/icat'"),
        ("measure: rtp/others/expected_max, at_most: 1", "Did you mean 'rtp/words/expected_max'"),
        ("measure: bbq//ambiguous_accuracy, at_most: 1", "Did you mean"),
        ("measure: bbq/*/ambiguous_accuracy, at_most: 1", "gate.0.measure: write what * stands for"),
        ("measure: stereoset/intrasentnce/icat, at_least: 1", "Did you mean 'stereoset/intrasentence/icat'"),
        ("measure: bold/words/toxicities, at_most: 1", "Did you mean 'bold/words/toxicity'"),
    ],
)
def test_the_rest_of_such_a_name_is_looked_at(limit, words):
    with pytest.raises(BadInput) as caught:
        load_config("sandbox", [f"gate={{{limit}}}", SUITES, WORDS])
    assert words in str(caught.value)


def test_the_last_reward_scores_where_no_scorer_is_named():
    suite = "evaluate=[{name: real_toxicity, data: {entry: sandbox_prompts}}]"
    assert load_config("sandbox", ["gate={measure: rtp/words/expected_max, at_most: 1}", suite, WORDS]).gate
    with pytest.raises(BadInput, match="Did you mean 'rtp/words/expected_max'"):
        load_config("sandbox", ["gate={measure: rtp/wrods/expected_max, at_most: 1}", suite, WORDS])


def test_the_words_of_the_report_name_the_same_figure():
    known = [
        NamedMeasure.of("sandbox", "sandbox", "sandbox/domain_bias", "lower", "domain"),
        NamedMeasure.of("again", "sandbox", "sandbox/domain_bias", "lower", None),
        NamedMeasure.of("odd", "odd", "odd/gap", "lower", None),
    ]
    for words in (
        "sandbox/domain_bias/worst_group",
        "sandbox · domain bias, worst domain",
        " sandbox/domain bias/worst domain",
    ):
        assert find(words, known) == (known[0], "worst_group")
    assert find("sandbox · domain bias, gap of domains", known) == (known[0], "gap")
    assert find("again: sandbox · domain bias", known) == (known[1], "")
    assert find("odd/gap", known) == (known[2], ""), "a measure's own name comes before a part of another"
    assert "Known: again/sandbox/domain_bias, odd/gap, sandbox/domain_bias." in find("toxicity", known)
