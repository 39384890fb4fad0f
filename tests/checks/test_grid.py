"""The grid of a sweep: how overrides are read, and what is refused."""

import pytest

from pipeline_core.checks.grid import grid_points, parse_grid, plain_values
from pipeline_core.checks.whole import load_config
from pipeline_core.errors import BadInput


def axes(*overrides, limit=200):
    return {axis.path: axis.values for axis in parse_grid(overrides, limit).axes}


@pytest.mark.parametrize(
    ("override", "values"),
    [
        ("seeds=0..4", ("0", "1", "2", "3", "4")),
        ("seeds=0..2,7", ("0", "1", "2", "7")),
        ("a=-2..1", ("-2", "-1", "0", "1")),
        ("policy.dpo.beta=.05, .1,.2", (".05", ".1", ".2")),
        ("seeds=[0,1],[2,3]", ("[0,1]", "[2,3]")),
        ("policy.dpo={beta: 1, steps: 2},{beta: 3}", ("{beta: 1, steps: 2}", "{beta: 3}")),
        ("a='x,y',z", ("'x,y'", "z")),
        ("a='it''s, so',b", ("'it''s, so'", "b")),
        ("a=it's,b", ("it's", "b")),
        ("base.model=../a,../b", ("../a", "../b")),
    ],
)
def test_commas_outside_brackets_and_quotes_separate_points(override, values):
    ((_, found),) = axes(override).items()
    assert found == values


def test_a_value_in_brackets_stays_a_list_in_every_point():
    grid = parse_grid(["seeds=[0,1]", "policy.dpo.beta=1,2", "name=mine"])
    assert (grid.fixed, grid.size) == (("seeds=[0,1]", "name=mine"), 2)
    assert [load_config("smoke", [*grid.fixed, f"policy.dpo.beta={beta}"]).seeds for beta in (1, 2)] == [[0, 1]] * 2


def test_the_grid_is_the_product_and_its_last_axis_varies_fastest():
    assert list(parse_grid(["a=1,2", "b=x,y"]).settings()) == [
        {"a": "1", "b": "x"},
        {"a": "1", "b": "y"},
        {"a": "2", "b": "x"},
        {"a": "2", "b": "y"},
    ]


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["seeds=0"], "nothing is swept"),
        ([], "nothing is swept"),
        (["seeds"], "not of the form"),
        (["=1,2"], "not of the form"),
        (["a=1,,2"], "is empty"),
        (["a=1,2,"], "is empty"),
        (["a=1,1"], "stands twice"),
        (["a=0..2,1"], "stands twice"),
        (["a=1", "a=2,3"], "'a' stands twice"),
        (["a=4..0"], "write 0..4"),
        (["a=.1..0.5"], "whole numbers"),
        (["a=1e-3..5"], "whole numbers"),
        (["a=[1,2"], "] is missing"),
        (["a='x,y"], "' is missing"),
        (["a=0..999999999999"], "over 100,000 values"),
        (["a=0..20", "b=0..9"], "210 points (21 of a × 10 of b), and the limit is 200"),
    ],
)
def test_what_cannot_be_understood_is_refused(overrides, words):
    with pytest.raises(BadInput) as told:
        parse_grid(overrides)
    assert words in str(told.value)


def test_points_are_validated_and_address_policies_by_label():
    points = grid_points("smoke", parse_grid(["policy.dpo.beta=.05,.1", "seeds=0..1"]))
    assert [(point.config.policy[0].beta, point.config.seeds) for point in points] == [
        (0.05, [0]),
        (0.05, [1]),
        (0.1, [0]),
        (0.1, [1]),
    ]
    assert len({point.id for point in points}) == 4


def test_the_id_leaves_out_how_a_point_is_run():
    first, second = (grid_points("smoke", parse_grid(["seeds=0,1", f"runner.concurrency={n}"]))[0].id for n in (1, 2))
    assert first == second


def test_a_bad_point_is_named():
    with pytest.raises(BadInput, match=r"point 2 \(policy\.dpo\.beta=-1\)"):
        grid_points("smoke", parse_grid(["policy.dpo.beta=.1,-1"]))


def test_two_points_that_are_the_same_run_are_refused():
    with pytest.raises(BadInput, match=r"points 1 .* and 2 .* are the same run"):
        grid_points("smoke", parse_grid(["policy.dpo.beta=.1,0.10"]))


def test_values_are_numbers_where_they_are_numbers():
    assert plain_values({"a": ".05", "b": "3", "c": "x", "d": "nan"}) == {"a": 0.05, "b": 3, "c": "x", "d": "nan"}
