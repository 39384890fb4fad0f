"""Counts of items and clusters beside figures, why a figure has no interval, and which values are bold."""

from __future__ import annotations

import json
from io import StringIO

import numpy as np
import pytest
from rich.console import Console

from pipeline_core.evaluation.measures import write_evaluation
from pipeline_core.gate.settings import Limit
from pipeline_core.plugin.figures import Measure, Relation, Score
from pipeline_core.report import render_terminal
from pipeline_core.report.figures.cells import Figure
from pipeline_core.report.figures.collect import ModelEvaluation, _scores
from pipeline_core.report.figures.compare import tables_of
from pipeline_core.report.figures.judging import judge
from pipeline_core.report.figures.model import Report, ReportModel
from pipeline_core.report.figures.pairs import pair_of
from pipeline_core.report.render import gate_words, wording
from pipeline_core.report.render.notes import notes, without_interval
from pipeline_core.report.render.terminal import render_pair

RIGHT = Measure("s/right", "right", "share", "higher", "%")
BY_DOMAIN = Measure("s/right", "right", "share", "higher", "%", group_by="domain", summary_rows=("worst_group", "gap"))


@pytest.fixture
def evaluated(tmp_path):
    """`evaluated(label, seed, scores, measures, noun)`: an evaluation as a report reads it."""

    def make(label, seed, scores, measures, noun):
        out = tmp_path / f"{label}{seed}{len(list(tmp_path.iterdir()))}"
        out.mkdir()
        write_evaluation(out, scores, measures, resampled=noun)
        found = json.loads((out / "measures.json").read_text())
        return ModelEvaluation(label, seed, "s", "s", found, _scores(out / "rows.parquet"))

    return make


def rights(ids, is_right, cluster=None, domain=""):
    return [
        Score(f"q{i}", "right", float(is_right(i)), "", domain, cluster=cluster(i) if cluster else f"q{i}") for i in ids
    ]


def cell_of(tables, model, measure="s/right"):
    return next(row for row in tables.rows if row.measure == measure).cell(model)


def verdict_of(tables, seeds, **limit):
    (found,) = judge([Limit(measure=limit.pop("measure", "s/right"), **limit)], tables.found, seeds)
    return found


def report_of(tables, *labels):
    models = [ReportModel(label=label, plugin=label) for label in labels]
    return Report(name="r", command="", models=models, rows=tables.rows, group_tables=tables.group_tables, stages=[])


def in_domains(each):
    """Twenty items of domain a, a hundred each of b and c, in clusters of `each`; in a fewer are right."""
    return [
        Score(f"{domain}{i}", "right", float(i % 4 < few), "", domain, cluster=f"{domain}t{i // each}")
        for domain, size, few in (("a", 20, 1), ("b", 100, 2), ("c", 100, 2))
        for i in range(size)
    ]


@pytest.mark.parametrize(("each", "noun", "said"), [(1, "pair", "20 pairs"), (5, "template", "20 in 4 templates")])
def test_s1_a_worst_group_counts_its_own_clusters(evaluated, each, noun, said):
    tables = tables_of([evaluated("base", None, in_domains(each), [BY_DOMAIN], noun)], ["base"])
    cell = cell_of(tables, "base", "s/right/worst_group")
    assert (cell.group, wording.items_in([cell], noun)) == ("a", said)
    assert wording.items_in([tables.group_tables[0].columns[0].worst_group], noun) == said
    limit = {"measure": "s/right/worst_group", "at_least": 30, "models": ["base"]}
    assert gate_words.counted(verdict_of(tables, {"base": [None]}, **limit)) == f"n = {said}"
    assert wording.items_in([cell_of(tables, "base")], noun) == ("220 pairs" if each == 1 else "220 in 44 templates")


