"""Algorithm 1: unbiased draws, the ball, the constants, the solved minimum, and its gap under the bound."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.optimize import NonlinearConstraint, minimize

from pipeline_core.errors import BadInput
from pipeline_core.stats.paired import SeedMean
from pipeline_core.studies.log_linear import stochastic as log_linear_stochastic
from pipeline_core.studies.log_linear import study as log_linear
from pipeline_core.studies.log_linear.algorithm_1 import BoundConstants, StochasticLearner, drawn_pairs, projected
from pipeline_core.studies.log_linear.methods import Pairs, loss_of, pair_losses, slope
from pipeline_core.studies.log_linear.minimax import Barrier, least_worst_loss
from pipeline_core.studies.log_linear.policy_errors import group_losses
from pipeline_core.studies.log_linear.record import log_stochastic
from pipeline_core.studies.log_linear.settings import RADII
from pipeline_core.studies.log_linear.stochastic import _slope as slope_of
from pipeline_core.studies.log_linear.stochastic import run_stochastic, solve_minima
from tests.studies.conftest import Recorder

RADIUS = 3.0
BOTH = ["dpo", "ipo"]


@pytest.fixture(scope="module", params=BOTH)
def learner(request, worlds):
    pairs = worlds.part(slice(2, 6)).training
    return StochasticLearner(pairs, request.param, BoundConstants.of(pairs, request.param, RADIUS))


def repeated(pairs, world, times):
    """The same world many times over."""
    return Pairs(pairs.difference[world].expand(times, -1, -1), pairs.member[world].expand(times, -1, -1))


def test_the_mean_over_all_draws_is_the_full_gradient(learner):
    """With weights that do not move, every pair once: sum_g alpha_g grad L_g exactly, and so for the groups' losses."""
    pairs, count = repeated(learner.pairs, 2, 300), 300
    still = StochasticLearner(pairs, learner.family, learner.constants)
    theta = torch.tensor([0.3, -1.0, 0.8, 0.5], dtype=torch.float64)
    state = still.start(torch.zeros(count, dtype=torch.float64))
    alpha = torch.tensor([0.7, 0.3], dtype=torch.float64)
    state = state | {"log_group": alpha.log().expand(count, -1)}
    gradient, _ = still.draw(theta.expand(count, -1), state, torch.arange(count))
    free = theta.clone().requires_grad_()
    loss_G = group_losses(free.expand(1, 1, -1), repeated(learner.pairs, 2, 1), loss_of(learner.family))[0, 0]
    (alpha @ loss_G).backward()
    torch.testing.assert_close(gradient.mean(0), free.grad, rtol=1e-11, atol=1e-13)


def test_the_mean_rise_over_all_draws_is_the_groups_loss(learner):
    """Log-weights relative to each other rise by eta L_g on average: N loss / N_g for the drawn group only."""
    pairs, count, eta = repeated(learner.pairs, 2, 300), 300, 1e-3
    still = StochasticLearner(pairs, learner.family, learner.constants)
    state = still.start(torch.full((count,), eta, dtype=torch.float64))
    theta = torch.tensor([0.3, -1.0, 0.8, 0.5], dtype=torch.float64)
    _, moved = still.draw(theta.expand(count, -1), state, torch.arange(count))
    relative = (moved["log_group"][:, 0] - moved["log_group"][:, 1]).mean()
    loss_G = group_losses(theta.expand(1, 1, -1), repeated(learner.pairs, 2, 1), loss_of(learner.family))[0, 0]
    assert relative.item() == pytest.approx(eta * (loss_G[0] - loss_G[1]).item())


def test_one_draw_by_hand():
    """Two pairs of two groups, one drawn: its weight is e / (e + 1) of eta N loss = 1, its gradient 2 alpha l' row."""
    pairs = Pairs.of(torch.tensor([[[2.0], [1.0]]], dtype=torch.float64), torch.tensor([[0, 1]]), 2)
    one = StochasticLearner(pairs, "dpo", BoundConstants.of(pairs, "dpo", 1.0))
    state = one.start(torch.tensor([1 / (2 * math.log(2))], dtype=torch.float64))
    gradient, state = one.draw(torch.zeros(1, 1, dtype=torch.float64), state, torch.tensor([0]))
    alpha = math.e / (math.e + 1)
    assert state["log_group"].exp()[0].tolist() == pytest.approx([alpha, 1 - alpha])
    assert gradient.item() == pytest.approx(2 * alpha * -0.5 * 2)


