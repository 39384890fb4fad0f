"""Generalised advantages and the critic's loss, by hand and against a naive loop."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from plugins.policy.ppo._returns import (
    adapted_kl_coef,
    explained_variance,
    generalised_advantages,
    moments,
    token_rewards,
    value_loss,
    whitened,
)


def test_the_score_counts_at_the_last_token_and_the_kl_at_every_one():
    mask = torch.tensor([[1, 1, 0], [1, 1, 1], [0, 0, 0]])
    ratio = torch.tensor([[0.5, -1.0, 9.0], [0.0, 0.0, 1.0], [7.0, 7.0, 7.0]])
    rewards = token_rewards(torch.tensor([2.0, 3.0, 5.0]), ratio, mask, 0.1)
    expected = [[-0.05, 2.1, 0.0], [0.0, 0.0, 2.9], [0.0, 0.0, 0.0]]
    for row, by_hand in zip(rewards.tolist(), expected, strict=True):
        assert row == pytest.approx(by_hand)


def test_advantages_worked_by_hand():
    rewards, values = torch.tensor([[0.0, 1.0]]), torch.tensor([[0.5, 0.25]])
    advantages, returns = generalised_advantages(rewards, values, torch.ones(1, 2), gamma=0.9, lam=0.5)
    # delta_1 = 1 - .25 = .75; delta_0 = .9 * .25 - .5 = -.275; A_0 = -.275 + .45 * .75
    assert advantages[0].tolist() == pytest.approx([0.0625, 0.75])
    assert returns[0].tolist() == pytest.approx([0.5625, 1.0])


@given(st.integers(0, 10**6), st.floats(0, 1), st.floats(0, 1))
def test_advantages_equal_the_sum_of_the_definition(seed, gamma, lam):
    generator = torch.Generator().manual_seed(seed)
    rewards, values = torch.randn(2, 3, 5, generator=generator, dtype=torch.float64)
    lengths = torch.randint(1, 6, (3,), generator=generator)
    mask = torch.arange(5)[None] < lengths[:, None]
    advantages, returns = generalised_advantages(rewards, values, mask, gamma, lam)
    for row, length in enumerate(lengths.tolist()):
        known = [*values[row, :length].tolist(), 0.0]
        deltas = [rewards[row, t].item() + gamma * known[t + 1] - known[t] for t in range(length)]
        for t in range(length):
            naive = sum((gamma * lam) ** (later - t) * deltas[later] for later in range(t, length))
            assert advantages[row, t].item() == pytest.approx(naive, abs=1e-9)
            assert returns[row, t].item() == pytest.approx(naive + known[t], abs=1e-9)
        assert advantages[row, length:].abs().sum() == 0 and returns[row, length:].abs().sum() == 0


def test_lambda_one_gives_the_return_and_lambda_zero_the_one_step_error():
    rewards, values, mask = torch.tensor([[1.0, 2.0, 4.0]]), torch.tensor([[0.5, 0.5, 0.5]]), torch.ones(1, 3)
    assert generalised_advantages(rewards, values, mask, 1.0, 1.0)[1][0].tolist() == [7, 6, 4]
    assert generalised_advantages(rewards, values, mask, 1.0, 0.0)[0][0].tolist() == [1, 2, 3.5]


def test_whitening_is_over_real_tokens_of_all_parts():
    values, mask = torch.tensor([[1.0, 2.0, 99.0], [3.0, 6.0, 99.0]]), torch.tensor([[1, 1, 0], [1, 1, 0]])
    parts = sum(moments(v[None], m[None]) for v, m in zip(values, mask, strict=True))
    white = whitened(values, mask, parts)
    inside = white[:, :2].flatten()
    assert inside.mean().item() == pytest.approx(0, abs=1e-6) and inside.std().item() == pytest.approx(1, abs=1e-6)
    assert white[:, 2].tolist() == [0, 0]


def test_value_loss_worked_by_hand():
    values = torch.tensor([[1.0, 0.5]], requires_grad=True)
    loss, clipped = value_loss(values, torch.tensor([[0.0, 0.4]]), torch.tensor([[2.0, 1.0]]), clip=0.2)
    # clip(1, +-.2 about 0) = .2: (.2 - 2)^2 is the larger one, and has no gradient
    assert loss[0].tolist() == pytest.approx([0.5 * 1.8**2, 0.5 * 0.25])
    assert clipped.tolist() == [[True, False]]
    loss.sum().backward()
    assert values.grad[0].tolist() == pytest.approx([0, -0.5])


def test_a_perfect_critic_explains_all_and_the_mean_nothing():
    returns, mask = torch.tensor([[1.0, 2.0, 3.0]]), torch.ones(1, 3)
    spread = moments(returns, mask)
    assert explained_variance(moments(returns - returns, mask), spread) == 1
    assert explained_variance(moments(returns - 2, mask), spread) == pytest.approx(0)
    assert explained_variance(moments(returns, mask), moments(torch.ones(1, 3), mask)) == 0


def test_the_kl_coefficient_steers_towards_its_target():
    raised = adapted_kl_coef(0.1, 12.0, 6.0, 100, 1000)  # far above: the error is cut at .2
    assert raised == pytest.approx(0.1 * 1.02)
    assert adapted_kl_coef(raised, 5.7, 6.0, 100, 1000) == pytest.approx(0.1 * 1.02 * 0.995)
    assert adapted_kl_coef(0.1, 100.0, None, 100, 1000) == 0.1
