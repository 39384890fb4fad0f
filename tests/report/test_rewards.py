"""Rewards side by side: measured of no model, compared with the first of them."""

import io
import json
import re

import pytest
from rich.console import Console

from pipeline_core.evaluation.measures import write_evaluation
from pipeline_core.plugin.figures import Measure, Relation, Score
from pipeline_core.report import write_report
from pipeline_core.report.figures.model import load_report
from pipeline_core.report.render.terminal import render_terminal
from tests.report.run import FakeRun

RIGHT = Measure(
    "judge/accuracy", "right", "share", "higher", "%", group_by="group", summary_rows=("worst_group",), chance=50.0
)
ACCURACY = {"words": 0.6, "encoder": 0.9}


def scores(label):
    for index in range(100):
        value = float(index % 10 < 10 * ACCURACY[label])
        yield Score(f"i{index:03d}", "right", value, "old" if index % 2 else "young")


def with_rewards(run, labels=("words", "encoder")):
    for label in labels:
        reward = run.stage("reward", f"{label}_plugin", label, 0)
        made = run.stage("evaluate", "judge", label, 0, {"reward": reward.digest})
        del run.results[f"evaluate:{label}"]
        write_evaluation(made.path, list(scores(label)), [RIGHT])
        run.results[f"evaluate:judge:reward:{label}"] = made
    return run


@pytest.fixture
def paths(tmp_path):
    run = with_rewards(FakeRun(tmp_path / "store", labels=("dpo",)))
    return write_report(run.results, {"name": "both"}, tmp_path / "report")


def test_rewards_have_a_table_of_their_own(paths):
    report = load_report(paths.json)
    assert [model.label for model in report.models] == ["base", "dpo"]
    assert {row.suite for row in report.rows} == {"world"}
    rewards = report.rewards
    assert [(model.label, model.plugin) for model in rewards.models] == [
        ("words", "words_plugin"),
        ("encoder", "encoder_plugin"),
    ]
    cell = rewards.rows[0].cell("encoder")
    assert (cell.value, rewards.rows[0].cell("words").value) == (90, 60)
    assert cell.difference == pytest.approx(30) and cell.verdict == "better"
    assert any("difference to words: every resample draws the same items for both" in note for note in rewards.notes)
    assert not any("words" in note for note in report.notes)


def test_every_rendering_shows_them(paths):
    console = Console(width=120, record=True, file=io.StringIO())
    render_terminal(console, paths.report)
    shown = console.export_text()
    for text in (paths.html.read_text(), paths.markdown.read_text(), shown):
        assert "judge" in text and "encoder" in text and re.search(r"90\.0", text)
    assert 'id="rewards"' in paths.html.read_text()
    assert "other than the base" in shown and "other than words" in shown


def test_a_run_of_rewards_alone(tmp_path):
    run = with_rewards(FakeRun(tmp_path / "store", labels=()), ["words"])
    run.results = {name: one for name, one in run.results.items() if "world" not in name and "base" not in name}
    paths = write_report(run.results, {"name": "alone"}, tmp_path / "report")
    assert paths.report.models == [] and paths.report.notes == []
    assert "evaluated nothing" not in paths.html.read_text() and "Against the base" not in paths.html.read_text()
    assert "0 models" not in paths.html.read_text() and "1 reward<" in paths.html.read_text()
    assert json.loads(paths.json.read_text())["rewards"]["rows"][0]["cells"][0]["difference"] is None


def test_every_group_is_compared_with_the_first_reward(paths):
    (table,) = paths.report.rewards.group_tables
    first, second = table.columns
    assert first.differences == {}
    assert {group: round(one.value) for group, one in second.differences.items()} == {"old": 20, "young": 40}
    note = next(note for note in paths.report.rewards.notes if "adjusted over the groups" in note)
    assert "encoder against words" in note and "better in" in note
    assert paths.html.read_text().count("better than words on items like these") == 2


def test_every_group_is_compared_with_chance(paths):
    words, encoder = (note for note in paths.report.rewards.notes if "against chance" in note)
    assert words.startswith("judge · accuracy by group, words against chance (50 %)")
    assert words.endswith(": unclear in old, young.")
    assert encoder.endswith(": above in old, young.")
    assert not any("chance" in note for note in paths.report.notes)


def test_few_units_show_nothing_and_a_bad_reward_is_below(tmp_path):
    run = FakeRun(tmp_path / "store", labels=())
    reward = run.stage("reward", "words_plugin", "words", 0)
    made = run.stage("evaluate", "judge", "words", 0, {"reward": reward.digest})
    groups = {"few": (9, 1.0), "bad": (40, 0.0), "good": (40, 1.0)}
    values = [Score(f"{name}{i}", "right", value, name) for name, (n, value) in groups.items() for i in range(n)]
    labels = [Score(f"{name}{i}", "label", i % 2, name) for name, (n, _) in groups.items() for i in range(n)]
    scores = [Score(f"{name}{i}", "x", i % 2, name) for name, (n, _) in groups.items() for i in range(n)]
    area = Relation("judge/auc", "x", "label", "auc", group_by="group", chance=0.5)
    write_evaluation(made.path, [*values, *labels, *scores], [RIGHT, area])
    run.results["evaluate:judge:reward:words"] = made
    notes = write_report(run.results, {"name": "r"}, tmp_path / "report").report.rewards.notes
    right, areas = (note for note in notes if "against chance" in note)
    assert right.endswith(": above in good; below in bad; unclear in few.")
    assert areas.startswith("judge · auc by group, words against chance (0.5),")
    assert areas.endswith(": above in bad, good; unclear in few.")


def test_the_report_says_what_a_reward_could_not_read(tmp_path):
    run = with_rewards(FakeRun(tmp_path / "store", labels=()), ["words"])
    manifest = run.results["evaluate:judge:reward:words"].path / "manifest.json"
    facts = json.loads(manifest.read_text())
    facts["metrics"] = {"judge/truncated": 12.0, "judge/texts": 80.0}
    manifest.write_text(json.dumps(facts))
    notes = write_report(run.results, {"name": "r"}, tmp_path / "report").report.rewards.notes
    assert "words could not read 12 of 80 texts of judge in full." in notes