def test_projection():
    far = torch.tensor([[3.0, 4.0], [0.3, 0.4], [0.0, 0.0]])
    assert projected(far, 1.0).flatten().tolist() == pytest.approx([0.6, 0.8, 0.3, 0.4, 0.0, 0.0])


def test_every_iterate_stays_in_the_ball(learner, monkeypatch):
    from pipeline_core.studies.log_linear import algorithm_1 as ops

    norms = []

    def watched(theta, radius):
        inside = projected(theta, radius)
        norms.append((theta.norm(dim=-1).max().item(), inside.norm(dim=-1).max().item()))
        return inside

    monkeypatch.setattr(ops, "projected", watched)
    large = BoundConstants(RADIUS, *(x / 200 for x in (learner.constants.gradient, learner.constants.loss)),
                      imbalance=learner.constants.imbalance, groups=2)  # fmt: skip
    average = StochasticLearner(learner.pairs, learner.family, large).run(drawn_pairs((0, 1) * 2, 60, 300))
    assert max(norms)[0] > RADIUS, "the steps are large enough to leave it"
    assert max(inside for _, inside in norms) <= RADIUS * (1 + 1e-12)
    assert average.norm(dim=-1).max() <= RADIUS


def test_the_average_is_of_the_iterates_at_which_gradients_are_taken():
    pairs = Pairs.of(torch.tensor([[[0.5], [0.5]]], dtype=torch.float64), torch.tensor([[0, 1]]), 2)
    one = StochasticLearner(pairs, "dpo", BoundConstants.of(pairs, "dpo", 1.0))
    draws = torch.tensor([[0], [1]])
    descent, ascent = one.constants.step_sizes(2)
    first, _ = one.draw(torch.zeros(1, 1, dtype=torch.float64), one.start(ascent), draws[0])
    after_one = -descent * first
    assert one.run(draws).item() == pytest.approx(after_one.item() / 2)


def test_the_constants_bound_every_pair_in_the_ball(learner):
    generator = torch.manual_seed(1)
    for _ in range(200):
        theta = torch.randn(len(learner.pairs.size), 1, 4, dtype=torch.float64, generator=generator)
        theta *= RADIUS / theta.norm(dim=-1, keepdim=True)
        margin = learner.pairs.margins(theta)[:, 0]
        steep = slope(learner.family, margin).abs() * learner.pairs.difference.norm(dim=-1)
        assert (steep.amax(-1) <= learner.constants.gradient + 1e-12).all()
        assert (pair_losses(loss_of(learner.family), margin).amax(-1) <= learner.constants.loss + 1e-12).all()


def test_bound_and_step_sizes_by_hand():
    one = torch.ones(1, dtype=torch.float64)
    constants = BoundConstants(radius=2.0, gradient=3 * one, loss=5 * one, imbalance=4 * one, groups=2)
    log2 = math.log(2)
    inside = 4 * 9 + 2 * 25 * log2
    assert constants.bound(1000).item() == pytest.approx(2 * math.sqrt(10 * 4 * inside / 1000))
    descent, ascent = constants.step_sizes(1000)
    assert descent.item() == pytest.approx(8 * 2 / math.sqrt(8 * inside * 5000))
    assert ascent.item() / descent.item() == pytest.approx(log2 / 4)


@pytest.mark.parametrize("radius", [0.5, 40.0])
def test_the_minimum_is_that_of_another_solver(learner, radius):
    loss, found = loss_of(learner.family), least_worst_loss(learner.pairs, learner.family, radius)
    for index in (0, 3):
        pairs = repeated(learner.pairs, index, 1)

        def losses(theta, pairs=pairs):
            return group_losses(torch.from_numpy(np.asarray(theta))[None, None], pairs, loss)[0, 0].numpy()

        limits = [NonlinearConstraint(lambda z: z[-1] - losses(z[:-1]), 0, np.inf),
                  NonlinearConstraint(lambda z: radius**2 - z[:-1] @ z[:-1], 0, np.inf)]  # fmt: skip
        start = np.append(np.zeros(4), losses(np.zeros(4)).max() + 0.1)
        other = minimize(lambda z: z[-1], start, method="SLSQP", constraints=limits, options={"ftol": 1e-12})
        assert found[0][index].item() == pytest.approx(other.fun, abs=2e-6)


