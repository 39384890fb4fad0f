"""Effect sizes: worked numbers, invariants, and where there is none."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_core.stats.resampling import Items
from pipeline_core.stats.statistic import STATISTICS, effect_size


def of(name, mine, other):
    """From values by item, a list of each."""
    return effect_size(STATISTICS[name], *(Items.collect({str(i): v for i, v in enumerate(m)}) for m in (mine, other)))


def test_worked_numbers():
    """Means 3 and 2; both vary by 1 about theirs."""
    assert of("mean", [[2], [3], [4]], [[1], [2], [3]]) == pytest.approx(1)
    assert of("exp_mean", [[2], [3], [4]], [[1], [2], [3]]) == pytest.approx(1), "of what is averaged"
    # Shares 3/4 and 1/4 of four items; the variance of both is 1/4.
    assert of("share", [[1], [1], [1], [0]], [[1], [0], [0], [0]]) == pytest.approx(1)


def test_two_items_are_enough():
    assert of("mean", [[2], [4]], [[1], [3]]) == pytest.approx(1 / math.sqrt(2))


def test_a_distance_from_even_is_smaller_nearer_to_it():
    """Shares 4/5 and 1/5 are as far from even; 3/5 is nearer than 4/5 by one fifth."""
    far, other, near = ([[1]] * n + [[0]] * (5 - n) for n in (4, 1, 3))
    assert of("distance_from_half", far, other) == pytest.approx(0)
    spread = math.sqrt((4 * 1 / 25 + 3 * 2 / 25) / 2 * 5 / 4)
    assert of("distance_from_half", near, far) == pytest.approx(-0.2 / spread)


def test_several_values_of_an_item_are_one():
    assert of("mean", [[1, 3], [3, 3], [4]], [[1], [2], [3]]) == pytest.approx(
        of("mean", [[2], [3], [4]], [[1], [2], [3]])
    )


@given(
    st.lists(st.tuples(st.floats(-9, 9), st.floats(-9, 9)), min_size=3, max_size=20),
    st.floats(0.5, 4),
    st.floats(-5, 5),
)
def test_it_turns_with_the_models_and_knows_no_unit(pairs, scale, shift):
    mine, other = ([[one[side]] for one in pairs] for side in (0, 1))
    found = of("mean", mine, other)
    spread = np.sqrt(np.mean([np.var(side, ddof=1) for side in (mine, other)]))
    if found is None:
        assert spread < 1e-11
        return
    assert of("mean", other, mine) == -found
    if spread > 1e-3:
        moved = ([[scale * one + shift] for (one,) in side] for side in (mine, other))
        assert of("mean", *moved) == pytest.approx(found, rel=1e-6, abs=1e-6)


def test_there_is_none_where_nothing_varies_or_is_common():
    assert of("share", [[1], [1]], [[0], [0]]) is None
    assert of("share", [[1]], [[0]]) is None
    apart = Items.collect({"a": [1.0], "b": [0.0]}, {"c": [1.0], "d": [0.0]})
    mine, other = (apart.part(slice(None), slice(column, column + 1)) for column in (0, 1))
    assert effect_size(STATISTICS["mean"], mine, other) is None
