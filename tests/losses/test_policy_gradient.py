import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipeline_core.losses.policy_gradient import (
    clipped_surrogate,
    kl_estimate,
    log_ratios,
    overlong_penalty,
    token_weights,
)

LOG = math.log


def test_surrogate_worked_by_hand():
    ratios = torch.tensor([[1.5, 1.1], [1.5, 0.5], [0.5, 1.5]])
    advantage = torch.tensor([[2.0], [-2.0], [1.0]])
    loss, clipped = clipped_surrogate(ratios.log(), advantage, 0.2, 0.2)
    # A > 0 caps at 1.2; A < 0 caps from below at 0.8; the pessimistic side is never capped.
    expected = [[-2.4, -2.2], [3.0, 1.6], [-0.5, -1.2]]
    assert torch.allclose(loss, torch.tensor(expected))
    assert clipped.tolist() == [[True, False], [False, True], [False, True]]


def test_clip_higher_widens_only_the_upper_side():
    loss, _ = clipped_surrogate(torch.tensor([[LOG(1.5)]]), torch.ones(1, 1), 0.2, 0.28)
    assert loss.item() == pytest.approx(-1.28)


def test_on_policy_gradient_is_minus_the_advantage():
    logps = torch.tensor([[-1.0, -2.0]], requires_grad=True)
    loss, clipped = clipped_surrogate(logps - logps.detach(), torch.tensor([[0.7]]))
    loss.sum().backward()
    assert logps.grad.tolist()[0] == pytest.approx([-0.7, -0.7])
    assert not clipped.any()


def test_sequence_ratio_worked_by_hand():
    logps = torch.tensor([[-1.0, -2.0, -9.0]], requires_grad=True)
    old, mask = torch.tensor([[-1.5, -1.7, 0.0]]), torch.tensor([[1, 1, 0]])
    ratio = log_ratios(logps, old, mask, "sequence")
    assert ratio[0].tolist() == pytest.approx([0.1, 0.1, 0.1])  # (.5 - .3) / 2 for every token
    loss, _ = clipped_surrogate(ratio, torch.tensor([[2.0]]), 0.5, 0.5)
    (loss * mask).sum().backward()
    # Two tokens, each with the ratio of all: d/dlogp_t of -2 * A rho is -2 A rho / 2.
    assert logps.grad[0].tolist() == pytest.approx([-2 * math.exp(0.1), -2 * math.exp(0.1), 0])
    assert torch.equal(log_ratios(logps, old, mask), logps - old)


def test_sequence_ratios_of_completions_of_unequal_length():
    logps = torch.tensor([[-1.0, -2.0, -9.0], [-3.0, -9.0, -9.0], [-9.0, -9.0, -9.0]])
    old, mask = torch.zeros(3, 3), torch.tensor([[1, 1, 0], [1, 0, 0], [0, 0, 0]])
    assert log_ratios(logps, old, mask, "sequence").tolist() == [[-1.5] * 3, [-3.0] * 3, [0.0] * 3]


def test_the_usual_settings_are_a_fifth_on_either_side_and_k3():
    up, down = torch.full((1, 1), LOG(1.5)), torch.full((1, 1), LOG(0.5))
    assert clipped_surrogate(up, torch.ones(1, 1))[0].item() == pytest.approx(-1.2)
    assert clipped_surrogate(down, -torch.ones(1, 1))[0].item() == pytest.approx(0.8)
    assert kl_estimate(up, down).item() == kl_estimate(up, down, "k3").item()


def test_kl_estimates_worked_by_hand():
    policy, reference = torch.tensor([LOG(0.5)]), torch.tensor([LOG(0.25)])
    assert kl_estimate(policy, reference, "k1").item() == pytest.approx(LOG(2))
    assert kl_estimate(policy, reference, "k2").item() == pytest.approx(LOG(2) ** 2 / 2)
    assert kl_estimate(policy, reference, "k3").item() == pytest.approx(0.5 + LOG(2) - 1)
    assert all(kl_estimate(policy, policy, kind).item() == 0 for kind in ("k1", "k2", "k3"))


@given(st.floats(-20, 0), st.floats(-20, 0))
def test_k2_and_k3_are_never_negative(policy, reference):
    values = torch.tensor([policy, reference], dtype=torch.float64)
    assert min(kl_estimate(values[:1], values[1:], kind).item() for kind in ("k2", "k3")) >= 0


def test_k1_and_k3_are_unbiased_and_k2_has_the_gradient_of_the_kl():
    logits, reference = torch.tensor([0.7, 0.2, 0.1]).log().requires_grad_(), torch.tensor([0.3, 0.3, 0.4])
    policy = logits.softmax(0)
    exact = (policy * (policy / reference).log()).sum()
    (true_slope,) = torch.autograd.grad(exact, logits)
    fixed = policy.detach()
    for kind in ("k1", "k3"):
        estimate = (fixed * kl_estimate(fixed.log(), reference.log(), kind)).sum()
        assert estimate.item() == pytest.approx(exact.item(), abs=1e-6)
    slopes = {}
    for kind in ("k1", "k2", "k3"):
        value = (fixed * kl_estimate(logits.log_softmax(0), reference.log(), kind)).sum()
        (slopes[kind],) = torch.autograd.grad(value, logits)
    assert torch.allclose(slopes["k2"], true_slope, atol=1e-6)
    assert slopes["k1"].abs().max() < 1e-6  # no gradient on average, as the docstring says
    assert not torch.allclose(slopes["k3"], true_slope, atol=1e-2)


def test_overlong_texts_are_punished_on_a_line():
    lengths = torch.tensor([0, 12, 13, 14, 15, 16, 20])
    assert overlong_penalty(lengths, 16, 4).tolist() == [0, 0, -0.25, -0.5, -0.75, -1, -1]
    assert overlong_penalty(lengths, 16, 1).tolist() == [0, 0, 0, 0, 0, -1, -1]


def test_aggregations_worked_by_hand():
    mask = torch.tensor([[True, True, True], [True, False, False]])
    loss = torch.tensor([[3.0, 3.0, 6.0], [8.0, 100.0, 100.0]])

    def total(kind):
        return (loss * token_weights(mask, kind, rows=2, tokens=4, max_length=5)).sum().item()

    assert total("sequence") == pytest.approx((12 / 3 + 8 / 1) / 2)
    assert total("token") == pytest.approx(20 / 4)
    assert total("constant") == pytest.approx(20 / (2 * 5))
    assert token_weights(mask[1:], "token", rows=1, tokens=1, max_length=5).tolist() == [[1, 0, 0]]


@given(st.lists(st.integers(1, 6), min_size=2, max_size=6), st.sampled_from(["sequence", "token", "constant"]))
def test_weights_of_parts_are_the_weights_of_the_whole(lengths, kind):
    mask = torch.arange(6)[None] < torch.tensor(lengths)[:, None]
    counts = {"rows": len(lengths), "tokens": sum(lengths), "max_length": 6}
    whole = token_weights(mask, kind, **counts)
    parts = [token_weights(part, kind, **counts) for part in mask.split(1)]
    assert torch.equal(torch.cat(parts), whole)
    assert kind == "constant" or whole.sum().item() == pytest.approx(1, abs=1e-5)