def test_the_barriers_derivatives(learner):
    barrier = Barrier(learner.pairs, learner.family, RADIUS)
    theta = torch.tensor([0.3, -1.0, 0.8, 0.5], dtype=torch.float64).expand(4, -1)
    point = torch.cat([theta, barrier.losses(theta).amax(-1, keepdim=True) + 0.7], -1)
    gradient, hessian = barrier.derivatives(2.0, point)

    def total(at):
        return barrier.value(2.0, at).sum()

    torch.testing.assert_close(gradient, torch.func.grad(total)(point), rtol=1e-10, atol=1e-12)
    every = torch.func.hessian(total)(point)
    torch.testing.assert_close(hessian, torch.stack([every[i, :, i] for i in range(4)]), rtol=1e-10, atol=1e-12)


def test_no_point_of_the_ball_can_be_better(learner):
    """By convexity, for weights a and any theta in the ball, L_a(theta) >= L_a(t) - <g, t> - radius |g|."""
    value, theta = least_worst_loss(learner.pairs, learner.family, RADIUS)
    assert (theta.norm(dim=-1) <= RADIUS).all()
    free = theta.clone().requires_grad_()
    loss_WG = group_losses(free[:, None], learner.pairs, loss_of(learner.family))[:, 0]
    slopes = torch.stack([torch.autograd.grad(loss_WG[:, g].sum(), free, retain_graph=True)[0] for g in (0, 1)])
    weights = torch.linspace(0, 1, 20_001, dtype=torch.float64)[:, None]
    for index in range(len(value)):
        mixed = weights * slopes[0, index] + (1 - weights) * slopes[1, index]
        level = weights[:, 0] * loss_WG[index, 0] + (1 - weights[:, 0]) * loss_WG[index, 1]
        lower = (level - mixed @ theta[index] - RADIUS * mixed.norm(dim=-1)).max()
        assert -1e-12 <= (value[index] - lower).item() < 1e-4 * value[index].item()


@pytest.fixture(scope="module")
def reported(settings, worlds):
    """Runs of 101 and 320 steps on two maps, two scenarios and two seeds."""
    asked = replace(settings, methods=("gr_dpo", "gr_ipo"), algorithm_1=320, radius=RADIUS)
    return run_stochastic(asked, worlds, solve_minima(asked, worlds))[0]


def test_what_is_reported_is_what_the_learner_does(reported, settings, worlds):
    places = [(f, s) for f in settings.features for s in settings.scenarios]
    expected = [(method, *place) for method in ("gr_dpo", "gr_ipo") for place in places]
    assert [(one.method, one.features, one.scenario) for one in reported] == expected
    for one in reported:
        first, family = 2 * places.index((one.features, one.scenario)), one.method[-3:]
        pairs = worlds.part(slice(first, first + 2)).training
        constants, (minimum, _) = BoundConstants.of(pairs, family, RADIUS), least_worst_loss(pairs, family, RADIUS)
        learner = StochasticLearner(pairs, family, constants)
        assert (one.steps, one.n_seeds, one.radius) == ([101, 320], 2, RADIUS)
        assert one.minimum == pytest.approx(minimum.mean().item(), abs=1e-7)
        assert (one.gradient_bound, one.loss_bound) == pytest.approx(
            (constants.gradient.mean().item(), constants.loss.mean().item())
        )
        logs = []
        for steps, gap, bound in zip(one.steps, one.gap, one.bound, strict=True):
            gaps = learner.worst_loss(learner.run(drawn_pairs((0, 1), steps, 300))) - minimum
            assert gap.mean == pytest.approx(gaps.mean().item(), abs=1e-7)
            assert gap.se == pytest.approx((gaps[0] - gaps[1]).abs().item() / 2, abs=1e-7)
            assert bound == pytest.approx(constants.bound(steps).mean().item())
            logs.append(gaps.log())
        slopes = (logs[1] - logs[0]) / math.log(320 / 101)
        assert one.slope.mean == pytest.approx(slopes.mean().item(), rel=1e-5)
        assert one.slope.se == pytest.approx((slopes[0] - slopes[1]).abs().item() / 2, rel=1e-4)
        assert one.slope_all == one.slope


