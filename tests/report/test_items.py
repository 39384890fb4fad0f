"""What a suite left out, cut or clipped is told in every form of the report."""

import json

import pytest

from pipeline_core.evaluation.item_counts import counts_in, item_counts
from pipeline_core.report.figures.model import ItemCounts
from pipeline_core.report.render.terminal import render_terminal
from pipeline_core.report.write import write_report
from tests.report.run import FakeRun


def test_counts_are_metrics_and_back():
    metrics = item_counts("bbq", 58_476, {"no_target": 16}, cut=3)
    assert metrics == {"bbq/items/measured": 58_476, "bbq/items/left_out_no_target": 16, "bbq/items/cut": 3}
    assert counts_in(metrics | {"bbq/accuracy": 50.0}) == {"measured": 58_476, "left_out_no_target": 16, "cut": 3}


@pytest.fixture
def report(tmp_path):
    run = FakeRun(tmp_path / "store")
    cut = {"base": 3, "dpo": 3, "grpo": 0}
    for name, result in run.results.items():
        if result.stage == "evaluate":
            manifest = result.path / "manifest.json"
            facts = json.loads(manifest.read_text())
            facts["metrics"] = item_counts("world", 1640, {"no_target": 16, "empty": 0}, cut=cut[result.label])
            manifest.write_text(json.dumps(facts))
            assert name.startswith("evaluate:world")
    return write_report(run.results, {"name": "r"}, tmp_path / "report")


def test_models_of_the_same_counts_are_told_together(report):
    counts = {"measured": 1640, "left_out_no_target": 16, "left_out_empty": 0}
    assert report.report.items == [
        ItemCounts(suite="world", models=["base", "dpo"], counts=counts | {"cut": 3}),
        ItemCounts(suite="world", models=["grpo"], counts=counts | {"cut": 0}),
    ]


def test_every_form_tells_them(report):
    from rich.console import Console

    told = "1,640 items; left out: no target 16; cut 3 (base, dpo)"
    console = Console(record=True, width=160)
    render_terminal(console, report.report)
    for text in (report.html.read_text(), report.markdown.read_text(), console.export_text()):
        assert told in text
        assert "1,640 items; left out: no target 16 (grpo)" in text


def test_the_terminal_is_silent_where_nothing_is_lost():
    from rich.console import Console

    from pipeline_core.report.figures.model import Report

    console = Console(record=True, width=160)
    whole = ItemCounts(suite="world", models=["base"], counts={"measured": 5, "continuations": 10, "cut": 0})
    render_terminal(console, Report(name="r", models=[], rows=[], stages=[], items=[whole]))
    assert "5 items" not in console.export_text()
