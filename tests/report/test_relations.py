"""Figures of two scores in a report: values, intervals, paired differences, groups without a value, calibration."""

from __future__ import annotations

import re

import numpy as np
import pytest

from pipeline_core.plugin.figures import Relation, Score
from pipeline_core.report import build_report, write_report
from tests.report.run import FakeRun

MEASURES = [
    Relation("suite/auc", "score", "label", "auc", group_by="group", summary_rows=("worst_group", "gap")),
    Relation("suite/rank", "score", "label", "spearman", "higher", "", False),
    Relation("suite/bpsn", "score", "label", "bpsn_auc", group_by="group", mean_over="group"),
    Relation("suite/of_c", "score", "label", "auc", only={"group": "c"}),
    Relation("suite/of_nobody", "score", "label", "auc", only={"group": "d"}),
    Relation("suite/calibration_error", "said", "label", "calibration_error", "lower", "pp"),
]


def scores(noise):
    """Three groups; the last one holds one label alone."""
    rng = np.random.default_rng(7)
    for index in range(240):
        group = ("a", "b", "c")[index % 3]
        label = 1.0 if group == "c" else float(rng.random() < 0.5)
        value = label + noise * rng.normal()
        about = {"item": f"i{index:03d}", "group": group}
        yield Score(score="score", value=value, **about)
        yield Score(score="label", value=label, **about)
        yield Score(score="said", value=1 / (1 + np.exp(1 - 2 * value)), **about)


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    run = FakeRun(tmp_path_factory.mktemp("store"), labels=("dpo",))
    results = {name: result for name, result in run.results.items() if not name.startswith("evaluate")}
    run.results = results
    for label, noise in (("base", 2.0), ("dpo", 0.7)):
        run.suite("suite", label, run.base, list(scores(noise)), MEASURES)
    return write_report(run.results, {"name": "relations"}, tmp_path_factory.mktemp("report"))


def row(paths, name):
    return next(row for row in [*paths.report.rows, *paths.report.details] if row.measure == name)


def test_values_are_those_written_with_intervals_and_a_paired_difference(paths):
    from sklearn.metrics import roc_auc_score

    cell, base = row(paths, "suite/auc").cell("dpo"), row(paths, "suite/auc").cell("base")
    values = {noise: list(scores(noise)) for noise in (2.0, 0.7)}
    for found, noise in ((base, 2.0), (cell, 0.7)):
        x, y = ([one.value for one in values[noise] if one.score == name] for name in ("score", "label"))
        assert found.value == pytest.approx(roc_auc_score(y, x))
        assert found.low < found.value < found.high
        assert found.n == 240
    assert cell.difference == pytest.approx(cell.value - base.value)
    assert 0 < cell.difference_low < cell.difference < cell.difference_high
    assert (cell.verdict, cell.test, cell.best) == ("better", "paired bootstrap", True)
    assert row(paths, "suite/rank").cell("dpo").verdict == "better"


def test_groups_have_figures_and_one_without_is_named(paths):
    table = next(table for table in paths.report.group_tables if table.measure == "suite/auc")
    column = next(column for column in table.columns if column.model == "dpo")
    assert (column.groups["c"].value, column.groups["c"].n) == (None, 80)
    assert column.worst in ("a", "b")
    assert column.gap.value == pytest.approx(abs(column.groups["a"].value - column.groups["b"].value))
    assert column.gap.low <= column.gap.value <= column.gap.high
    assert row(paths, "suite/auc/gap").cell("dpo").value == pytest.approx(column.gap.value)
    for file in (paths.markdown, paths.html):
        assert "suite · auc (base, dpo): undefined for c" in file.read_text(encoding="utf-8")


def test_the_reason_of_no_value_is_the_true_one(paths):
    reason = {name: row(paths, f"suite/{name}").cell("dpo").reason for name in ("of_c", "of_nobody")}
    assert reason["of_c"] == "undefined: its items are of one class alone, or have all the same value"
    assert reason["of_nobody"] == "undefined: no item counts for this measure"


def test_a_relation_that_one_model_lacks_is_undefined_for_it(tmp_path):
    run = FakeRun(tmp_path, labels=())
    run.suite("suite", "base", run.base, list(scores(2.0)), MEASURES[:2])
    model = run.stage("policy", "dpo", "dpo", 0, {"model": run.base.digest})
    run.suite("suite", "dpo", model, list(scores(0.7)), MEASURES[:1])
    rank = next(one for one in build_report(run.results, {"name": "r"}).details if one.measure == "suite/rank")
    assert rank.cell("base").value is not None
    assert rank.cell("dpo").reason == "undefined: no item counts for this measure"


def test_a_mean_over_groups_is_the_mean_of_their_figures(paths):
    table = next(table for table in paths.report.group_tables if table.measure == "suite/bpsn")
    column = next(column for column in table.columns if column.model == "dpo")
    figures = [figure.value for figure in column.groups.values()]
    assert row(paths, "suite/bpsn").cell("dpo").value == pytest.approx(np.mean(figures))


def test_calibration_curves_stand_in_every_form_of_the_report(paths):
    (table,) = paths.report.calibration
    assert set(table.curves) == {"base", "dpo"}
    for curve in table.curves.values():
        assert sum(point.n for point in curve) == 240
        assert all(point.low <= point.share <= point.high for point in curve)
    error = sum(point.n * abs(point.share - point.confidence) for point in table.curves["dpo"]) / 2.4
    assert row(paths, "suite/calibration_error").cell("dpo").value == pytest.approx(error)
    (figure,) = [path for path in paths.figures if path.parent.name == "calibration"]
    assert figure.name == "suite.svg"
    assert "var(--" not in figure.read_text(encoding="utf-8")
    assert len(re.findall("observed frequency", paths.html.read_text(encoding="utf-8"))) >= 1
