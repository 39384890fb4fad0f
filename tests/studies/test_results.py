"""Settings, rows, paired differences, slopes: from trained numbers to what is reported."""

import json
from dataclasses import replace

import pytest

from pipeline_core.errors import BadInput, UnknownName
from pipeline_core.studies.log_linear.record import write_curves, write_json
from pipeline_core.studies.log_linear.settings import StudySettings
from pipeline_core.studies.log_linear.stochastic import horizons
from pipeline_core.studies.log_linear.study import compute
from pipeline_core.studies.log_linear.synthetic import world
from pipeline_core.studies.log_linear.training import recorded_iterations
from tests.studies.conftest import naive, naive_measures

SWAPPED = StudySettings(features=("swapped",), seeds=14, iterations=1000)


@pytest.fixture(scope="module")
def study():
    return compute(SWAPPED)


def difference(study, scenario, method, base, measure="max_validation_loss"):
    (found,) = [
        one
        for one in study.differences
        if (one.scenario, one.method, one.base, one.measure) == (scenario, method, base, measure)
    ]
    return found


@pytest.mark.parametrize("family", ["dpo", "ipo"])
@pytest.mark.parametrize("scenario", ["even-imbalanced", "uneven-balanced", "uneven-imbalanced"])
def test_the_papers_orders_at_a_tenth_of_the_iterations(study, scenario, family):
    """Robust against plain in every scenario; importance helps where sizes differ. All by the paired interval."""
    for measure in ("max_validation_loss", "max_reward_error_relative"):
        if (scenario, family, measure) != ("uneven-balanced", "dpo", "max_validation_loss"):  # not settled by then
            assert difference(study, scenario, f"gr_{family}", family, measure).high < 0
    plain = difference(study, scenario, f"is_{family}", family)
    if scenario == "uneven-balanced":
        assert (plain.mean, plain.low, plain.high) == (0.0, 0.0, 0.0)
    else:
        assert plain.high < 0
    if (scenario, family) == ("uneven-imbalanced", "ipo"):
        assert difference(study, scenario, f"gr_{family}", f"is_{family}").high < 0


def test_every_row_is_that_of_a_plain_loop():
    """Each measure, its mean over two seeds and its standard error, which is half the distance of the two."""
    small = StudySettings(features=("flipped",), scenarios=("uneven-imbalanced",), chi=(0.4,), seeds=2, iterations=6)
    found = compute(small).rows
    assert [row.method for row in found] == list(small.methods)
    for row in found:
        worlds = [world("flipped", "uneven-imbalanced", seed) for seed in (0, 1)]
        trained = [naive(one, row.method, row.chi, 6) for one in worlds]
        expected = [
            naive_measures(one, theta, row.method[-3:]) for one, (theta, _) in zip(worlds, trained, strict=True)
        ]
        pairs = {name: (getattr(row, name), [one[name] for one in expected]) for name in expected[0]}
        pairs |= {f"weight {g}": (row.group_weights[g], [share[g] for _, share in trained]) for g in (0, 1)}
        for name, (value, (first, second)) in pairs.items():
            assert value.mean == pytest.approx((first + second) / 2, rel=1e-8), name
            assert value.se == pytest.approx(abs(first - second) / 2, rel=1e-6, abs=1e-12), name


def test_rows_stand_in_the_order_of_the_settings(study):
    row = study.rows[2]
    assert (row.features, row.scenario, row.method, row.chi) == ("swapped", "even-imbalanced", "gr_dpo", 1.0)
    assert {row.method for row in study.rows} == set(SWAPPED.methods)
    assert len(study.rows) == 3 * 6


def test_part_of_a_study_gives_the_same_numbers(study):
    part = compute(replace(SWAPPED, scenarios=("uneven-imbalanced",), methods=("dpo", "gr_dpo"), chi=(0.5, 1.0)))
    found = {row.column.label: row for row in part.rows}
    assert set(found) == {"dpo", "gr_dpo chi 0.5", "gr_dpo"}
    for row in study.rows:
        if row.scenario == "uneven-imbalanced" and row.method in ("dpo", "gr_dpo"):
            assert found[row.column.label].max_validation_loss.mean == pytest.approx(row.max_validation_loss.mean)


def test_curves_are_a_table(study, tmp_path):
    from pyarrow import parquet

    write_curves(SWAPPED, study.trained, tmp_path / "curves.parquet")
    lines = parquet.read_table(tmp_path / "curves.parquet").to_pylist()
    asked = {"features": "swapped", "scenario": "uneven-balanced", "method": "gr_dpo", "seed": 4, "iteration": 1000}
    (line,) = [line for line in lines if asked.items() <= line.items()]
    trained = study.trained[0]
    assert line["max_validation_loss"] == trained.worst_loss[-1, 0, 1, 4, 2]
    assert [line["weight_0"], line["weight_1"]] == trained.weights[-1, 0, 1, 4, 2].tolist()
    assert line["chi"] == 1.0


def test_recorded_iterations_begin_at_the_start_and_end_at_the_end():
    assert recorded_iterations(1) == [0, 1]
    many = recorded_iterations(10_000)
    assert (many[0], many[-1]) == (0, 10_000)
    assert 90 < len(many) < 120


def test_horizons_are_two_per_decade():
    assert horizons(100_000) == [100, 316, 1000, 3162, 10_000, 31_623, 100_000]
    assert horizons(100) == [100]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"features": ("swaped",)}, "unknown feature map 'swaped'. Did you mean 'swapped'"),
        ({"scenarios": ("even",)}, "unknown scenario 'even'"),
        ({"methods": ("gr_dpo", "gpo")}, "unknown method 'gpo'. Did you mean"),
        ({"methods": ()}, "methods: name at least one of dpo"),
        ({"chi": (0.5, 1.5)}, r"chi: must lie in \[0, 1\]"),
        ({"chi": (float("nan"),)}, "chi: must lie in"),
        ({"chi": ()}, "chi: must lie in"),
        ({"seeds": 1}, "seeds: a standard error needs 2 or more"),
        ({"iterations": 0}, "iterations: must be 1 or more"),
        ({"algorithm_1": 7}, "algorithm_1: must be 0 or at least 100 steps"),
        ({"algorithm_1": 100, "methods": ("dpo",)}, "algorithm_1: needs a gr_ method"),
        ({"radius": 0.0}, "radius: must be from 0.001 to 1,000,000, not 0$"),
        ({"radius": float("nan")}, "radius: .*, not nan$"),
        ({"radius": float("inf")}, "radius: .*, not inf$"),
        ({"radius": 1e200}, r"radius: .*, not 1e\+200$"),
    ],
)
def test_bad_settings_are_refused(changes, message):
    with pytest.raises(BadInput, match=message):
        StudySettings(**changes)


def test_names_are_taken_once_and_in_the_known_order():
    chosen = StudySettings(features=("same", "swapped", "same"), methods=("ipo", "dpo"), chi=(1.0, 0.0, 1.0))
    assert chosen.features == ("swapped", "same")
    assert chosen.methods == ("dpo", "ipo")
    assert chosen.chi == (1.0, 0.0)
    with pytest.raises(UnknownName):
        StudySettings(methods=("grpo",))


def test_results_are_whole_or_not_there(tmp_path):
    write_json({"rows": [1]}, tmp_path / "results.json")
    for impossible, error in ((object(), TypeError), (float("nan"), ValueError)):
        with pytest.raises(error):
            write_json({"rows": [impossible]}, tmp_path / "results.json")
    assert json.loads((tmp_path / "results.json").read_text()) == {"rows": [1]}
    assert [path.name for path in tmp_path.iterdir()] == ["results.json"]
