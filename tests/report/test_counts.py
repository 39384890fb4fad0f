"""How many items a figure rests on can be read in every form of the report."""

from __future__ import annotations

import json
import re
from html import unescape

import pytest
from rich.console import Console

from pipeline_core.evaluation import Measure, Score
from pipeline_core.report import build_report, render_terminal, write_report
from pipeline_core.report.model import Figure
from pipeline_core.report.wording import count, items, own_count
from tests.report.run import FakeRun

CONFIG = {"name": "counted", "seeds": [0, 1], "policy": [{"name": "dpo"}]}
MEASURES = [
    Measure("w/share", "asked", "share", "lower", "%", group_by="group", summary_rows=("worst_group", "gap")),
    Measure("w/bias", "decided", "share", "lower", "%"),
]


def answers(worse, decided):
    """30 items of the old and 1,200 of the young, who fare worse where said; and so many decided answers."""
    asked = [(group, index) for group, n in (("old", 30), ("young", 1200)) for index in range(n)]
    return [
        *(Score(f"{group}{n:04d}", "asked", float((n % 3 > 0) == (group == worse)), group) for group, n in asked),
        *(Score(f"d{n:04d}", "decided", float(n % 3 > 0)) for n in range(decided)),
    ]


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    """A base whose worst group is the old; a policy of two seeds whose worst is the young, and who decides more."""
    run = FakeRun(tmp_path_factory.mktemp("store"), labels=())
    run.results = {name: result for name, result in run.results.items() if result.stage != "evaluate"}
    run.suite("w", "base", run.base, answers("old", 610), MEASURES)
    for seed, decided in ((0, 640), (1, 655)):
        model = run.stage("policy", "dpo", "dpo", seed, {"model": run.base.digest})
        run.suite("w", "dpo", model, answers("young", decided), MEASURES, suffix=f":seed{seed}")
    return write_report(run.results, CONFIG, tmp_path_factory.mktemp("report"))


def rows_of(page):
    """Text of the rows of the page's first table, cell by cell; what stands in attributes is not text."""
    table = page[page.index("<tbody>") : page.index("</tbody>")]
    rows = re.findall(r"<tr.*?</tr>", table, re.DOTALL)
    return [[read(cell) for cell in re.findall(r"<t[hd].*?</t[hd]>", row, re.DOTALL)] for row in rows]


def read(html):
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", html)).split())


def row(report, name):
    return next(row for row in report.rows if row.measure == name)


def test_a_count_is_that_of_one_seed_and_of_the_worst_group_its_own(paths):
    found = {
        name: [(cell.n, cell.n_most, cell.group) for cell in row(paths.report, name).cells]
        for name in ("w/share", "w/share/worst_group", "w/share/gap", "w/bias")
    }
    assert found == {
        "w/share": [(1230, None, "")] * 2,
        "w/share/worst_group": [(30, None, "old"), (1200, None, "young")],
        "w/share/gap": [(1230, None, "")] * 2,
        "w/bias": [(610, None, ""), (640, 655, "")],
    }


def test_the_page_shows_the_count_of_every_row_and_of_cells_that_differ(paths):
    page = paths.html.read_text(encoding="utf-8")
    _, share, worst, gap, bias = rows_of(page)
    assert share[0] == "share (%) ↓ n = 1,230"
    assert not any("n =" in cell for cell in share[1:]), "once is enough where all are the same"
    assert worst[0] == "worst group ↓ n = 30 to 1,200"
    assert worst[1].endswith("old n = 30")
    assert "young n = 1,200" in worst[2]
    assert gap[0] == "gap of groups ↓ n = 1,230"
    assert bias[0] == "bias (%) ↓ n = 610 to 655"
    assert bias[1].endswith("n = 610")
    assert "n = 640 to 655" in bias[2]
    assert "n = " not in "".join(re.findall(r'title="[^"]*"', page))
    by_group = read(page[page.index("by group (items)") :])
    assert "base n = 1,230" in by_group
    assert "old (30)" in by_group and "young (1,200)" in by_group


