"""`evenhand history`: a figure over nights, from reports, from copies of removed runs, and with damaged reports."""

import json

import pytest

from flows.nights.figures import MeasureChange, RunFigures, all_figures, find_title, keep_copy, write_changes
from flows.nights.history import history, sparkline
from pipeline_core.errors import BadInput
from pipeline_core.report.figures.cells import Figure
from tests.flows.planted import Planted, cell, row


@pytest.fixture
def planted(home):
    return Planted()


def points(planted, *given, preset="smoke", measure="sandbox/bias", model="dpo", **options):
    return history(all_figures(planted.places), preset, measure, given, **options).models[model]


def test_a_figure_stands_with_its_interval_and_a_mark_where_it_got_worse(planted, evenhand):
    for days, value in ((4, 5.0), (3, 6.0), (2, 12.0), (1, 12.5)):
        planted.run(f"n{days}", days, rows=[row(cell("base", 30.0), cell("dpo", value))], commit="c" * 40)
    found = points(planted)
    assert [point.previous for point in found] == ["", "unclear", "worse", "unclear"]
    assert [(point.value, point.low, point.high) for point in found][2] == (12.0, 10.0, 14.0)
    shown = evenhand("history", "smoke", "bias")
    lines = [line.split("\t") for line in shown.stdout.splitlines()]
    assert [line[1:6] for line in lines][2] == ["smoke-n2", "12.0", "10.0", "14.0", "c" * 9]
    assert [line[6] for line in lines] == ["", "", "▼ worse", ""]
    assert "dpo: ▁▂" in shown.stderr
    document = json.loads(
        evenhand("history", "nightly", "sandbox/bias", "--model", "base", "--last", "2", "--json").stdout
    )
    assert [point["value"] for point in document["models"]["base"]] == [30.0, 30.0]
    assert [point["previous"] for point in document["models"]["base"]] == ["unclear", "unclear"]


@pytest.mark.parametrize(
    ("better", "values", "verdict"),
    [
        ("higher", (50, 40), "worse"),
        ("higher", (40, 50), "better"),
        ("lower", (50, 40), "better"),
        ("neither", (50, 40), "different"),
    ],
)
def test_the_direction_of_worse_is_the_measures(planted, better, values, verdict):
    for days, value in zip((2, 1), values, strict=True):
        planted.run(f"n{days}", days, rows=[row(cell("dpo", value), better=better)])
    assert [point.previous for point in points(planted)] == ["", verdict]


def test_without_common_items_the_interval_of_the_difference_is_that_of_both(planted):
    """By hand: each reaches 2 up and down, so the difference reaches the root of 8, 2.83."""
    for days, value in ((3, 5.0), (2, 5.0 + 2.82), (1, 5.0 + 2.82 + 2.84)):
        planted.run(f"n{days}", days, rows=[row(cell("dpo", value))])
    assert [point.previous for point in points(planted)] == ["", "unclear", "worse"]


def test_schedules_are_compared_each_with_its_own_run_before(planted):
    for days, name, value in ((4, "a", 5.0), (3, "b", 50.0), (2, "a", 5.5), (1, "b", 51.0)):
        planted.run(f"n{days}", days, deployment=name, rows=[row(cell("dpo", value))])
    assert [point.previous for point in points(planted)] == ["", "", "unclear", "unclear"]
    assert [point.deployment for point in points(planted, preset="a")] == ["a", "a"]


def test_the_verdict_over_the_same_items_counts_where_a_run_has_recorded_it(planted):
    planted.run("n2", 2, rows=[row(cell("dpo", 5.0))])
    record = planted.run("n1", 1, rows=[row(cell("dpo", 6.0))])
    facts = {"model": "dpo", "title": "sandbox/bias", "better": "lower", "before": Figure(), "now": Figure()}
    change = MeasureChange(
        **facts, against="previous", run_id="n2", run_name="", difference=1.0, low=0.4, high=1.6, paired=True
    )
    pinned = change.model_copy(update={"against": "reference", "run_id": "n9", "low": -1.0})
    write_changes([change, pinned], planted.places.runs / record.run_id)
    (_, last) = points(planted)
    assert (last.previous, last.reference, last.paired) == ("worse", "unclear", True)
    planted.run("between", 1.5, rows=[row(cell("dpo", 6.0))])
    assert points(planted)[-1].previous == "unclear", "another run is the one before now"


