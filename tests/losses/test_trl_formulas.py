"""Losses and gradients of GRPO and its recipes against TRL's own function, on fixed log-probabilities.

Runs where `trl` is installed, which Evenhand does not need. What stands in for the trainer holds settings and the
log-probabilities; the formula is TRL's.
"""

from collections import defaultdict
from types import SimpleNamespace

import pytest
import torch

from pipeline_core.losses.policy_gradient import clipped_surrogate, kl_estimate, log_ratios, token_weights
from plugins.policy.grpo import GrpoConfig

trl = pytest.importorskip("trl", reason="trl is not installed")

LOSS = {"grpo": "grpo", "dr_grpo": "dr_grpo", "dapo": "dapo", "gspo": "grpo"}
MOST = 7


def batch(seed):
    generator = torch.Generator().manual_seed(seed)
    draw = {name: -torch.rand(6, MOST, generator=generator).double() * 4 for name in ("now", "old", "reference")}
    draw["old"] = draw["now"] + 0.4 * torch.randn(6, MOST, generator=generator).double()
    length = torch.randint(1, MOST + 1, (6,), generator=generator)
    mask = (torch.arange(MOST) < length[:, None]).long()
    return draw, mask, torch.randn(6, generator=generator).double()


def of_trl(config, draw, mask, advantages):
    logps = draw["now"].clone().requires_grad_()
    one = SimpleNamespace(
        num_processes=1,
        gather=lambda value: value,
        reduce=lambda value, reduction: value,
        sync_gradients=True,
    )
    trainer = SimpleNamespace(
        _get_per_token_logps_and_entropies=lambda *_, **__: (logps, torch.zeros_like(logps), None),
        args=SimpleNamespace(use_bias_correction_kl=False, delta=None, steps_per_generation=1),
        model=SimpleNamespace(training=True),
        accelerator=one,
        loss_type=LOSS[config.recipe],
        importance_sampling_level=config.ratio,
        beta=config.beta,
        epsilon_low=config.clip_low,
        epsilon_high=config.clip_high,
        max_completion_length=config.sampling.max_new_tokens,
        top_entropy_quantile=1.0,
        off_policy_mask_threshold=None,
        use_vllm=False,
        aux_loss_enabled=False,
        _entropy_bonus_enabled=False,
        current_gradient_accumulation_steps=1,
        _metrics=defaultdict(lambda: defaultdict(list)),
    )
    ids = torch.zeros_like(mask)
    inputs = {
        "prompt_ids": ids,
        "prompt_mask": ids,
        "completion_ids": ids,
        "completion_mask": mask,
        "advantages": advantages,
        "old_per_token_logps": draw["old"],
        "ref_per_token_logps": draw["reference"],
        "num_items_in_batch": mask.sum(),
    }
    loss = trl.GRPOTrainer._compute_loss(trainer, None, inputs)
    loss.backward()
    return loss.item(), logps.grad


def of_ours(config, draw, mask, advantages):
    logps = draw["now"].clone().requires_grad_()
    ratio = log_ratios(logps, draw["old"], mask, config.ratio)
    loss, _ = clipped_surrogate(ratio, advantages[:, None], config.clip_low, config.clip_high)
    loss = loss + config.beta * kl_estimate(logps, draw["reference"], config.kl_estimator)
    sizes = {"rows": len(mask), "tokens": int(mask.sum()), "max_length": config.sampling.max_new_tokens}
    total = (loss * token_weights(mask, config.aggregation, **sizes)).sum()
    total.backward()
    return total.item(), logps.grad


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("beta", [0.0, 0.04])
@pytest.mark.parametrize("recipe", LOSS)
def test_recipes_have_trls_losses_and_gradients(recipe, beta, seed):
    config = GrpoConfig(recipe=recipe, beta=beta, sampling={"max_new_tokens": MOST}, overlong_margin=None)
    given = batch(seed)
    (theirs, their_gradient), (ours, our_gradient) = of_trl(config, *given), of_ours(config, *given)
    # Ours weighs tokens in single precision.
    assert ours == pytest.approx(theirs, rel=1e-6, abs=1e-8)
    assert torch.allclose(our_gradient, their_gradient, rtol=1e-6, atol=1e-8)
    assert our_gradient.abs().sum() > 0
