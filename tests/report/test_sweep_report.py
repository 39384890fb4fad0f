"""The report of a sweep: candidates, the front and what is clearly behind it."""

import json

import numpy as np
import pytest

from pipeline_core.errors import BadInput
from pipeline_core.report.figures.collect import ModelEvaluation, ScoreLine
from pipeline_core.report.figures.measured import measured
from pipeline_core.report.sweep import candidates
from pipeline_core.report.sweep.build import build_sweep_report
from pipeline_core.report.sweep.candidates import PointEvaluations, candidates_of
from pipeline_core.report.sweep.choice import chosen
from pipeline_core.report.sweep.front import Trade, place
from pipeline_core.report.sweep.model import Candidate, SweepPoint, SweptAxis
from pipeline_core.report.sweep.write import write_sweep_report

MEASURES = {
    "sandbox/bias": {"score": "biased", "statistic": "mean", "better": "lower", "headline": True},
    "sandbox/knowledge": {"score": "known", "statistic": "mean", "better": "higher", "headline": True},
}


def evaluation(label, bias, knowledge, seed=0, items=200):
    """A model that is biased on the first `bias` and knows the first `knowledge` of its items."""
    scores = {
        "biased": [ScoreLine(f"b{n}", float(n < bias), (), ()) for n in range(items)],
        "known": [ScoreLine(f"k{n}", float(n < knowledge), (), ()) for n in range(items)],
    }
    values = {"sandbox/bias": bias / items, "sandbox/knowledge": knowledge / items}
    measures = {name: {**entry, "value": values[name], "n": items} for name, entry in MEASURES.items()}
    return ModelEvaluation(label, seed, "sandbox_bias", "sandbox_bias", measures, scores)


def placed(**figures):
    found = [Candidate(label=label, model=label, values={}) for label in figures]
    evaluations = [evaluation(label, *pair) for label, pair in figures.items()]
    pair = chosen(measured(evaluations, list(figures)))
    place(found, Trade((pair.bias, pair.capability), list(figures)))
    return {one.label: one for one in found}


def test_the_front_is_what_no_other_beats_in_both_values():
    found = placed(fair=(10, 100), wise=(60, 180), worse=(80, 90))
    assert {label: one.standing for label, one in found.items()} == {
        "fair": "front",
        "wise": "front",
        "worse": "beaten",
    }
    assert found["worse"].behind == ["fair", "wise"]
    assert found["fair"].alike == []


def test_a_setting_that_is_behind_by_chance_is_not_called_beaten():
    found = placed(first=(20, 150), second=(21, 149))
    assert found["second"].standing == "open"
    assert found["second"].behind == ["first"]
    assert found["first"].alike == ["second"]


def test_equal_settings_share_the_front():
    found = placed(one=(20, 150), other=(20, 150))
    assert [one.standing for one in found.values()] == ["front", "front"]


def test_a_setting_without_a_figure_has_no_place():
    evaluations = [evaluation("one", 20, 150), evaluation("empty", 0, 0)]
    evaluations[1].measures["sandbox/bias"]["value"] = None
    found = [Candidate(label=label, model=label, values={}) for label in ("one", "empty")]
    pair = chosen(measured(evaluations, ["one", "empty"]))
    place(found, Trade((pair.bias, pair.capability), ["one", "empty"]))
    assert [one.standing for one in found] == ["front", "unmeasured"]


def test_measures_are_chosen_by_name_and_direction():
    measures = measured([evaluation("one", 1, 2)], ["one"])
    assert [one.title for one in chosen(measures)] == ["sandbox/bias", "sandbox/knowledge"]
    assert [one.title for one in chosen(measures, "sandbox/knowledge", "sandbox/bias")] == [
        "sandbox/knowledge",
        "sandbox/bias",
    ]
    with pytest.raises(BadInput, match="sandbox/bias"):
        chosen(measures, "sandbox/bia")
    with pytest.raises(BadInput, match="name two measures"):
        chosen(measures, "sandbox/bias", "sandbox/bias")


@pytest.fixture
def grid(monkeypatch):
    """Two values of beta with two seeds: dpo learns from it, ipo does not have it. The facts are the evaluations."""
    rng = np.random.default_rng(0)
    made, points = {}, []
    for number, (beta, seed) in enumerate([(".1", 0), (".1", 1), (".5", 0), (".5", 1)], 1):
        keys = {f"dpo-{beta}-{seed}": "dpo", f"ipo-{seed}": "ipo", "base": "base"}
        for key, label in keys.items():
            biased = 120 if label == "base" else int(rng.integers(20, 60))
            made.setdefault(key, evaluation(label, biased, 180 - biased, None if label == "base" else seed))
        points.append(PointEvaluations(number, {"policy.dpo.beta": beta}, {key: {"key": key} for key in keys}))

    class Collected:
        def __init__(self, facts):
            self.evaluations = [made[fact["key"]] for fact in facts]

    monkeypatch.setattr(candidates, "collect", Collected)  # artifacts are read by the tests of whole sweeps
    return points


def test_points_join_over_seeds_and_over_axes_that_do_not_reach_a_model(grid):
    found, evaluations = candidates_of(grid)
    assert {one.label: (one.seeds, one.points) for one in found} == {
        "base": ([], [1, 2, 3, 4]),
        "dpo, beta=.1": ([0, 1], [1, 2]),
        "ipo": ([0, 1], [1, 2, 3, 4]),
        "dpo, beta=.5": ([0, 1], [3, 4]),
    }
    assert len(evaluations) == 7


def test_a_point_that_failed_leaves_its_seed_out_and_is_told(grid, tmp_path):
    del grid[3].evaluations["dpo-.5-1"]
    facts = {
        "name": "smoke",
        "sweep_id": "abc",
        "axes": [SweptAxis(path="policy.dpo.beta", values=[".1", ".5"]), SweptAxis(path="seeds", values=["0", "1"])],
        "points": [
            SweepPoint(number=n, values={"policy.dpo.beta": beta, "seeds": seed}, status=status, failure=failure)
            for n, beta, seed, status, failure in (
                (1, ".1", "0", "completed", ""),
                (2, ".1", "1", "completed", ""),
                (3, ".5", "0", "completed", ""),
                (4, ".5", "1", "failed", "policy:dpo: <b>no</b>"),
            )
        ],
    }
    report = build_sweep_report(grid, facts)
    assert "dpo, beta=.5 has 1 of 2 seeds, since points have failed." in report.notes
    assert any("does not reach ipo" in note for note in report.notes)
    paths = write_sweep_report(report, tmp_path)
    page = paths["report.html"].read_text()
    assert "&lt;b&gt;no&lt;/b&gt;" in page
    assert "<b>no</b>" not in page
    assert page.count("<svg") == 2
    read = json.loads(paths["report.json"].read_text())
    assert [one["standing"] for one in read["candidates"]].count("front") >= 1
    assert "Point 4 (policy.dpo.beta=.5 seeds=1) failed" in paths["report.md"].read_text()


def test_a_sweep_in_which_everything_failed_has_a_report(tmp_path):
    facts = {"name": "smoke", "sweep_id": "abc", "axes": [SweptAxis(path="seeds", values=["0", "1"])],
             "points": [SweepPoint(number=1, values={"seeds": "0"}, status="failed", failure="no")]}  # fmt: skip
    report = build_sweep_report([PointEvaluations(1, {}, {})], facts)
    page = write_sweep_report(report, tmp_path)["report.html"].read_text()
    assert "No point has measured a model." in page
