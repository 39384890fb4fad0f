"""The six methods: numbers worked by hand, and the batched run against a plain loop over pairs."""

import math

import pytest
import torch

from pipeline_core.studies.log_linear.methods import (
    METHODS,
    Pairs,
    closed_form,
    descent,
    loss_of,
    pair_losses,
    slope,
    train,
)
from pipeline_core.studies.log_linear.policy_errors import group_losses, reward_errors
from pipeline_core.studies.log_linear.synthetic import world
from tests.studies.conftest import naive

BOTH = ["dpo", "ipo"]


def two_points(first, second, groups=(0, 1)):
    """One world with two pairs."""
    rows = torch.tensor([[first, second]], dtype=torch.float64)
    return Pairs.of(rows, torch.tensor([list(groups)]), 2)


def trained(pairs, start, method, chi=1.0, iterations=5):
    theta, share = train(pairs, start, METHODS[method].family, [METHODS[method].weighting(chi)], iterations)
    return theta[:, 0], share[:, 0]


def test_losses_by_hand():
    margin = torch.tensor([0.0, math.log(3)], dtype=torch.float64)
    assert pair_losses(loss_of("dpo"), margin).tolist() == pytest.approx([math.log(2), math.log(4 / 3)])
    assert pair_losses(loss_of("ipo"), torch.tensor([0.0, 2.0])).tolist() == pytest.approx([25, 9])


@pytest.mark.parametrize("family", BOTH)
def test_the_slope_is_the_derivative_of_the_loss(family):
    margin = torch.linspace(-40, 40, 41, dtype=torch.float64).requires_grad_()
    pair_losses(loss_of(family), margin).sum().backward()
    torch.testing.assert_close(slope(family, margin.detach()), margin.grad, rtol=1e-13, atol=1e-300)


def test_the_gradient_is_that_of_the_weighted_losses(worlds):
    """Autograd through `ops.preference`, all worlds and columns at once."""
    pairs, count = worlds.training, len(worlds.start)
    theta = torch.rand(count, 3, 4, dtype=torch.float64, generator=torch.manual_seed(0)).requires_grad_()
    weight_WCG = torch.rand(count, 3, 2, dtype=torch.float64)
    loss_WCN = pair_losses(loss_of("dpo"), pairs.margins(theta))
    (loss_WCN * (weight_WCG @ pairs.member.mT)).sum().backward()
    with torch.no_grad():
        moved = descent(pairs)(theta, pairs.margins(theta), weight_WCG)
    torch.testing.assert_close((theta.detach() - moved) / 0.9, theta.grad, rtol=1e-12, atol=1e-14)


def test_one_step_of_gr_dpo_by_hand():
    """Losses log 2 and log(4/3): alpha is (2^.5, (4/3)^.5) over their sum, and theta moves by the new weights."""
    pairs = two_points([0.0, 1.0], [1.0, 0.0])
    theta, share = trained(pairs, torch.tensor([[math.log(3), 0.0]], dtype=torch.float64), "gr_dpo", iterations=1)
    first = math.sqrt(2) / (math.sqrt(2) + math.sqrt(4 / 3))
    assert share[0].tolist() == pytest.approx([first, 1 - first])
    moves = [0.9 * (1 - first) * 0.25, 0.9 * first * 0.5]
    assert theta[0].tolist() == pytest.approx([math.log(3) + moves[0], moves[1]])


def test_chi_mixes_in_equal_weights_and_slows_the_ascent():
    pairs = two_points([0.0, 1.0], [1.0, 0.0])
    start = torch.tensor([[math.log(3), 0.0]], dtype=torch.float64)
    _, share = trained(pairs, start, "gr_dpo", chi=0.4, iterations=1)
    alpha = 2**0.2 / (2**0.2 + (4 / 3) ** 0.2)
    assert share[0].tolist() == pytest.approx([0.3 + 0.4 * alpha, 0.3 + 0.4 * (1 - alpha)])


def test_the_closed_form_on_two_points():
    """Rows (1) and (2) with weights a and b: theta = 5 (a + 2 b) / (a + 4 b) at beta = 0.1."""
    pairs, weight = two_points([1.0], [2.0]), torch.tensor([[[0.7, 0.3]]], dtype=torch.float64)
    theta = closed_form(pairs)(weight, weight, weight)
    assert theta.item() == pytest.approx(5 * (0.7 + 0.6) / (0.7 + 1.2))


def test_gr_ipo_by_hand():
    """Rows (1) and (2), start 0: both losses are 25, so the weights stay equal; then 5 * 1.5 / 2.5 = 3 is the minimum.

    There the losses are (3 - 5)^2 = 4 and (6 - 5)^2 = 1, and the weights move by exp(.01 * 3).
    """
    pairs, start = two_points([1.0], [2.0]), torch.zeros(1, 1, dtype=torch.float64)
    theta, share = trained(pairs, start, "gr_ipo", iterations=1)
    assert (theta.item(), share[0].tolist()) == (pytest.approx(3.0), [0.5, 0.5])
    theta, share = trained(pairs, start, "gr_ipo", iterations=2)
    first = math.exp(0.04) / (math.exp(0.04) + math.exp(0.01))
    assert share[0, 0].item() == pytest.approx(first)
    assert theta.item() == pytest.approx(5 * (2 - first) / (4 - 3 * first))