def test_runs_of_no_schedule_stand_there_only_if_asked_for(planted):
    planted.run("mine", 1, scheduled=False, deployment=None, rows=[row(cell("dpo", 5.0))])
    with pytest.raises(BadInput, match="no schedule has run 'smoke' yet; --all shows"):
        points(planted)
    assert len(points(planted, every=True)) == 1


def test_missing_and_damaged_reports_are_named(planted, evenhand):
    planted.run("good", 5, rows=[row(cell("dpo", 5.0))])
    planted.run("failed", 4, status="failed", report=False)
    planted.run("lost", 3)
    (planted.places.runs / "lost" / "report.json").unlink()
    planted.run("torn", 2)
    (planted.places.runs / "torn" / "report.json").write_text('{"rows": [{"title": 3}]}')
    planted.run("odd", 1, rows=[row(cell("dpo", 5.0), title="other")])
    planted.run("undefined", 0.5, rows=[row({"model": "dpo", "value": None, "reason": "no item counts"})])
    (planted.places.runs / "damaged").mkdir()
    (planted.places.runs / "damaged" / "run.json").write_text("{")
    faults = [point.fault for point in points(planted)]
    assert faults[:2] == ["", "failed, without a report"]
    assert faults[2].endswith("lost/report.json is missing")
    assert "torn/report.json cannot be read: rows.0.title: " in faults[3]
    assert faults[4:] == ["not measured", "no item counts"]
    told = evenhand("history", "smoke", "sandbox/bias")
    assert "damaged/run.json cannot be read" in told.stderr
    assert told.returncode == 0


def test_figures_of_removed_runs_count(planted, caplog):
    record = planted.run("old", 2, rows=[row(cell("dpo", 5.0))])
    keep_copy(RunFigures.of(record, planted.places.runs), planted.places.home)
    assert len(points(planted)) == 1, "not twice while its removal goes on"
    for file in (planted.places.runs / "old").iterdir():
        file.unlink()
    planted.run("new", 1, rows=[row(cell("dpo", 15.0))])
    assert [(point.value, point.previous) for point in points(planted)] == [(5.0, ""), (15.0, "worse")]
    (planted.places.home / "history" / "torn.json").write_text("{")
    assert len(points(planted)) == 2
    assert "torn.json cannot be read" in caplog.text


def test_measures_are_found_as_the_report_prints_them(planted):
    worst = row(cell("dpo", 9.0), title="sandbox/bias/worst_group", part="worst_group", axis="domain")
    planted.run("n1", 1, rows=[row(cell("dpo", 5.0)), worst, row(cell("dpo", 5.0), title="bbq/bias")])
    runs = all_figures(planted.places)
    for text in (
        "sandbox/bias",
        "sandbox · bias",
        "sandbox/bias/worst_group",
        "sandbox · bias, worst domain",
        "worst_group",
    ):
        assert find_title(text, runs).startswith("sandbox/bias")
    with pytest.raises(BadInput, match="'bias' may be one of bbq/bias, sandbox/bias"):
        find_title("bias", runs)
    with pytest.raises(BadInput, match=r"'wine'\. Measured were: sandbox/bias, sandbox/bias/worst_group, bbq"):
        find_title("wine", runs)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["smok", "bias"], "no run of 'smok' is recorded; runs are of nightly, smoke"),
        (["smoke", "wine"], "unknown measure 'wine'"),
        (["smoke", "bias", "--model", "dop"], "unknown model 'dop'. Did you mean 'dpo'?"),
    ],
)
def test_bad_input_is_one_message(planted, evenhand, words, message):
    planted.run("n1", 1, rows=[row(cell("dpo", 5.0))])
    done = evenhand("history", *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_sparkline_has_a_bar_for_each_value():
    assert sparkline([0, None, 7, 3.5]) == "▁ █▅"
    assert sparkline([2, 2]) == "▁▁"
    assert sparkline([]) == ""
