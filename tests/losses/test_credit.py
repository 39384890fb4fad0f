"""Credit within cohorts, of one reward and of several, and how a budget of completions is shared out."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipeline_core.losses.advantages import cohort_relative, credit_of, leave_one_out, weighted_sum
from pipeline_core.losses.cohorts import Cohorts, by_spread
from pipeline_core.losses.group_statistics import divided

RAGGED = Cohorts.of([2, 3])
REWARDS = torch.tensor([0.0, 4.0, 1.0, 1.0, 4.0], dtype=torch.float64)
cohort_lists = st.lists(st.lists(st.floats(-1e3, 1e3, width=32), min_size=2, max_size=5), min_size=1, max_size=5)


def laid_out(cohorts):
    rewards = torch.tensor([one for cohort in cohorts for one in cohort], dtype=torch.float64)
    return rewards, Cohorts.of([len(cohort) for cohort in cohorts])


def test_cohorts_of_unequal_size_worked_by_hand():
    assert RAGGED.owner.tolist() == [0, 0, 1, 1, 1]
    assert RAGGED.means(REWARDS).tolist() == [2, 2]
    assert RAGGED.deviations(REWARDS).tolist() == pytest.approx([math.sqrt(8), math.sqrt(3)])
    assert RAGGED.flat(torch.tensor([1.0, 1.0, 2.0, 2.0, 3.0])).tolist() == [True, False]


def test_cohorts_of_one_and_of_none():
    cohorts, rewards = Cohorts.of([1, 1, 0]), torch.tensor([3.0, 5.0])
    assert cohorts.means(rewards).tolist() == [3, 5, 0]
    assert cohorts.flat(rewards).tolist() == [True, True, True]
    assert cohorts.deviations(rewards).tolist() == [0, 0, 0]
    assert Cohorts.of([1, 0]).flat(torch.tensor([3.0])).tolist() == [True, True]
    assert Cohorts.of([0]).flat(torch.zeros(0)).tolist() == [True]


def test_scalings_worked_by_hand():
    by_cohort = cohort_relative("cohort")(REWARDS, RAGGED, 0.0)
    assert by_cohort[:2].tolist() == pytest.approx([-2 / (math.sqrt(8) + 1e-4), 2 / (math.sqrt(8) + 1e-4)])
    assert by_cohort[4].item() == pytest.approx(2 / (math.sqrt(3) + 1e-4))
    by_batch = cohort_relative("batch")(REWARDS, RAGGED, 1.9999)
    assert by_batch.tolist() == pytest.approx([-1, 1, -0.5, -0.5, 1])
    assert cohort_relative("none")(REWARDS, RAGGED, 7.0).tolist() == [-2, 2, -1, -1, 2]


def test_leave_one_out_worked_by_hand():
    # 0 against 4; 4 against 0; 1 against (1 + 4) / 2; 4 against 1.
    assert leave_one_out(REWARDS, RAGGED, 0.0).tolist() == pytest.approx([-4, 4, -1.5, -1.5, 3])


def test_cohort_of_two_keeps_only_the_sign():
    rewards, cohorts = laid_out([[0.0, 5.0], [3.0, -40.0]])
    half = math.sqrt(0.5)
    assert cohort_relative()(rewards, cohorts, 0.0).tolist() == pytest.approx([-half, half, half, -half], abs=1e-3)


@pytest.mark.parametrize("credit", [cohort_relative("cohort"), cohort_relative("batch"), leave_one_out])
def test_equal_rewards_teach_exactly_nothing(credit):
    rewards, cohorts = laid_out([[0.1, 0.1, 0.1], [0.1, 0.1, 0.2]])
    advantages = credit(rewards, cohorts, 0.3)
    assert advantages[:3].tolist() == [0, 0, 0] and advantages[5] > 0


def test_a_single_sample_is_refused():
    for credit in (cohort_relative(), leave_one_out):
        with pytest.raises(ValueError, match="at least two"):
            credit(torch.zeros(3), Cohorts.of([2, 1]), 0.0)


@given(cohort_lists, st.floats(-100, 100))
def test_advantages_sum_to_zero_and_ignore_a_shift(cohorts, shift):
    rewards, laid = laid_out(cohorts)
    for credit in (cohort_relative("cohort"), cohort_relative("none"), leave_one_out):
        advantages = credit(rewards, laid, 1.0)
        size = 1 + rewards.abs().max()
        assert laid.sums(advantages).abs().max() < 1e-6 * size
    for index, cohort in enumerate(cohorts):
        here = laid.owner == index
        expected = [one - (sum(cohort) - one) / (len(cohort) - 1) for one in cohort]
        assert leave_one_out(rewards, laid, 0.0)[here].tolist() == pytest.approx(
            expected, abs=1e-6 * (1 + max(map(abs, cohort)))
        )
    moved = cohort_relative("none")(rewards + shift, laid, 0.0)
    assert torch.allclose(moved, cohort_relative("none")(rewards, laid, 0.0), atol=1e-6)


def test_several_rewards_by_their_sum_or_each_by_itself():
    rewards = torch.tensor([[1.0, 0.0], [0.0, 10.0]])
    weights, pair = torch.tensor([1.0, 0.1]), Cohorts.of([2])
    assert weighted_sum(rewards, weights).tolist() == [1, 1]
    sums = credit_of(rewards, weights, pair, cohort_relative(), "weighted", 0.0)
    assert sums.tolist() == [0, 0]  # the two rewards cancel in the sum
    each = credit_of(rewards, weights, pair, cohort_relative(), "normalised", 0.0)
    assert each.tolist() == pytest.approx([0.9 * math.sqrt(0.5), -0.9 * math.sqrt(0.5)], abs=1e-3)


def test_budgets_follow_the_spread():
    assert by_spread(torch.tensor([1.0, 0.0, 3.0]), 8, 100).tolist() == [2, 0, 6]
    assert by_spread(torch.tensor([1.0, 0.0, 3.0]), 8, 4).tolist() == [4, 0, 4]  # what is over goes to the others
    assert by_spread(torch.tensor([1.0, 1.0, 1.0]), 4, 9).tolist() == [2, 1, 1]
    assert by_spread(torch.tensor([5.0, 3.0, 2.0]), 2, 9).tolist() == [1, 1, 0]  # shares 1, .6, .4
    assert by_spread(torch.zeros(3), 8, 9).tolist() == [0, 0, 0]


@given(st.lists(st.floats(0, 10), min_size=1, max_size=6), st.integers(0, 30), st.integers(1, 8))
def test_a_budget_is_never_overdrawn_and_spent_where_it_can_be(spread, budget, most):
    given_P = by_spread(torch.tensor(spread, dtype=torch.float64), budget, most)
    useful = sum(one > 0 for one in spread)
    assert given_P.sum().item() == min(budget, useful * most)
    assert given_P.max() <= most
    assert all(count == 0 for count, one in zip(given_P.tolist(), spread, strict=True) if one == 0)


def test_the_mean_of_an_absent_group_is_zero_not_nan():
    assert divided(torch.tensor([6.0, 0.0]), torch.tensor([4.0, 0.0])).tolist() == [1.5, 0]