def test_slopes_by_hand():
    """Gaps c T^-1/2 and c T^-0.3; the first length, off the line, is before the last decade."""
    steps = [10, 100, 316, 1000]
    exponents, factors = np.array([-0.5, -0.3]), np.array([7.0, 0.2])
    gaps = factors * np.array(steps, dtype=float)[:, None] ** exponents
    assert slope_of(steps, gaps, 0) == SeedMean(pytest.approx(-0.4), pytest.approx(0.1))
    gaps[0] *= 3
    assert slope_of(steps, gaps, 100) == SeedMean(pytest.approx(-0.4), pytest.approx(0.1))
    assert slope_of(steps, gaps, 0).mean < -0.45
    assert slope_of(steps, gaps, 1000) is None


def test_all_of_algorithm_1_is_tracked(reported):
    tracked = Recorder()
    log_stochastic(reported, tracked)
    one = reported[0]
    prefix = "swapped/uneven-balanced/gr_dpo/algorithm 1"
    mine = {name.removeprefix(f"{prefix}/"): value for name, value in tracked.metrics.items() if prefix in name}
    constants = {name: {0: getattr(one, name)} for name in ("minimum", "gradient_bound", "loss_bound")}
    slopes = {"slope": {0: one.slope.mean}, "slope_se": {0: one.slope.se}}
    slopes |= {"slope_all": {0: one.slope_all.mean}, "slope_all_se": {0: one.slope_all.se}}
    curves = {
        "gap": dict(zip(one.steps, [gap.mean for gap in one.gap], strict=True)),
        "gap_se": dict(zip(one.steps, [gap.se for gap in one.gap], strict=True)),
        "bound": dict(zip(one.steps, one.bound, strict=True)),
    }
    assert mine == constants | slopes | curves
    assert len(tracked.metrics) == len(mine) * len(reported)


def test_a_minimum_that_is_not_found_is_bad_input_before_training(settings, worlds, monkeypatch):
    def fails(*_):
        raise ValueError("not found")

    monkeypatch.setattr(log_linear_stochastic, "least_worst_loss", fails)
    with pytest.raises(BadInput, match="radius: 5 leaves Algorithm 1 without its minimum: not found"):
        solve_minima(replace(settings, algorithm_1=100), worlds)
    monkeypatch.setattr(log_linear, "train_family", pytest.fail)
    with pytest.raises(BadInput):
        log_linear.compute(replace(settings, algorithm_1=100))


@pytest.mark.parametrize("radius", RADII)
def test_the_smallest_and_the_largest_ball_can_be_solved(worlds, radius):
    for family in BOTH:
        value, theta = least_worst_loss(worlds.training, family, radius)
        assert value.isfinite().all()
        assert (theta.norm(dim=-1) <= radius).all()


def test_draws_are_of_the_seed_and_the_length_alone():
    together = drawn_pairs((0, 1, 2), 50, 300)
    assert together[:, 1].tolist() == drawn_pairs((1,), 50, 300)[:, 0].tolist()
    assert (together.min() >= 0) & (together.max() < 300)


def test_the_gap_falls_and_stays_below_the_bound(learner):
    minimum, _ = least_worst_loss(learner.pairs, learner.family, RADIUS)
    gaps = {
        count: learner.worst_loss(learner.run(drawn_pairs((0, 1) * 2, count, 300))) - minimum for count in (50, 500)
    }
    for count, gap in gaps.items():
        assert (gap >= -1e-7).all()
        assert (gap <= learner.constants.bound(count)).all()
    assert gaps[500].mean() < 0.8 * gaps[50].mean()