def test_markdown_and_card_have_a_column_of_counts(paths):
    for file in (paths.markdown, paths.card):
        lines = file.read_text(encoding="utf-8").splitlines()
        assert "| measure | n | base | dpo |" in lines
        told = {line.split(" | ")[0].lstrip("| "): line.split(" | ")[1:] for line in lines if line.startswith("| ")}
        assert told["share (%) ↓"][0] == "1,230"
        assert told["&emsp;worst group ↓"][0] == "30 to 1,200"
        assert told["&emsp;worst group ↓"][1].endswith("old n = 30")
        assert told["bias (%) ↓"][0] == "610 to 655"
        assert "n = 640 to 655<br>" in told["bias (%) ↓"][2]
        assert any(line.startswith("- n counts the items") for line in lines)


@pytest.mark.parametrize("width", [60, 120])
def test_the_terminal_shows_them_too(paths, width):
    console = Console(width=width, force_terminal=False, color_system=None, record=True, file=open("/dev/null", "w"))  # noqa: PTH123, SIM115
    render_terminal(console, paths.report)
    lines = console.export_text().splitlines()
    assert max(map(len, lines)) <= width
    for said in (" n = 1,230 ", "   n = 30 to 1,200 ", " n = 610 to 655 "):
        assert any(line.startswith(said) for line in lines), said
    assert any("n = 610 " in line and "n = 640 to 655" in line for line in lines)


def test_a_run_of_the_base_alone_shows_them(tmp_path):
    run = FakeRun(tmp_path / "store", labels=())
    paths = write_report(run.results, CONFIG | {"policy": [], "seeds": [0]}, tmp_path / "report")
    rows = {cells[0]: cells[1:] for cells in rows_of(paths.html.read_text(encoding="utf-8"))}
    assert {"bias (points) ↓ n = 40", "knowledge (%) ↑ n = 40", "reward accuracy (%) ↑"} <= rows.keys()
    assert "| bias (points) ↓ | 40 | 40.0 [" in paths.markdown.read_text(encoding="utf-8")


def test_a_figure_that_nobody_counted_has_no_count(tmp_path):
    run = FakeRun(tmp_path, labels=())
    run.suite("bare", "base", run.base, [], [])
    (bare,) = [one for one in build_report(run.results, CONFIG).rows if one.suite == "bare"]
    assert (bare.cells[0].value, count(bare.cells)) == (0.25, "")


def test_counts_read_well():
    one, other, none = Figure(value=1, n=2200), Figure(value=1, n=610, n_most=655), Figure()
    assert [items([one]), items([one, other]), items([none]), items([one, none])] == [
        *("2,200", "610 to 2,200", "", "2,200"),
    ]
    assert (count([other]), own_count(other, [one, other]), own_count(one, [one, none])) == (
        *("n = 610 to 655", "n = 610 to 655"),
        "",
    )


def test_m11_what_trainings_cut_stands_in_every_form_of_the_report(tmp_path):
    """M11: rows trained on, with cut prompts and completions, and (M15) those that name control tokens."""
    run = FakeRun(tmp_path / "store")
    counts = {"measured": 48, "cut_prompts": 48, "cut_completions": 0, "control_tokens_as_text": 2}
    metrics = {f"training/items/{name}": float(count) for name, count in counts.items()}
    file = run.results["policy:dpo:seed0"].path / "manifest.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"metrics": metrics}))
    written = write_report(run.results, CONFIG | {"policy": [{"name": "dpo"}, {"name": "grpo"}]}, tmp_path / "report")
    console = Console(width=120, record=True, file=open("/dev/null", "w"))  # noqa: PTH123, SIM115
    render_terminal(console, build_report(run.results, CONFIG))
    forms = [written.markdown.read_text(), unescape(written.html.read_text()), console.export_text()]
    for form in forms:
        assert "48 items; cut prompts 48; control tokens as text 2 (dpo)" in form
