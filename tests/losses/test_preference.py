import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipeline_core.losses.preference import PairLogps, logistic_loss, squared_loss


def pairs(chosen, rejected, reference_chosen, reference_rejected, lengths=(2, 4)):
    values = [
        torch.tensor([float(value)], dtype=torch.float64)
        for value in (chosen, rejected, reference_chosen, reference_rejected)
    ]
    return PairLogps(*values, torch.tensor([lengths[0]]), torch.tensor([lengths[1]]))


WORKED = pairs(-10, -14, -12, -13)  # log-ratios 2 and -1, h = 3


def test_logistic_loss_worked_by_hand():
    assert logistic_loss(0.5)(WORKED).item() == pytest.approx(math.log(1 + math.exp(-1.5)))


def test_label_smoothing_worked_by_hand():
    expected = 0.9 * math.log(1 + math.exp(-1.5)) + 0.1 * math.log(1 + math.exp(1.5))
    assert logistic_loss(0.5, 0.1)(WORKED).item() == pytest.approx(expected)


def test_squared_loss_worked_by_hand():
    assert squared_loss(0.5)(WORKED).item() == pytest.approx((3 - 1) ** 2)
    assert squared_loss(0.5, length_normalized=True)(WORKED).item() == pytest.approx((2 / 2 + 1 / 4 - 1) ** 2)


def test_a_margin_per_token_worked_by_hand():
    expected = math.log(1 + math.exp(-(2 / 2 + 1 / 4)))
    assert logistic_loss(1.0, length_normalized=True)(WORKED).item() == pytest.approx(expected)


def test_a_certain_pair_costs_nothing_and_one_that_is_wrong_for_certain_everything():
    assert logistic_loss(0.5)(pairs(0, -math.inf, 0, 0)).item() == 0
    assert logistic_loss(0.5)(pairs(-math.inf, 0, 0, 0)).item() == math.inf


def test_squared_loss_is_zero_at_its_target_margin():
    assert squared_loss(1 / 6)(WORKED).item() == pytest.approx(0)


def test_policy_equal_to_reference():
    same = pairs(-7, -3, -7, -3)
    assert logistic_loss(0.3)(same).item() == pytest.approx(math.log(2))
    assert squared_loss(0.25)(same).item() == pytest.approx(4)


@given(margin=st.floats(-1e6, 1e6), beta=st.floats(1e-3, 1e3), smoothing=st.floats(0, 0.49))
def test_logistic_loss_is_finite_and_has_the_right_slope(margin, beta, smoothing):
    policy = torch.tensor([margin], dtype=torch.float64, requires_grad=True)
    zero = torch.zeros(1, dtype=torch.float64)
    loss = logistic_loss(beta, smoothing)(PairLogps(policy, zero, zero, zero, zero, zero))
    loss.sum().backward()
    sigmoid = torch.sigmoid(torch.tensor(beta * margin, dtype=torch.float64))
    assert torch.isfinite(loss).all()
    assert policy.grad.item() == pytest.approx((beta * (sigmoid - 1 + smoothing)).item(), rel=1e-6, abs=1e-9 * beta)
