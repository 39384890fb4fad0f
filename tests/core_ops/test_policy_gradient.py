import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipeline_core.ops.policy_gradient import clipped_surrogate, k3, token_weights

LOG = math.log


def test_surrogate_worked_by_hand():
    ratios = torch.tensor([[1.5, 1.1], [1.5, 0.5], [0.5, 1.5]])
    advantage = torch.tensor([[2.0], [-2.0], [1.0]])
    loss, clipped = clipped_surrogate(ratios.log(), torch.zeros(3, 2), advantage, 0.2, 0.2)
    # A > 0 caps at 1.2; A < 0 caps from below at 0.8; the pessimistic side is never capped.
    expected = [[-2.4, -2.2], [3.0, 1.6], [-0.5, -1.2]]
    assert torch.allclose(loss, torch.tensor(expected))
    assert clipped.tolist() == [[True, False], [False, True], [False, True]]


def test_clip_higher_widens_only_the_upper_side():
    loss, _ = clipped_surrogate(torch.tensor([[LOG(1.5)]]), torch.zeros(1, 1), torch.ones(1, 1), 0.2, 0.28)
    assert loss.item() == pytest.approx(-1.28)


def test_on_policy_gradient_is_minus_the_advantage():
    logps = torch.tensor([[-1.0, -2.0]], requires_grad=True)
    loss, clipped = clipped_surrogate(logps, logps.detach(), torch.tensor([[0.7]]))
    loss.sum().backward()
    assert logps.grad.tolist()[0] == pytest.approx([-0.7, -0.7])
    assert not clipped.any()


def test_k3_worked_by_hand():
    assert k3(torch.tensor([LOG(0.5)]), torch.tensor([LOG(0.25)])).item() == pytest.approx(0.5 + LOG(2) - 1)
    assert k3(torch.tensor([-3.0]), torch.tensor([-3.0])).item() == 0


@given(st.floats(-20, 0), st.floats(-20, 0))
def test_k3_is_never_negative(policy, reference):
    values = torch.tensor([policy, reference], dtype=torch.float64)
    assert k3(values[:1], values[1:]).item() >= 0


def test_k3_is_an_unbiased_estimate_of_the_kl():
    policy, reference = torch.tensor([0.7, 0.2, 0.1]), torch.tensor([0.3, 0.3, 0.4])
    exact = (policy * (policy / reference).log()).sum()
    assert (policy * k3(policy.log(), reference.log())).sum().item() == pytest.approx(exact.item(), abs=1e-6)


def test_aggregations_worked_by_hand():
    mask = torch.tensor([[True, True, True], [True, False, False]])
    loss = torch.tensor([[3.0, 3.0, 6.0], [8.0, 100.0, 100.0]])

    def total(kind):
        return (loss * token_weights(mask, kind, rows=2, tokens=4, max_length=5)).sum().item()

    assert total("sequence") == pytest.approx((12 / 3 + 8 / 1) / 2)
    assert total("token") == pytest.approx(20 / 4)
    assert total("constant") == pytest.approx(20 / (2 * 5))


@given(st.lists(st.integers(1, 6), min_size=2, max_size=6), st.sampled_from(["sequence", "token", "constant"]))
def test_weights_of_parts_are_the_weights_of_the_whole(lengths, kind):
    mask = torch.arange(6)[None] < torch.tensor(lengths)[:, None]
    counts = {"rows": len(lengths), "tokens": sum(lengths), "max_length": 6}
    whole = token_weights(mask, kind, **counts)
    parts = [token_weights(part, kind, **counts) for part in mask.split(1)]
    assert torch.equal(torch.cat(parts), whole)
    assert kind == "constant" or whole.sum().item() == pytest.approx(1, abs=1e-5)
