"""Clusters: items of one template are drawn together, by evaluations and by reports, and figures say how many."""

from __future__ import annotations

import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from pipeline_core.evaluation.measures import write_evaluation
from pipeline_core.plugin.figures import Measure, Relation, Score
from pipeline_core.report.write import build_report
from pipeline_core.stats.bootstrap import Bootstrap
from pipeline_core.stats.resampling import Items
from pipeline_core.stats.statistic import STATISTICS
from tests.report.run import FakeRun

SHARE = STATISTICS["share"]
RIGHT = Measure("quiz/right", "right", "share", "higher", "%", group_by="domain")


def answers(seed=0, templates=8, each=12, shift=0.0):
    """Questions of few templates that differ much."""
    generator = np.random.default_rng(seed)
    for template in range(templates):
        chance = (template + 0.5) / templates
        for number in range(each):
            value = float(generator.random() < chance + shift)
            yield Score(f"q{template}-{number}", "right", value, "", f"d{number % 2}", cluster=f"t{template}")


def entry(out):
    return json.loads((out / "measures.json").read_text(encoding="utf-8"))


def test_s1_clusters_are_written_counted_and_named(tmp_path):
    write_evaluation(tmp_path, list(answers()), [RIGHT], resampled="template")
    found = entry(tmp_path)["quiz/right"]
    assert (found["n"], found["n_clusters"], found["resampled"]) == (96, 8, "template")
    assert (found["groups"]["d0"]["n"], found["groups"]["d0"]["n_clusters"]) == (48, 8)
    assert pq.read_table(tmp_path / "rows.parquet")["cluster"][0].as_py() == "t0"


def test_s1_copies_of_an_item_in_one_cluster_tell_nothing_new(tmp_path):
    """Thirty copies of every answer: as wide an interval as without them."""
    values = np.random.default_rng(2).random(24) < 0.6
    once = [Score(f"q{i}", "right", float(value)) for i, value in enumerate(values)]
    copies = [
        Score(f"q{i}/{copy}", "right", float(value), cluster=f"t{i}")
        for i, value in enumerate(values)
        for copy in range(30)
    ]
    ends = []
    for name, scores in (("once", once), ("copies", copies)):
        (tmp_path / name).mkdir()
        write_evaluation(tmp_path / name, scores, [Measure("right", "right", "share")])
        found = entry(tmp_path / name)["right"]
        ends.append((found["low"], found["high"]))
    assert ends[1] == pytest.approx(ends[0], abs=3.0)


def test_s1_an_item_is_in_one_cluster(tmp_path):
    scores = [Score("q", "right", 1.0, cluster="a"), Score("q", "right", 0.0, cluster="b")]
    with pytest.raises(ValueError, match=r"'q' is in the clusters 'a' and 'b'"):
        write_evaluation(tmp_path, scores, [RIGHT])


def test_s1_clusters_without_a_noun_are_called_clusters_and_nouns_may_differ_by_score(tmp_path):
    scores = [*answers(), Score("p0", "margin", 1.0), Score("p1", "margin", 0.0, cluster="x")]
    measures = [RIGHT, Measure("quiz/margin", "margin")]
    for given, expected in (("item", "cluster"), ({"margin": "pair", "right": "template"}, "template")):
        write_evaluation(tmp_path, scores, measures, resampled=given)
        assert entry(tmp_path)["quiz/right"]["resampled"] == expected
    assert entry(tmp_path)["quiz/margin"]["resampled"] == "pair"


def test_s1_mcnemar_is_for_items_alone():
    ids = [f"q{index}" for index in range(40)]
    generator = np.random.default_rng(0)
    columns = [{name: [float(generator.random() < p)] for name in ids} for p in (0.5, 0.8)]
    plain = Bootstrap.of(SHARE, Items.collect(*columns)).difference(slice(1, 2), slice(0, 1))
    clusters = {name: f"t{index % 10}" for index, name in enumerate(ids)}
    grouped = Bootstrap.of(SHARE, Items.collect(*columns, clusters=clusters)).difference(slice(1, 2), slice(0, 1))
    assert (plain.test, plain.n_clusters) == ("McNemar, exact", 40)
    assert "bootstrap" in grouped.test
    assert (grouped.n, grouped.n_clusters) == (40, 10)


def run_of(tmp_path, seeds=(0,)):
    run = FakeRun(tmp_path, seeds=seeds, labels=("dpo",))
    for label in ("base", "dpo"):
        suffix = "" if label == "base" else ":seed0"
        scores = list(answers(shift=0.2 * (label == "dpo")))
        made = run.stage("evaluate", "quiz", label, 0, {"model": run.base.digest, "name": "quiz"})
        del run.results[f"evaluate:{label}"]
        write_evaluation(made.path, scores, [RIGHT], resampled="template")
        run.results[f"evaluate:quiz:{label}{suffix}"] = made
    return run


def test_s1_the_report_says_the_unit_in_every_form(tmp_path):
    from pipeline_core.report.render.markdown import to_markdown

    gate = [{"measure": "quiz/right", "at_least": 10, "models": ["dpo"]}]
    config = {"name": "demo", "gate": gate, "policy": [{"name": "dpo"}], "base": {"name": "tiny_lm"}, "seeds": [0]}
    report = build_report(run_of(tmp_path).results, config)
    row = next(row for row in report.rows if row.measure == "quiz/right")
    assert (row.resampled, row.cells[0].n, row.cells[0].n_clusters) == ("template", 96, 8)
    text = to_markdown(report)
    assert "96 in 8 templates" in text
    assert "items of one template are drawn together" in text
    assert (report.gate[0].n_clusters, report.gate[0].resampled) == (8, "template")


def test_older_tables_without_clusters_and_relations_that_name_a_score_are_read(tmp_path):
    run = run_of(tmp_path)
    for result in run.results.values():
        file = result.path / "rows.parquet"
        if file.exists():
            pq.write_table(pq.read_table(file).drop_columns(["cluster"]), file)
    report = build_report(run.results, {"name": "demo"})
    assert next(row for row in report.rows if row.measure == "quiz/right").cells[0].n_clusters == 96


def test_a_score_that_numbers_clusters_as_in_older_artifacts(tmp_path):
    from pipeline_core.report.figures.collect import ModelEvaluation, ScoreLine
    from pipeline_core.report.figures.measured import measured

    generator = np.random.default_rng(0)
    lines = {name: [] for name in ("score", "label", "unit")}
    for index in range(60):
        for name, value in (("score", generator.normal()), ("label", index % 2), ("unit", index // 4)):
            lines[name].append(ScoreLine(f"i{index}", float(value), (), ()))
    relation = {"statistic": "auc", "score": "score", "against": "label", "cluster": "unit", "value": 0.5}
    found = measured([ModelEvaluation("r", 0, "judge", "judge", {"judge/auc": relation}, lines)], ["r"], 200)[0]
    assert (found.resampled, found.figure("r").n, found.figure("r").n_clusters) == ("cluster", 60, 15)


def test_relations_share_the_clusters_of_scores(tmp_path):
    generator = np.random.default_rng(3)
    scores = [
        Score(f"i{index}", name, value, cluster=f"u{index // 5}")
        for index in range(50)
        for name, value in (("x", float(generator.normal())), ("y", float(index % 2)))
    ]
    write_evaluation(tmp_path, scores, [Relation("auc", "x", "y", "auc")], resampled="unit")
    found = entry(tmp_path)["auc"]
    assert (found["n"], found["n_clusters"], found["resampled"]) == (50, 10, "unit")
