"""Learning from the policy's own samples: any credit under the clipped surrogate, any group weighting."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pipeline_core.distributed import all_reduce_sum, shard
from pipeline_core.loops.batching import Batches, micro_batches
from pipeline_core.loops.completions import Completions, collate, completion_logps
from pipeline_core.loops.experience import (
    Experience,
    Prompts,
    Totals,
    assign_credit,
    distinct_prompts,
    kept_samples,
    sample_and_score,
)
from pipeline_core.loops.training import Training, autocast
from pipeline_core.modeling import load_model, load_tokenizer, load_trainable, save_model, weights_precision
from pipeline_core.ops.advantages import Credit
from pipeline_core.ops.groups import State, Weighting
from pipeline_core.ops.policy_gradient import clipped_surrogate, k3, token_weights
from pipeline_core.rewards.memory import Timed

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from pipeline_core.context import Inputs, StageContext
    from pipeline_core.hyperparameters import OnlineConfig
    from pipeline_core.specs import Metrics, RewardFn

ReferenceLogps = Callable[[Completions], Tensor]
"""Completions to their log-probabilities (B, T) under the fixed reference, without gradient."""


@dataclass
class Pass:
    """A part of the experience that fits one forward and backward pass.

    The first forward pass leaves its log-probabilities as the old ones of later updates. Those of the sampler would
    not do: a step by step decoding rounds differently, and in bfloat16 that alone moves the ratios.
    """

    batch: Completions
    advantages_B1: Tensor
    reference_logps_BT: Tensor | None
    old_logps_BT: Tensor | None = None


def train_online(
    inputs: Inputs, credit: Credit, weighting: Weighting, settings: OnlineConfig, context: StageContext, out: Path
) -> Metrics:
    """Train `inputs.model` on its own completions of the prompts in `inputs.preferences`, by the reward artifact.

    Saves the model, `history.jsonl` and `samples.jsonl` in `out`; returns the metrics of the last steps.
    """
    tokenizer = load_tokenizer(inputs.model)
    model = load_trainable(inputs.model, context.device, settings.lora, context.seed, settings.precision)
    metrics, samples = run_online(
        model,
        tokenizer,
        distinct_prompts(inputs.preferences, settings.group_by),
        inputs.reward_fn(context.device),
        credit,
        weighting,
        settings,
        context,
        reference=_reference(model, inputs, settings, context) if settings.beta else None,
    )
    if context.is_main:
        save_model(model, tokenizer, out)
        context.events.write_history(out)
        lines = "".join(json.dumps(sample, ensure_ascii=False) + "\n" for sample in samples)
        (out / "samples.jsonl").write_text(lines, encoding="utf-8")
    return metrics


def run_online(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Prompts,
    reward_fn: RewardFn,
    credit: Credit,
    weighting: Weighting,
    settings: OnlineConfig,
    context: StageContext,
    *,
    reference: ReferenceLogps | None = None,
) -> tuple[Metrics, list[dict[str, Any]]]:
    """The loop: sample, score, credit, update. Gives the metrics of the last steps and the samples kept."""
    batches = Batches([1] * len(prompts.texts), settings.prompts_per_step, context.seed, bucketed=False)
    training = Training(model, settings, settings.steps, context, checked=True)
    extra = training.resume()
    state: State = extra.get("weighting") or weighting.init(prompts.membership_NG.sum(0), prompts.domain_G)
    samples: list[dict[str, Any]] = extra.get("samples", [])
    timed = Timed(reward_fn)
    while training.step < training.total:
        first = training.step * settings.prompts_per_step
        numbered = shard(list(enumerate(batches.at(training.step), first)))
        numbers, rows = [number for number, _ in numbered], [row for _, row in numbered]
        texts = [prompts.texts[row] for row in rows]
        rollout, rewards_PS = sample_and_score(model, tokenizer, texts, numbers, timed, settings, context.seed)
        experience, totals, metrics, state = assign_credit(rollout, rewards_PS, prompts, rows, credit, weighting, state)
        passes = cut_passes(experience, reference, settings, tokenizer.pad_token_id or 0, model.device)
        for _ in range(settings.updates_per_rollout):
            metrics |= backward(model, passes, totals, settings)
            metrics["grad_norm"] = training.update()
        metrics |= timed.speed()
        if context.is_main and training.step % settings.samples_every == 0:
            samples = samples + kept_samples(experience, training.step + 1)
        training.end_step(metrics, totals.tokens, {"weighting": state, "samples": samples})
    return training.summary(), samples


def cut_passes(
    experience: Experience,
    reference: ReferenceLogps | None,
    settings: OnlineConfig,
    pad_id: int,
    device: torch.device,
) -> list[Pass]:
    """Cohorts in passes of at most `micro_batch_tokens`. Without a KL penalty those without any advantage are left
    out, which changes no gradient: means still divide by the counts of the whole step.
    """
    rollout, size = experience.rollout, experience.rollout.samples_per_prompt
    taught = experience.advantages.ne(0).any(1).tolist()
    cohorts = [prompt for prompt in range(len(rollout.prompts)) if taught[prompt] or reference is not None]
    longest = [max(map(len, rollout.completion_ids[p * size : (p + 1) * size])) for p in range(len(rollout.prompts))]
    parts = [(len(ids), size * most) for ids, most in zip(rollout.prompt_ids, longest, strict=True)]
    passes = []
    for part in micro_batches(cohorts, parts, settings.micro_batch_tokens):
        rows = [prompt * size + sample for prompt in part for sample in range(size)]
        prompts, completions = [rollout.prompt_ids[p] for p in part], [rollout.completion_ids[row] for row in rows]
        batch = collate(prompts, completions, pad_id, device)
        advantages_B1 = experience.advantages[part].reshape(-1, 1).to(device)
        passes.append(Pass(batch, advantages_B1, reference(batch) if reference else None))
    return passes


def backward(
    model: PreTrainedModel, passes: Sequence[Pass], totals: Totals, settings: OnlineConfig
) -> dict[str, Tensor | float]:
    """Add the gradient of this process's `passes`; metrics over all processes. Nothing here waits for the device.

    `clip_share` and `kl` are means over all tokens of the step: those of a pass left out are neither clipped nor, as
    there is a KL penalty only where none is left out, missing.
    """
    sums = torch.zeros(3, dtype=torch.float64, device=model.device)
    for part in passes:
        mask_BT = part.batch.mask_BT
        with autocast(model, settings):
            logps_BT, _ = completion_logps(model, part.batch, settings.temperature)
        if part.old_logps_BT is None:
            part.old_logps_BT = logps_BT.detach()
        loss_BT, clipped_BT = clipped_surrogate(
            logps_BT, part.old_logps_BT, part.advantages_B1.to(logps_BT), settings.clip_low, settings.clip_high
        )
        kl_BT = torch.zeros_like(loss_BT)
        if part.reference_logps_BT is not None:
            kl_BT = k3(logps_BT, part.reference_logps_BT)
        weight_BT = token_weights(
            mask_BT, settings.aggregation, rows=totals.rows, tokens=totals.tokens, max_length=settings.max_new_tokens
        )
        loss = ((loss_BT + settings.beta * kl_BT) * weight_BT).sum()
        loss.backward()
        seen = (loss, (clipped_BT * mask_BT).sum(), (kl_BT * mask_BT).sum())
        sums += torch.stack([value.detach().double() for value in seen])
    loss, clipped, kl = all_reduce_sum(sums)
    metrics: dict[str, Tensor | float] = {"loss": loss, "clip_share": clipped / totals.tokens}
    return metrics | ({"kl": kl / totals.tokens} if settings.beta else {})


def _reference(model: PreTrainedModel, inputs: Inputs, settings: OnlineConfig, context: StageContext) -> ReferenceLogps:
    """The policy with its adapters switched off where that is the reference, else a frozen model beside it.

    Either way in the policy's weights and arithmetic, so that both agree where it starts.
    """
    adapted: Any = model
    own = settings.lora is not None and inputs.reference == inputs.model
    weights = weights_precision(settings.lora, settings.precision)
    fixed = model if own else load_model(inputs.reference, context.device, weights)[0]

    @torch.no_grad()
    def logps(batch: Completions) -> Tensor:
        with adapted.disable_adapter() if own else nullcontext(), autocast(fixed, settings):
            return completion_logps(fixed, batch, settings.temperature)[0]

    return logps
