"""Gates worked by hand: what passes, what fails by value or by interval, and what is undefined, which never passes."""

from __future__ import annotations

import pytest
from rich.console import Console

from pipeline_core.plugin.figures import Measure
from pipeline_core.report import build_report, load_report, render_terminal, write_report
from pipeline_core.report.figures.model import GateVerdict
from pipeline_core.report.render import gate_words
from tests.report.run import FakeRun, scores

CONFIG = {
    "name": "sandbox",
    "base": {"name": "tiny_lm"},
    "policy": [{"name": "dpo"}, {"name": "grpo"}],
    "seeds": [0],
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Of 40 answers base, dpo and grpo give 36, 24 and 20 stereotyped ones: biases of 40, 10 and 0 points."""
    return FakeRun(tmp_path_factory.mktemp("store"))


def verdicts(run, *limits, **config):
    return build_report(run.results, CONFIG | {"gate": list(limits)} | config).gate


def judged(run, **limit):
    """The outcome for dpo and grpo."""
    return [verdict.outcome for verdict in verdicts(run, limit)]


@pytest.mark.parametrize(
    ("limit", "outcomes"),
    [
        ({"measure": "world/bias", "at_most": 10}, ["passed", "passed"]),  # on the limit is within it
        ({"measure": "world/bias", "at_most": 9.9}, ["failed", "passed"]),
        ({"measure": "world/bias", "at_least": 10}, ["passed", "failed"]),
        ({"measure": "world/bias", "worse_by": -30}, ["passed", "passed"]),  # 30 and 40 better than the base
        ({"measure": "world/bias", "worse_by": -30.1}, ["failed", "passed"]),
        ({"measure": "world/bias", "worse_by_share": -0.8}, ["failed", "passed"]),  # 3/4 and all of it less
        ({"measure": "world/knowledge", "worse_by": 0}, ["passed", "passed"]),  # equal on every item
        ({"measure": "world/knowledge", "worse_by": -0.1}, ["failed", "failed"]),
        ({"measure": "world · bias, worst group", "at_most": 10}, ["passed", "passed"]),
        ({"measure": "world/bias/gap", "worse_by": 0}, ["passed", "passed"]),  # as many of the old as of the young
        ({"measure": "world/bias", "group": "old", "at_most": 10}, ["passed", "passed"]),
        ({"measure": "world/bias", "group": "old", "at_most": 9}, ["failed", "passed"]),
        ({"measure": "world/bias", "group": "young", "worse_by": -35}, ["failed", "passed"]),
        ({"measure": "world/race/bias", "at_most": 40}, ["passed", "failed"]),  # 4 and 0 of 20: 30 and 50 points
    ],
)
def test_limits_by_value(run, limit, outcomes):
    assert judged(run, **limit) == outcomes


def test_by_interval_its_worse_end_keeps_to_the_limit(run):
    report = build_report(run.results, CONFIG)
    cell = next(row for row in report.rows if row.measure == "world/bias").cell("dpo")
    assert cell.value < cell.high - 1
    for bound, outcome in ((cell.high + 0.01, "passed"), (cell.high - 0.01, "failed"), (cell.value, "failed")):
        assert judged(run, measure="world/bias", at_most=bound, by="interval")[0] == outcome
    for bound, outcome in ((cell.low - 0.01, "passed"), (cell.low + 0.01, "failed")):
        assert judged(run, measure="world/bias", at_least=bound, by="interval")[0] == outcome
    worse = cell.difference_high  # lower is better: the upper end of the difference is the worse one
    for bound, outcome in ((worse + 0.01, "passed"), (worse - 0.01, "failed")):
        assert judged(run, measure="world/bias", worse_by=bound, by="interval")[0] == outcome


def test_where_higher_is_better_worse_is_lower(tmp_path):
    run = FakeRun(tmp_path, labels=())
    model = run.stage("policy", "dpo", "dpo", 0, {"model": run.base.digest})
    right = [Measure("w/right", "stereotyped", "share", "higher", "%")]
    run.suite("w", "base", run.base, scores("base", 0), right)
    run.suite("w", "dpo", model, scores("dpo", 0), right)  # 60 % after 90 %
    one = {"policy": [{"name": "dpo"}]}
    (by_value,) = verdicts(run, {"measure": "w/right", "worse_by": 30}, **one)
    assert (by_value.outcome, by_value.base) == ("passed", 90.0)
    assert by_value.worse.value == pytest.approx(30)
    assert by_value.worse.low < 30 < by_value.worse.high
    (shown,) = verdicts(run, {"measure": "w/right", "worse_by": by_value.worse.high - 0.01, "by": "interval"}, **one)
    assert shown.outcome == "failed"
    (within,) = verdicts(run, {"measure": "w/right", "worse_by": by_value.worse.high + 0.01, "by": "interval"}, **one)
    assert within.outcome == "passed"


def test_the_gate_speaks_of_the_figures_in_the_table(run):
    report = build_report(run.results, CONFIG | {"gate": [{"measure": "world/bias", "worse_by": 0, "by": "interval"}]})
    cell, verdict = report.rows[0].cell("dpo"), report.gate[0]
    assert (verdict.value, verdict.low, verdict.high, verdict.base) == (cell.value, cell.low, cell.high, 40.0)
    assert verdict.worse.value == cell.difference
    assert (verdict.worse.low, verdict.worse.high) == (cell.difference_low, cell.difference_high)


@pytest.mark.parametrize(
    ("limit", "reason"),
    [
        ({"measure": "world/bais", "at_most": 50}, "unknown measure 'world/bais'. Did you mean 'world/bias'"),
        ({"measure": "toxicity", "at_most": 50}, "unknown measure 'toxicity'. Known: world/bias"),
        ({"measure": "world/bias", "group": "rich", "at_most": 50}, "unknown group 'rich'. Known: old, young."),
        ({"measure": "world/knowledge", "group": "old", "at_least": 0}, "the measure has no groups"),
        ({"measure": "world/knowledge/gap", "at_most": 50}, "unknown measure 'world/knowledge/gap'"),
        ({"measure": "world/reward_accuracy", "worse_by": 50}, "the figure of base is undefined"),
    ],
)
def test_what_is_undefined_fails_and_says_why(run, limit, reason):
    for verdict in verdicts(run, limit):
        assert (verdict.outcome, verdict.passed) == ("undefined", False)
        assert reason in verdict.reason
        assert reason in gate_words.failures([verdict])


def test_a_figure_without_items_has_no_interval(tmp_path):
    run = FakeRun(tmp_path, labels=())
    run.suite("bare", "base", run.base, [], [])
    limits = [{"measure": "bare/score", "at_most": 1, "by": by} for by in ("value", "interval")]
    found = verdicts(run, *limits, policy=[])
    assert [(verdict.model, verdict.outcome) for verdict in found] == [("base", "passed"), ("base", "undefined")]
    assert "no interval" in found[1].reason


def test_a_seed_that_is_missing_is_not_passed_over(tmp_path):
    run = FakeRun(tmp_path, seeds=(0, 1), labels=("dpo",))
    limit, two = {"measure": "world/bias", "at_most": 50}, {"policy": [{"name": "dpo"}], "seeds": [0, 1]}
    assert [verdict.outcome for verdict in verdicts(run, limit, **two)] == ["passed"]
    del run.results["evaluate:world:dpo:seed1"]
    (verdict,) = verdicts(run, limit, **two)
    assert (verdict.outcome, verdict.reason) == ("undefined", "dpo was not evaluated at seed 1")


def test_a_limit_is_about_the_models_it_names(run):
    one = {"measure": "world/bias", "at_most": 50, "models": ["grpo", "base"]}
    assert [verdict.model for verdict in verdicts(run, one)] == ["base", "grpo"]


def test_of_several_seeds_the_one_to_be_registered_is_judged_alone_too(tmp_path):
    run = FakeRun(tmp_path, seeds=(0, 1), labels=("dpo",))  # 24 and 25 of 40: 10 and 12.5 points
    two = {"policy": [{"name": "dpo"}], "register_as": {"name": "x"}}
    for seeds, outcomes in (([0, 1], ["passed", "passed"]), ([1, 0], ["passed", "failed"])):
        found = verdicts(run, {"measure": "world/bias", "at_most": 11.5}, seeds=seeds, **two)
        assert [(verdict.seed, verdict.outcome) for verdict in found] == list(
            zip([None, seeds[0]], outcomes, strict=True)
        )
        assert found[0].value == pytest.approx(11.25)


def test_a_suite_with_a_label_leads_the_name(tmp_path):
    run = FakeRun(tmp_path, labels=())
    run.suite(
        "world", "base", run.base, scores("grpo", 0), [Measure("world/bias", "stereotyped", "share")], name="again"
    )
    for name in ("again: world/bias", "again/world/bias", "again: world · bias"):
        (verdict,) = verdicts(run, {"measure": name, "at_most": 50}, policy=[])
        assert (verdict.value, verdict.outcome) == (50.0, "passed")


def test_every_form_of_the_report_shows_the_verdicts(run, tmp_path):
    gate = [{"measure": "world/bias/worst_group", "at_most": 5}, {"measure": "no/such", "at_most": 1}]
    paths = write_report(run.results, CONFIG | {"gate": gate}, tmp_path)
    console = Console(width=200, record=True, file=(tmp_path / "out").open("w"))
    render_terminal(console, load_report(paths.json))
    for text in (console.export_text(), *(path.read_text(encoding="utf-8") for path in (paths.html, paths.markdown))):
        assert "world · bias, worst group (young)" in text or "world · bias, worst group (old)" in text
        assert "at most 5" in text
        assert "unknown measure" in text
    assert "✗ failed" in paths.html.read_text(encoding="utf-8")
    assert load_report(paths.json).gate == paths.report.gate


def test_sentences_name_measure_group_value_limit_and_model(run):
    found = verdicts(run, {"measure": "world/bias", "group": "old", "worse_by": -35, "by": "interval"})
    assert gate_words.sentence(found[0]).startswith("dpo: world · bias (old) is 30 points better than the base [")
    assert gate_words.sentence(found[0]).endswith(
        "10 against 40; the limit is at least 35 points better than the base, with the whole interval"
    )


def test_what_is_equal_is_neither_worse_nor_better(run):
    (found, *_) = verdicts(run, {"measure": "world/knowledge", "worse_by": 5})
    assert gate_words.sentence(found).startswith("dpo: world · knowledge is 90 % [")
    assert "], equal to the base; the limit is no more than 5 pp worse than the base" in gate_words.sentence(found)


def test_large_figures_are_written_out():
    said = [gate_words.number(value) for value in (100000, -12345.6, 9999.4, 0.006539, 31.24)]
    assert said == ["100,000", "−12,346", "9999", "0.006539", "31.24"]


def test_a_share_is_told_in_the_measures_unit_too(run):
    (found, *_) = verdicts(run, {"measure": "world/bias", "group": "old", "worse_by_share": 0.05})
    assert gate_words.sentence(found).endswith("the limit is no more than 5 % (2 points) worse than the base")


def card(run, tmp_path, **config):
    paths = write_report(run.results, CONFIG | config, tmp_path)
    return paths.card.read_text(encoding="utf-8"), paths.html.read_text(encoding="utf-8")


def test_the_model_card_tells_what_the_models_are(run, tmp_path):
    text, page = card(
        run,
        tmp_path,
        base={"name": "checkpoint", "model": "acme/tiny", "revision": "abc"},
        gate=[{"measure": "world/bias", "at_most": 5}],
        register_as={"name": "fair-{model}", "alias": "trial"},
        policy=[{"name": "dpo", "beta": 0.25, "label": None}, {"name": "grpo"}],
    )
    key = run.results["policy:dpo:seed0"].key
    for said in (
        f"| dpo | dpo | 0 | `{key[:16]}` |",
        "`acme/tiny` at `abc`, read by `checkpoint`",
        "| pairs | base, policy, evaluate | unknown | – |",  # an entry that the catalog does not have
        "bias (points) ↓ | 40 | 40.0 [",
        "], n = 40 | ✗ failed |",
        "Gate not passed: dpo: world · bias is 10 points",
        "beta: 0.25",
        f"evenhand export {key[:12]} my-model",
        "models:/fair-dpo@trial",
        "groups, languages and tasks were not measured",
    ):
        assert said in text, said
    assert "label:" not in text, "settings that were left open are not told"
    for said in ("n = 40</small>", "Intended use", "acme/tiny", "beta: 0.25", "models:/fair-dpo@trial", "not measured"):
        assert said in page, said


@pytest.mark.parametrize(
    ("base", "said"),
    [
        (
            {"name": "gguf", "package": "llm_small", "file": None},
            "`llm_small`, read by `gguf`. What its licence says holds",
        ),
        (
            {"name": "tiny_lm", "data": {"entry": "corpus"}},
            "Trained in this run by `tiny_lm`; it holds no weights of others.",
        ),
        ({"name": "mine"}, "Made by `mine`, whose settings name no model of others."),
    ],
)
def test_the_card_says_whose_weights_the_base_model_holds(run, tmp_path, base, said):
    assert said in card(run, tmp_path, base=base)[0]


def test_a_measure_that_is_called_gap_is_no_gap_of_groups():
    verdict = GateVerdict(
        model="dpo", measure="winobias/gap", axis="domain", kind="at_most", bound=1, value=0.5, unit="nats"
    )
    assert gate_words.subject(verdict) == "winobias · gap"
    part = verdict.model_copy(update={"measure": "winobias/gap/gap", "part": "gap"})
    assert gate_words.subject(part) == "winobias · gap, gap of domains"


def test_a_run_without_policies_has_no_card(tmp_path):
    paths = write_report(FakeRun(tmp_path / "store", labels=()).results, CONFIG | {"policy": []}, tmp_path / "out")
    assert paths.card is None
    assert not (tmp_path / "out" / "model_card.md").exists()
    assert "Model card" not in paths.html.read_text(encoding="utf-8")


def test_every_suite_has_a_section_with_its_own_plots(run, tmp_path):
    from pipeline_core.report.render.page import drawn_sections, to_html

    other = FakeRun(tmp_path, labels=())
    other.suite("second", "base", other.base, scores("grpo", 0), [Measure("second/bias", "stereotyped", "share")])
    report = build_report(other.results, CONFIG | {"policy": []})
    page = to_html(report, drawn_sections(report))
    sections = page.split('<section class="suite"')[1:]
    assert ["<h2>world</h2>" in one for one in sections] == [True, False]
    assert "second · bias" in sections[1]
    assert "second · bias" not in sections[0]
    assert "Further measures (1)" in sections[0]
