"""What an evaluation writes, and what it must refuse."""

from __future__ import annotations

import json
import math
import random

import pyarrow.parquet as pq
import pytest

from pipeline_core.errors import UnknownName
from pipeline_core.evaluation.measures import write_evaluation
from pipeline_core.plugin.figures import Measure, Score


def answers():
    """Ten items: group a right 3 of 5, group b 1 of 5."""
    return [
        Score(f"{group}{index}", "right", float(index < right), group, "race" if group == "a" else "age")
        for group, right in (("a", 3), ("b", 1))
        for index in range(5)
    ]


def measured(out):
    return json.loads((out / "measures.json").read_text(encoding="utf-8"))


def test_values_groups_worst_gap_and_mean(tmp_path):
    metrics = write_evaluation(tmp_path, answers(), [Measure("t/right", "right", "share", unit="%", group_by="group")])
    assert metrics == {"t/right": 40.0, "t/right/worst_group": 20.0, "t/right/gap": 40.0, "t/right/mean": 40.0}
    entry = measured(tmp_path)["t/right"]
    assert (entry["value"], entry["n"], entry["unit"], entry["better"]) == (40.0, 10, "%", "higher")
    assert entry["low"] < 40.0 < entry["high"]
    assert {name: group["value"] for name, group in entry["groups"].items()} == {"a": 60.0, "b": 20.0}
    assert entry["worst_group"]["name"] == "b"


@pytest.mark.parametrize(("better", "worst"), [("lower", "a"), ("higher", "b"), ("neither", None)])
def test_the_worst_group_depends_on_what_is_better(tmp_path, better, worst):
    measure = Measure("t/x", "right", "share", better, group_by="group")
    metrics = write_evaluation(tmp_path, answers(), [measure])
    found = measured(tmp_path)["t/x"]["worst_group"]
    assert (found["name"] if found else None) == worst
    assert ("t/x/worst_group" in metrics) == (worst is not None)


def test_a_mean_over_domains_counts_every_domain_once_and_lets_nothing_cancel(tmp_path):
    """Shares of 60 % and 20 %: 10 and 30 points from even, 10 on the whole."""
    measures = [
        Measure("t/bias", "right", "distance_from_half", "lower"),
        Measure("t/domain_bias", "right", "distance_from_half", "lower", mean_over="domain"),
    ]
    assert write_evaluation(tmp_path, answers(), measures) == pytest.approx({"t/bias": 10.0, "t/domain_bias": 20.0})
    entry = measured(tmp_path)["t/domain_bias"]
    assert entry["low"] <= 20.0 <= entry["high"] <= 50
    assert (entry["n"], entry["mean_over"]) == (10, "domain")


def test_rows_of_groups_need_groups(tmp_path):
    with pytest.raises(ValueError, match=r"'t'.*group_by"):
        write_evaluation(tmp_path, answers(), [Measure("t", "right", summary_rows=("gap",))])


def test_only_narrows_to_a_domain_or_group(tmp_path):
    metrics = write_evaluation(
        tmp_path,
        answers(),
        [
            Measure("t/race", "right", "share", only=(("domain", "race"),)),
            Measure("t/b", "right", "share", only={"group": "b"}),
        ],
    )
    assert metrics == {"t/race": 60.0, "t/b": 20.0}


def test_a_measure_over_nothing_is_null_and_not_returned(tmp_path):
    measures = [Measure("t/none", "absent", "share", group_by="group"), Measure("t/right", "right")]
    metrics = write_evaluation(tmp_path, answers(), measures)
    assert metrics == {"t/right": 0.4}
    entry = measured(tmp_path)["t/none"]
    assert (entry["value"], entry["low"], entry["high"], entry["n"]) == (None, None, None, 0)
    assert (entry["groups"], entry["worst_group"], entry["gap"], entry["mean"]) == ({}, None, None, None)


def test_an_item_that_concerns_two_groups_counts_in_both_and_once_overall(tmp_path):
    scores = [Score("i", "s", 1.0, ["a", "b"]), Score("j", "s", 0.0, "b")]
    write_evaluation(tmp_path, scores, [Measure("t", "s", group_by="group")])
    entry = measured(tmp_path)["t"]
    assert (entry["value"], entry["n"]) == (0.5, 2)
    assert {name: group["value"] for name, group in entry["groups"].items()} == {"a": 1.0, "b": 0.5}


def test_bytes_do_not_depend_on_the_order_of_scores(tmp_path):
    scores, (one, two) = answers(), (tmp_path / "one", tmp_path / "two")
    for out in (one, two):
        out.mkdir()
        write_evaluation(out, scores, [Measure("t", "right", "share", group_by="group")], seed=3)
        random.Random(0).shuffle(scores)
    for name in ("rows.parquet", "measures.json"):
        assert (one / name).read_bytes() == (two / name).read_bytes()


def test_rows_hold_every_score(tmp_path):
    write_evaluation(tmp_path, answers(), [])
    table = pq.read_table(tmp_path / "rows.parquet")
    assert table.column_names == ["item", "score", "value", "group", "domain", "prediction", "cluster"]
    assert table.num_rows == 10
    first = {"item": "a0", "score": "right", "value": 1.0, "group": ["a"], "domain": "race"}
    first |= {"prediction": "", "cluster": ""}
    assert table.to_pylist()[0] == first


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_score_that_is_not_finite_is_refused_by_name(tmp_path, value):
    with pytest.raises(ValueError, match=r"'nll'.*'item7'"):
        write_evaluation(tmp_path, [Score("item7", "nll", value)], [])
    assert not list(tmp_path.iterdir())


def test_an_unknown_statistic_names_the_nearest(tmp_path):
    with pytest.raises(UnknownName, match=r"measure 't'.*'shar'.*'share'"):
        write_evaluation(tmp_path, answers(), [Measure("t", "right", "shar")])


def test_two_measures_of_one_name_are_refused(tmp_path):
    with pytest.raises(ValueError, match="share a name"):
        write_evaluation(tmp_path, answers(), [Measure("t", "right"), Measure("t", "right", "share")])