def test_importance_weighs_the_closed_form_by_the_size_of_the_group():
    """Three rows (1) in one group and a row (2) in the other: W = diag(1/6, 1/6, 1/6, 1/2), theta = 5 * 1.5 / 2.5."""
    rows = torch.tensor([[[1.0], [1.0], [1.0], [2.0]]], dtype=torch.float64)
    pairs, start = Pairs.of(rows, torch.tensor([[0, 0, 0, 1]]), 2), torch.zeros(1, 1, dtype=torch.float64)
    assert trained(pairs, start, "is_ipo")[0].item() == pytest.approx(3.0)
    assert trained(pairs, start, "ipo")[0].item() == pytest.approx(5 * 5 / 7)


@pytest.mark.parametrize(("method", "chi"), [*((name, 1.0) for name in METHODS), ("gr_dpo", 0.3), ("gr_ipo", 0.3)])
def test_the_batched_run_is_the_plain_loop(method, chi, settings, worlds):
    family = METHODS[method].family
    weightings = [METHODS[name].weighting(chi) for name in METHODS if METHODS[name].family == family]
    column = [name for name in METHODS if METHODS[name].family == family].index(method)
    theta, share = train(worlds.training, worlds.start, family, weightings, 8)
    keys = [(f, s, k) for f in settings.features for s in settings.scenarios for k in range(settings.seeds)]
    for index, key in enumerate(keys):
        expected, weights = naive(world(*key), method, chi, 8)
        assert theta[index, column].tolist() == pytest.approx(expected, rel=1e-9)
        assert share[index, column].tolist() == pytest.approx(weights, rel=1e-9)


@pytest.mark.parametrize("family", BOTH)
def test_importance_is_plain_where_groups_are_of_one_size(family, settings, worlds):
    methods = [METHODS[name].weighting() for name in (family, f"is_{family}")]
    theta, _ = train(worlds.training, worlds.start, family, methods, 50)
    by_scenario = theta.unflatten(0, (2, 2, 2))
    assert torch.equal(by_scenario[:, 0, :, 0], by_scenario[:, 0, :, 1]), "balanced"
    assert (by_scenario[:, 1, :, 0] - by_scenario[:, 1, :, 1]).abs().amax(-1).min() > 1e-3, "imbalanced"


@pytest.mark.parametrize("method", METHODS)
def test_groups_may_be_renumbered(method, worlds):
    turned = Pairs(worlds.training.difference, worlds.training.member.flip(-1))
    theta, share = trained(worlds.training, worlds.start, method, iterations=30)
    other, other_share = trained(turned, worlds.start, method, iterations=30)
    torch.testing.assert_close(other, theta, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(other_share.flip(-1), share, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_worlds_side_by_side_are_worlds_alone(method, worlds):
    together, _ = trained(worlds.training, worlds.start, method, iterations=30)
    for index in range(len(worlds.start)):
        part = worlds.part(slice(index, index + 1))
        alone, _ = trained(part.training, part.start, method, iterations=30)
        torch.testing.assert_close(alone[0], together[index], rtol=1e-10, atol=1e-12)


def test_no_ascent_is_importance(worlds):
    for family in BOTH:
        methods = [METHODS[f"gr_{family}"].weighting(0.0), METHODS[f"is_{family}"].weighting()]
        theta, share = train(worlds.training, worlds.start, family, methods, 30)
        torch.testing.assert_close(theta[:, 0], theta[:, 1], rtol=1e-12, atol=1e-13)
        assert share[:, 0].flatten().tolist() == pytest.approx([0.5] * share[:, 0].numel())


def test_gr_ipo_evens_out_the_groups_training_losses(worlds):
    """The fixed point of the ascent: with more iterations the groups' losses meet."""
    gaps = []
    for iterations in (1, 30, 1000):
        theta, _ = trained(worlds.training, worlds.start, "gr_ipo", iterations=iterations)
        loss_WG = group_losses(theta[:, None], worlds.training, loss_of("ipo"))[:, 0]
        gaps.append((loss_WG[:, 0] - loss_WG[:, 1]).abs().max().item())
    assert gaps[0] > 5 * gaps[1] > 5 * gaps[2]
    assert gaps[2] < 1e-3


def test_the_observer_sees_the_asked_iterations(worlds):
    seen = []
    theta, _ = train(worlds.training, worlds.start, "dpo", [METHODS["dpo"].weighting()], 4,
                     lambda theta, share: seen.append((theta.clone(), share)), [0, 3, 4])  # fmt: skip
    assert len(seen) == 3
    assert torch.equal(seen[0][0][:, 0], worlds.start)
    assert torch.equal(seen[2][0], theta)
    assert not torch.equal(seen[1][0], theta)


def test_reward_errors_by_hand():
    """Two states, one group's rewards (1, 3) and (2, 1): the policy takes action 0 at both, 3 of 5 are got."""
    phi = torch.tensor([[[[1.0, 9.0], [3.0, 8.0]]], [[[2.0, 9.0], [1.0, 8.0]]]], dtype=torch.float64)[None]
    theta = torch.tensor([[[0.0, 1.0], [1.0, 0.0]]], dtype=torch.float64)
    errors = reward_errors(theta, phi, torch.tensor([[1.0, 0.0]], dtype=torch.float64))
    assert errors.absolute.tolist() == [[[1.0], [0.0]]]
    assert errors.relative.tolist() == [[[0.4], [0.0]]]


def test_the_true_parameters_lose_no_reward(worlds):
    for group in (0, 1):
        from pipeline_core.studies.log_linear.synthetic import TRUE_PARAMETERS

        true_GD = torch.from_numpy(TRUE_PARAMETERS)
        theta = true_GD[group].expand(len(worlds.start), 1, 4)
        errors = reward_errors(theta, worlds.test, true_GD)
        assert errors.absolute[..., group].abs().max() < 1e-12
        assert errors.relative[..., 1 - group].max() > 0
