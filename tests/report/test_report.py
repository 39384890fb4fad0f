"""The report says what the artifacts hold, in all of its forms."""

from __future__ import annotations

import json
import re
import statistics
from html.parser import HTMLParser

import pytest
from rich.console import Console

from pipeline_core.plugin.figures import Measure, Score
from pipeline_core.report import build_report, load_report, render_terminal, write_report
from pipeline_core.report.figures.cells import Figure
from pipeline_core.report.figures.collect import Curve
from pipeline_core.report.render import wording
from pipeline_core.report.render.curves import seeds_chart
from pipeline_core.report.render.wording import difference, number, p_value
from tests.report.run import FakeRun, scores

CONFIG = {"name": "sandbox", "description": "A small world.", "seeds": [0, 1], "policy": [{"name": "dpo"}]}
INFO = {
    "run_id": "run17",
    "command": "evenhand run sandbox seeds=0,1",
    "created": 1_700_000_000,
    "data": [{"entry": "pairs", "licence": "CC BY-SA 4.0", "citation": "Nadeem et al. 2021"}],
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return FakeRun(tmp_path_factory.mktemp("store"), seeds=(0, 1))


@pytest.fixture(scope="module")
def paths(run, tmp_path_factory):
    return write_report(run.results, CONFIG, tmp_path_factory.mktemp("report"), INFO)


@pytest.fixture(scope="module")
def page(paths):
    return paths.html.read_text(encoding="utf-8")


def row(report, name):
    return next(row for row in [*report.rows, *report.details] if row.measure == name)


def test_seeds_are_averaged_and_their_spread_is_given(paths):
    cell = row(paths.report, "world/bias").cell("dpo")
    shares = [100 * (24 + seed) / 40 - 50 for seed in (0, 1)]
    assert cell.per_seed == {"0": shares[0], "1": shares[1]}
    assert cell.value == pytest.approx(statistics.fmean(shares))
    assert cell.spread == pytest.approx(statistics.stdev(shares))
    assert cell.low < cell.value < cell.high
    assert cell.n == 40


def test_the_base_is_compared_on_the_same_items_and_tests_are_corrected(paths):
    cell = row(paths.report, "world/bias").cell("grpo")
    assert cell.difference == pytest.approx(cell.value - 40.0)
    assert cell.difference_low < cell.difference < cell.difference_high < 0
    assert cell.p <= cell.p_holm < 0.05
    assert (cell.verdict, cell.best) == ("better", True)
    base = row(paths.report, "world/bias").cell("base")
    assert (base.value, base.difference, base.verdict, base.best) == (40.0, None, "", False)


def test_equal_models_differ_in_nothing_and_none_is_best(paths):
    cells = row(paths.report, "world/knowledge").cells
    assert [cell.value for cell in cells] == [90.0] * 3
    assert not any(cell.best for cell in cells)
    assert [cell.verdict for cell in cells] == ["", "", ""]
    assert cells[1].p_holm is None


def test_undefined_is_a_dash_with_a_reason_everywhere(paths, page):
    cell = row(paths.report, "world/reward_accuracy").cell("base")
    assert (cell.value, cell.low, cell.n) == (None, None, 0)
    assert cell.reason
    for text in (paths.markdown.read_text(encoding="utf-8"), page, printed(paths.report, 100)):
        assert "–" in text
        assert cell.reason in " ".join(text.split())


def test_groups_name_the_worst_the_gap_and_the_mean(paths):
    (table,) = paths.report.group_tables
    column = next(column for column in table.columns if column.model == "base")
    assert table.groups == ["old", "young"]
    assert {name: figure.value for name, figure in column.groups.items()} == {"old": 40.0, "young": 40.0}
    assert (column.gap.value, column.mean.value) == (0.0, 40.0)
    dpo = next(column for column in table.columns if column.model == "dpo")
    assert dpo.worst == "young"
    assert dpo.gap.value == pytest.approx(2.5)
    for figure in (dpo.worst_group, dpo.gap, dpo.mean):
        assert figure.low <= figure.value <= figure.high


def test_details_stand_apart_from_the_headline(paths):
    assert [row.measure for row in paths.report.rows] == ["world/bias", "world/knowledge", "world/reward_accuracy"]
    assert [row.measure for row in paths.report.details] == ["world/race/bias"]


def test_the_json_is_strict_and_reads_back(paths):
    def refuse(constant):
        raise AssertionError(constant)

    json.loads(paths.json.read_text(encoding="utf-8"), parse_constant=refuse)
    assert load_report(paths.html) == load_report(paths.json.parent) == paths.report


class Checker(HTMLParser):
    VOID = frozenset({"meta", "br", "link", "img", "input", "hr"})

    def __init__(self):
        super().__init__()
        self.open, self.loaded, self.ids, self.anchors = [], [], set(), []

    def handle_starttag(self, tag, attrs):
        self.loaded += [(tag, name, value) for name, value in attrs if name in ("src", "srcset", "data", "action")]
        self.anchors += [value for name, value in attrs if name == "href"]
        self.ids |= {value for name, value in attrs if name == "id"}
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_needs_nothing_but_itself(page):
    checker = Checker()
    checker.feed(page)
    assert checker.open == []
    assert checker.loaded == []
    assert all(anchor.startswith("#") and anchor[1:] in checker.ids for anchor in checker.anchors)
    assert not re.search(r"(?i)https?://|@import|<script|<link|url\((?!#)", page)


def test_the_page_tells_the_whole_run(page, run):
    for text in ("sandbox", "A small world.", "run17", "seeds 0, 1", INFO["command"], "CC BY-SA 4.0", "2.13.0"):
        assert text in page
    for result in run.results.values():
        assert result.key[:12] in page
    assert page.count('<span class="tag">reused</span>') == 1
    assert "reward · mean and its spread" in page
    assert "prefers-color-scheme: dark" in page
    assert "@media print" in page
    figures, charts = page.count("<figure>"), page.count("<svg")
    # 3 measures, 1 by group; loss of the base, loss and kl of dpo, loss, reward and kl of grpo.
    assert figures == charts == 3 + 1 + 1 + 2 + 3


def test_the_same_results_give_the_same_bytes(run, paths, tmp_path):
    again = write_report(run.results, CONFIG, tmp_path, INFO)
    assert again.html.read_bytes() == paths.html.read_bytes()
    assert again.json.read_bytes() == paths.json.read_bytes()


def test_the_markdown_table_is_whole(paths):
    lines = paths.markdown.read_text(encoding="utf-8").splitlines()
    start = next(index for index, line in enumerate(lines) if line.startswith("| measure |"))
    table = lines[start : lines.index("", start)]
    assert table[0] == "| measure | n | base | dpo | grpo |"
    assert {line.count("|") for line in table} == {6}
    bias = next(line for line in table if line.startswith("| bias (points) ↓ | 40 |"))
    assert "40.0 [" in bias
    assert "**1.2**" in bias
    assert "Δ −38.8 ✓" in bias
    groups = next(line for line in lines if line.startswith("| world · bias | dpo |"))
    assert re.fullmatch(
        r"\| world · bias \| dpo \| young \| 20 \| 12.5 \[.*\] \| 2.5 \[.*\] \| 11.2 \[.*\] \| 40 \|", groups
    )
    assert INFO["command"] in lines


def printed(report, width):
    console = Console(width=width, force_terminal=False, color_system=None, record=True, file=open("/dev/null", "w"))  # noqa: PTH123, SIM115
    render_terminal(console, report)
    return console.export_text()


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_terminal_table_fits_and_shows_every_model_beside_the_base(tmp_path, width):
    labels = ["dpo", "grpo"]
    report = build_report(FakeRun(tmp_path, labels=labels).results, CONFIG)
    many = report.model_copy(deep=True)
    for extra in range(5):
        many.models.append(many.models[1].model_copy(update={"label": f"dpo_variant_{extra}"}))
        for one in many.rows:
            one.cells.append(one.cell("dpo").model_copy(update={"model": f"dpo_variant_{extra}"}))
    text = printed(many, width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    for label in (model.label for model in many.models):
        assert label in text
    heads = [line.split() for line in text.splitlines() if "dpo" in line or "grpo" in line]
    assert all(head[0] == "base" for head in heads if head[0] != "–")
    assert "Δ −30.0 ✓" in text


def test_a_label_cannot_break_the_page(tmp_path):
    run = FakeRun(tmp_path, labels=())
    name = '<script>alert("x")</script>|'
    model = run.stage("policy", "dpo", name, 0, {"model": run.base.digest})
    run.suite("world", name, model, scores("dpo", 0), [Measure("world/bias", "stereotyped", "share", "lower")])
    paths = write_report(list(run.results.values()), CONFIG, tmp_path / "out")
    assert "<script>" not in paths.html.read_text(encoding="utf-8")
    assert paths.report.models[-1].label == name


def test_a_suite_that_did_not_run_for_a_model_is_said_so(tmp_path):
    run = FakeRun(tmp_path)
    run.results.pop("evaluate:world:base")
    report = build_report(run.results, CONFIG)
    assert [model.label for model in report.models] == ["dpo", "grpo"]
    run.results.pop("evaluate:world:dpo:seed0")
    other = [Measure("other/bias", "stereotyped", "share", "lower")]
    run.suite("other", "dpo", run.results["policy:dpo:seed0"], scores("dpo", 0), other)
    report = build_report(run.results, CONFIG)
    assert row(report, "world/bias").cell("dpo").reason == "this suite did not run for the model"
    assert row(report, "other/bias").cell("grpo").reason == "this suite did not run for the model"


def test_two_settings_of_one_suite_stay_apart(tmp_path):
    run = FakeRun(tmp_path, labels=())
    longer = [Measure("world/bias", "stereotyped", "share", "lower")]
    run.suite("world", "base", run.base, scores("grpo", 0), longer, name="world_long")
    report = build_report(run.results, CONFIG)
    titles = [row.title for row in report.rows]
    assert "world/bias" in titles
    assert "world_long: world/bias" in titles


def leaning(shares, n=40):
    """`n` answers of each group, the stereotype in the given share of them; every second item of another domain."""
    return [
        Score(f"{group}{index:02d}", "stereotyped", float(index < share * n), group, group)
        for group, share in shares.items()
        for index in range(n)
    ]


OF_DOMAINS = [
    Measure(
        "w/bias",
        "stereotyped",
        "distance_from_half",
        "lower",
        "pp",
        group_by="domain",
        summary_rows=("worst_group", "gap", "mean"),
    ),
    Measure("w/domain_bias", "stereotyped", "distance_from_half", "lower", "pp", mean_over="domain"),
    Measure("w/share", "stereotyped", "share", "neither", "%", group_by="domain", summary_rows=("worst_group", "gap")),
]


@pytest.fixture(scope="module")
def opposed(tmp_path_factory):
    """A base that leans one way everywhere, and a model that leans opposite ways in two domains."""
    run = FakeRun(tmp_path_factory.mktemp("opposed"), labels=())
    run.results = {name: result for name, result in run.results.items() if result.stage != "evaluate"}
    model = run.stage("policy", "dpo", "dpo", 0, {"model": run.base.digest})
    run.suite("w", "base", run.base, leaning({"age_x": 0.9, "race": 0.9}), OF_DOMAINS)
    run.suite("w", "dpo", model, leaning({"age_x": 0.9, "race": 0.1}), OF_DOMAINS)
    return write_report(run.results, CONFIG, tmp_path_factory.mktemp("opposed_report"), INFO)


def test_biases_that_cancel_show_in_the_mean_over_domains_the_worst_and_the_gap(opposed):
    rows = {row.measure: row.cell("dpo") for row in opposed.report.rows}
    assert list(rows) == [
        *("w/bias", "w/bias/worst_group", "w/bias/gap", "w/bias/mean"),
        *("w/domain_bias", "w/share", "w/share/gap"),
    ]
    assert [cell.value for cell in rows.values()] == pytest.approx([0, 40, 0, 40, 40, 50, 80])
    assert rows["w/bias"].verdict == "better"
    assert (rows["w/domain_bias"].difference, rows["w/domain_bias"].verdict) == (0.0, "unclear")
    assert all(cell.low <= cell.value <= cell.high for cell in rows.values())
    assert all(cell.difference_low <= cell.difference <= cell.difference_high for cell in rows.values())


def test_rows_of_groups_stand_indented_in_every_form(opposed):
    text, markdown = printed(opposed.report, 80), opposed.markdown.read_text(encoding="utf-8")
    lines = text.splitlines()
    for name in ("   worst domain ↓", "   gap of domains ↓", "   mean of domains ↓", " domain bias (pp) ↓"):
        assert any(line.startswith(name) for line in lines), name
    assert "| &emsp;worst domain ↓ | 40 | 40.0 [" in markdown
    assert "age x" in markdown
    page = opposed.html.read_text(encoding="utf-8")
    assert page.count('<tr class="part">') == 4
    assert "opposite leanings do not cancel" in " ".join(text.split())
    assert page.count("<figure>") == 3 + 2 + 1  # measures, two of them by group, a curve


def test_the_legend_explains_every_mark(opposed):
    for text in (printed(opposed.report, 120), opposed.html.read_text(encoding="utf-8")):
        for mark in "✓✗≠↓↑":
            assert mark in text
    (share,) = [row for row in opposed.report.rows if row.measure == "w/share"]
    assert share.cell("dpo").verdict == "different"


def many_details(changed):
    """Thirty detail measures and one that cannot differ; `changed` raises every value of the first by a little."""
    for index in range(60):
        yield Score(f"i{index}", "same", float(index % 3), "", "")
        for which in range(30):
            yield Score(f"i{index}", f"s{which}", index / 60 + (1.0 if changed and which == 0 else 0.0))


def test_the_smallest_p_value_survives_the_correction_for_many_details(tmp_path):
    """Three hundred comparisons: each suite is a family, has resamples enough, and leaves out what cannot differ."""
    run = FakeRun(tmp_path, labels=())
    measures = [Measure(f"m/{score}", score, headline=False) for score in ["same", *(f"s{n}" for n in range(30))]]
    run.suite("m", "base", run.base, list(many_details(False)), measures)
    for which in range(10):
        model = run.stage("policy", "dpo", f"dpo{which}", 0, {"model": run.base.digest})
        run.suite("m", f"dpo{which}", model, list(many_details(True)), measures)
    details = {row.measure: row for row in build_report(run.results, CONFIG).details}
    changed, same = details["m/s0"].cell("dpo3"), details["m/same"].cell("dpo3")
    assert (changed.test, changed.verdict) == ("paired bootstrap", "better")
    assert changed.p_holm == pytest.approx(10 * changed.p)  # only the comparisons that can differ are counted
    assert (same.p, same.p_holm, same.test, same.verdict) == (None, None, "", "")


def test_notes_say_what_p_values_do_not_know(paths, opposed):
    for one in (paths, opposed):
        text = " ".join(printed(one.report, 100).split())
        assert "training seeds" in text
        assert f"{sum(bool(cell.test) for row in one.report.rows for cell in row.cells)} comparisons" in text


def test_a_plugin_that_returns_bare_figures_is_shown_without_intervals(tmp_path):
    run = FakeRun(tmp_path, labels=())
    run.suite("bare", "base", run.base, [], [])
    cell = row(build_report(run.results, CONFIG), "bare/score").cell("base")
    assert (cell.value, cell.low, cell.reason) == (0.25, None, "")


def test_a_run_without_evaluations_has_a_report_too(tmp_path):
    run = FakeRun(tmp_path, labels=())
    run.results = {name: result for name, result in run.results.items() if result.stage != "evaluate"}
    paths = write_report(run.results, CONFIG, tmp_path / "out")
    assert "evaluated nothing" in paths.html.read_text(encoding="utf-8")
    assert "evaluated nothing" in printed(paths.report, 80)
    assert "tiny_lm" in paths.markdown.read_text(encoding="utf-8")


def test_a_plot_of_one_value_or_of_none_that_is_finite_is_still_a_plot():
    for points in ([{"step": 1, "loss": 3.0}], [{"step": 1, "loss": float("nan")}, {"step": 2, "loss": float("inf")}]):
        svg = seeds_chart([Curve("dpo", "dpo", 0, points)], "loss", "#ff0000")
        assert svg.startswith("<svg")
        assert not re.search(r'="[^"]*\b(nan|inf)\b', svg)


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [
        (None, "", "–"),
        (12.345, "%", "12.3"),
        (-0.02, "%", "0.0"),
        (-8.06, "points", "−8.1"),
        (0.04712, "", "0.047"),
        (3.14159, "", "3.14"),
        (1234.6, "", "1,235"),
        (100.0, "%", "100.0"),
        (0.0, "", "0"),
        (999_999.4, "", "999,999"),
        (6.2513711922763656e16, "", "6.25e16"),
        (-1.5e6, "", "−1.50e6"),
    ],
)
def test_numbers_read_well(value, unit, expected):
    assert number(value, unit) == expected


def test_p_values_read_well():
    assert [p_value(p) for p in (None, 0.0004, 0.0311, 0.5, 1.0)] == [
        "",
        "p < 0.001",
        "p = 0.031",
        "p = 0.50",
        "p = 1.00",
    ]


@pytest.mark.parametrize(("shift", "verdict"), [(0.0004, "unclear"), (0.0006, "better")])
def test_s10_a_difference_below_the_printed_digit_has_no_mark(tmp_path, shift, verdict):
    """S10: Δ 0.000 stands without a tick however small its p is."""
    made = FakeRun(tmp_path)
    made.results = {name: one for name, one in made.results.items() if not name.startswith("evaluate")}
    loss = Measure("pairs/loss", "loss", "mean", "lower", group_by="domain")
    for label in ("base", "dpo"):
        values = [
            Score(f"i{index:03d}", "loss", 0.69 + index / 1e4 - (shift if label == "dpo" else 0), domain="age")
            for index in range(200)
        ]
        made.suite("pairs", label, made.base, values, [loss])
    report = build_report(made.results, CONFIG | {"seeds": [0]}, INFO)
    cell = row(report, "pairs/loss").cell("dpo")
    assert cell.p_holm < 0.05
    assert cell.verdict == verdict
    assert difference(cell) == ("Δ 0.000" if verdict == "unclear" else "Δ −0.001 ✓")


@pytest.mark.parametrize(
    ("test", "p", "bounds", "told"),
    [
        ("paired bootstrap", 0.2, (1.0, -1.0, 3.0), "p = 0.20"),
        ("", None, (0.0, 0.0, 0.0), "equal"),
        ("", None, (2.0, None, None), ""),  # items of one template: nothing can be tested
    ],
)
def test_what_was_not_tested_has_no_p(test, p, bounds, told):
    value, low, high = bounds
    assert wording.tested(test, p, Figure(value=value, low=low, high=high)) == told


def test_models_equal_on_every_item_are_called_equal_and_not_unclear(tmp_path):
    made = FakeRun(tmp_path)
    made.results = {name: one for name, one in made.results.items() if not name.startswith("evaluate")}
    for label in ("base", "dpo"):
        values = [Score(f"i{index:03d}", "right", float(index % 2)) for index in range(50)]
        made.suite("facts", label, made.base, values, [Measure("facts/right", "right", "share")])
    report = build_report(made.results, CONFIG | {"seeds": [0]}, INFO)
    cell = row(report, "facts/right").cell("dpo")
    assert (cell.difference, cell.p, cell.p_holm, cell.test, cell.verdict) == (0.0, None, None, "", "")
    paths = write_report(made.results, CONFIG | {"seeds": [0]}, tmp_path / "out", INFO)
    for text in (paths.markdown.read_text(encoding="utf-8"), paths.html.read_text(encoding="utf-8")):
        assert "equal" in text and "p = 1.00" not in text


def test_durations_read_as_people_say_them():
    told = [wording.seconds(value) for value in (0.44, 9.96, 59.4, 185, 3599, 3660, 7250, 90_000)]
    assert told == ["0.4 s", "10 s", "59 s", "3 min 05 s", "59 min 59 s", "1 h 01 min", "2 h 01 min", "25 h 00 min"]