def test_s1_a_worst_area_counts_its_own_clusters(evaluated):
    scores = [
        Score(f"{domain}{i}", name, float(value), "", domain, cluster=f"{domain}t{i // 2}")
        for domain, size in (("a", 20), ("b", 60))
        for i in range(size)
        for name, value in (("x", (i * 7) % 11 + (i % 2) * (domain == "b") * 9), ("y", i % 2))
    ]
    areas = Relation("s/auc", "x", "y", "auc", group_by="domain", summary_rows=("worst_group",))
    tables = tables_of([evaluated("base", None, scores, [areas], "template")], ["base"])
    cell = cell_of(tables, "base", "s/auc/worst_group")
    assert (cell.group, wording.items_in([cell], "template")) == ("a", "20 in 10 templates")


def test_s1_of_several_seeds_with_other_items_the_clusters_of_one_are_counted(evaluated):
    def seed(number):
        return rights(range(30 * number, 30 * number + 60), lambda i: i % 3)

    runs = [evaluated("base", None, rights(range(60), lambda i: i % 2), [RIGHT], "document")]
    runs += [evaluated("m", number, seed(number), [RIGHT], "document") for number in range(3)]
    cell = cell_of(tables_of(runs, ["base", "m"]), "m")
    assert (cell.n, cell.n_clusters) == (60, 60), "120 documents over all seeds"
    assert wording.items_in([cell], "document") == "60 documents"
    assert cell.low is not None


def test_s1_seeds_that_differ_in_their_numbers_of_clusters_have_the_range():
    figure = Figure(value=1.0, n=60, n_most=80, n_clusters=12, n_clusters_most=16)
    assert wording.items_in([figure], "template") == "60 to 80 in 12 to 16 templates"
    alone = Figure(value=1.0, n=60, n_most=80, n_clusters=60, n_clusters_most=80)
    assert wording.items_in([alone], "pair") == "60 to 80 pairs"
    assert wording.items_in([alone], "template or pair") == "60 to 80 templates or pairs"


def one_template(evaluated):
    """A hundred questions of one template."""
    runs = [("base", None, 2), ("m", 0, 3)]
    made = [
        evaluated(label, seed, rights(range(100), lambda i, n=n: i % n == 0, lambda _: "t"), [RIGHT], "template")
        for label, seed, n in runs
    ]
    return made, tables_of(made, ["base", "m"])


def test_s1_one_template_has_no_interval_and_every_form_says_why(evaluated):
    from pipeline_core.report.render.markdown import to_markdown
    from pipeline_core.report.render.page import drawn_sections, to_html

    made, tables = one_template(evaluated)
    cell = cell_of(tables, "m")
    assert (cell.value, cell.low, cell.difference, cell.difference_low, cell.verdict) == (34.0, None, -16.0, None, "")
    said = "s · right (base, m) has no interval: it rests on one template"
    report = report_of(tables, "base", "m")
    out = StringIO()
    render_terminal(Console(file=out, width=200), report)
    for text in (to_markdown(report), to_html(report, drawn_sections(report)), out.getvalue()):
        assert said in text
    out = StringIO()
    render_pair(Console(file=out, width=200), pair_of(made, "m", "base"))
    assert "s · right (m) has no interval: it rests on one template" in out.getvalue()


def test_s1_the_gate_says_that_one_template_has_no_interval(evaluated):
    _, tables = one_template(evaluated)
    for limit in ({"worse_by": 0}, {"at_least": 1}, {"worse_by_share": 0.5}):
        verdict = verdict_of(tables, {"base": [None], "m": [0]}, by="interval", models=["m"], **limit)
        assert (verdict.outcome, verdict.reason) == ("undefined", "it has no interval: it rests on one template")


def test_s1_a_difference_over_one_common_template_has_no_interval(evaluated):
    sets = (("base", None, range(20)), ("m", 0, range(19, 39)))
    runs = [evaluated(label, seed, rights(ids, lambda i: i % 2), [RIGHT], "template") for label, seed, ids in sets]
    tables = tables_of(runs, ["base", "m"])
    assert cell_of(tables, "m").low is not None
    said = "s · right (m) has no interval of Δ: the items of both are of one template at most"
    assert list(without_interval(report_of(tables, "base", "m"))) == [said]
    verdict = verdict_of(tables, {"base": [None], "m": [0]}, worse_by=0, by="interval", models=["m"])
    assert verdict.reason == "it has no interval: its items and the base's are of one template at most"


