import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipeline_core.ops.advantages import cohort_normalized, zero_spread
from pipeline_core.ops.group_statistics import group_means


def test_cohort_worked_by_hand():
    advantages = cohort_normalized(torch.tensor([[1.0, 2.0, 3.0]], dtype=torch.float64))
    assert advantages[0].tolist() == pytest.approx([-1 / 1.0001, 0, 1 / 1.0001])


def test_cohort_of_two_keeps_only_the_sign():
    advantages = cohort_normalized(torch.tensor([[0.0, 5.0], [3.0, -40.0]]))
    assert advantages.tolist()[0] == pytest.approx([-math.sqrt(0.5), math.sqrt(0.5)], abs=1e-3)
    assert advantages.tolist()[1] == pytest.approx([math.sqrt(0.5), -math.sqrt(0.5)], abs=1e-3)


def test_equal_rewards_teach_exactly_nothing():
    rewards = torch.tensor([[0.1, 0.1, 0.1], [0.1, 0.1, 0.2]])
    assert zero_spread(rewards).tolist() == [True, False]
    assert cohort_normalized(rewards)[0].tolist() == [0, 0, 0]


def test_single_sample_is_refused():
    with pytest.raises(ValueError, match="at least two"):
        cohort_normalized(torch.zeros(3, 1))


@given(
    st.lists(st.lists(st.floats(-1e4, 1e4, width=32), min_size=3, max_size=3), min_size=1, max_size=5),
    st.floats(-100, 100),
)
def test_advantages_sum_to_zero_and_ignore_a_shift(rewards, shift):
    rewards = torch.tensor(rewards, dtype=torch.float64)
    advantages = cohort_normalized(rewards)
    assert advantages.sum(1).abs().max() < 1e-6
    assert advantages.abs().max() <= 2 / math.sqrt(3) + 1e-9  # the most extreme of three: (n - 1) / sqrt(n)
    assert torch.allclose(cohort_normalized(rewards + shift), advantages, atol=1e-4)


def test_group_means_of_an_absent_group_is_zero_not_nan():
    assert group_means(torch.tensor([6.0, 0.0]), torch.tensor([4.0, 0.0])).tolist() == [1.5, 0]