def test_s1_groups_of_one_template_are_named(evaluated):
    scores = in_domains(20)
    tables = tables_of([evaluated("base", None, scores, [BY_DOMAIN], "template")], ["base"])
    said = "s · right (base) has no interval for a: it rests on one template"
    assert list(without_interval(report_of(tables, "base"))) == [said]


def test_s10_values_that_print_alike_are_equally_good(evaluated):
    def bold(*numbers):
        runs = [
            evaluated(f"m{at}", 0, rights(range(4000), lambda i, n=n: i < n), [RIGHT], "pair")
            for at, n in enumerate(numbers)
        ]
        labels = [run.label for run in runs]
        return [cell.best for cell in tables_of(runs, labels, labels[0]).rows[0].cells]

    assert bold(2001, 2000) == [False, False], "both print 50.0"
    assert bold(2001, 2000, 1000) == [True, True, False]
    assert bold(2040, 2000) == [True, False]


def test_the_note_on_differences_holds_where_models_answer_other_items(evaluated):
    sets = (("base", None, range(40)), ("m", 0, range(20, 60)))
    runs = [evaluated(label, seed, rights(ids, lambda i: i % 2), [RIGHT], "pair") for label, seed, ids in sets]
    tables = tables_of(runs, ["base", "m"])
    said = " ".join(notes([ReportModel(label="m", plugin="m", seeds=[0])], tables))
    assert "on the same items" not in said
    assert "an item that only one of them has counts for that one only" in said


def test_a_share_of_the_base_is_as_uncertain_as_the_base(evaluated):
    """As much worse as the limit allows: by interval it takes a larger share than where the base's figure is known."""
    generator = np.random.default_rng(0)
    base = [Score(f"q{i}", "x", float(value), cluster=f"q{i}") for i, value in enumerate(generator.exponential(1, 40))]
    mine = [Score(one.item, "x", one.value + 0.1 + 0.02 * (i % 2), cluster=one.item) for i, one in enumerate(base)]
    cost = Measure("s/cost", "x", "mean", "lower")
    tables = tables_of(
        [evaluated("base", None, base, [cost], "text"), evaluated("m", 0, mine, [cost], "text")], ["base", "m"]
    )

    def judged(share):
        limit = {"measure": "s/cost", "worse_by_share": share, "by": "interval", "models": ["m"]}
        return verdict_of(tables, {"base": [None], "m": [0]}, **limit)

    found = judged(0.0)
    assert (found.beyond.low, found.beyond.high) == pytest.approx((found.worse.low, found.worse.high))
    value = found.base
    known = found.worse.high / value + 0.001  # enough where the base's figure is taken as known
    assert judged(known).outcome == "failed"
    assert "minus the limit" in gate_words.measured(judged(known))
    assert judged(1.7 * known).outcome == "passed"
    limit = judged(known)
    mean, size = limit.beyond.value, [known * one.value for one in base]
    sd = np.std([0.1 + 0.02 * (i % 2) - s for i, s in enumerate(size)], ddof=1) / 40**0.5
    assert mean == pytest.approx(found.worse.value - known * value)
    assert limit.beyond.high - mean == pytest.approx(2.02 * sd, rel=0.25), "that of the item-wise difference"


def test_where_higher_is_better_the_share_is_of_what_is_lost(evaluated):
    base = rights(range(200), lambda i: i % 10 < 8)
    mine = rights(range(200), lambda i: i % 10 < 7)
    runs = [evaluated("base", None, base, [RIGHT], "pair"), evaluated("m", 0, mine, [RIGHT], "pair")]
    tables = tables_of(runs, ["base", "m"])
    for share, outcome in ((0.1, "failed"), (0.125, "failed"), (0.3, "passed")):
        verdict = verdict_of(tables, {"base": [None], "m": [0]}, worse_by_share=share, by="interval", models=["m"])
        assert verdict.outcome == outcome
        assert verdict.beyond.value == pytest.approx(10 - share * 80)
        assert verdict.beyond.low < verdict.beyond.value < verdict.beyond.high
