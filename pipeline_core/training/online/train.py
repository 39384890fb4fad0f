"""Online training: sample, score, compute advantages, update. A learner defines the losses."""

from __future__ import annotations

import json
from contextlib import closing, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from pipeline_core.evaluation.item_counts import ITEMS, TRAINING
from pipeline_core.losses.groups import Weighting
from pipeline_core.losses.terms import checked
from pipeline_core.models.collation import Completions
from pipeline_core.models.completions import completion_logps
from pipeline_core.models.distributed import all_reduce_sum
from pipeline_core.models.loading import load_model, load_tokenizer, load_trainable, save_model, weights_precision
from pipeline_core.models.tokens.prompts import as_rendered
from pipeline_core.rewards.memory import Timed
from pipeline_core.training.online.collecting import Collector, WeightedRewards
from pipeline_core.training.online.engines import Engine, OwnEngine, engine_of
from pipeline_core.training.online.experience import Prompts, distinct_prompts, kept_samples, weighed
from pipeline_core.training.online.health import Health
from pipeline_core.training.online.learner import Learner, Minibatch, ReferenceLogps, UpdateContext
from pipeline_core.training.online.retention import RetentionLoss
from pipeline_core.training.online.settings import OnlineConfig
from pipeline_core.training.optimizer import Training, autocast
from pipeline_core.training.row_counts import prompt_counts

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from pipeline_core.plugin.context import Inputs, StageContext
    from pipeline_core.plugin.types import Metrics


LOGGED = ("loss", "grad_norm", "learning_rate", "kl", "entropy", "completion_length", "ended_share", "pairs")
"""Metrics of a step whose names have no slash."""
EXTRA = "extra."
"""Prefix of the names of weights that a learner trains besides the policy's."""


def train_online(inputs: Inputs, learner: Learner, settings: OnlineConfig, context: StageContext, out: Path) -> Metrics:
    """Train `inputs.model` on its own completions of the prompts in `inputs.preferences`, scored by reward artifacts.

    Saves the model, `history.jsonl` and `samples.jsonl` in `out`; returns the metrics of the last steps.
    """
    tokenizer = load_tokenizer(inputs.model)
    model = load_trainable(inputs.model, context.device, settings.lora, context.seed, settings.precision)
    skip = settings.bad_rewards == "skip"
    timed = [Timed(function) for function in inputs.reward_fns(context.device, settings.rewards, skip=skip)]
    prompts = distinct_prompts(inputs.preferences, settings.group_by)
    counts = prompt_counts(tokenizer, prompts.texts, settings.max_prompt_tokens, settings.rendered)
    if settings.rendered:
        prompts = replace(prompts, texts=as_rendered(prompts.texts))
    retention = settings.retention
    retention_loss = None
    if retention:
        table = inputs.data(retention.data)
        retention_loss = RetentionLoss(model, tokenizer, table, retention, settings, context.seed)
        counts[f"{TRAINING}{ITEMS}cut_retention_rows"] = float(retention_loss.cut)
    watched = learner.needs_reference or settings.stop.kl is not None
    with closing(engine_of(inputs.model, model, tokenizer, settings, context.seed)) as engine:
        metrics, samples = run_online(
            model,
            tokenizer,
            prompts,
            WeightedRewards(timed, settings.rewards or {"reward": 1.0}),
            learner,
            settings.weighting(),
            settings,
            context,
            reference=fixed_reference(model, inputs, settings, context) if watched else None,
            retention_loss=retention_loss,
            engine=engine,
        )
    if context.is_main:
        save_model(model, tokenizer, out)
        context.events.write_history(out)
        lines = "".join(json.dumps(sample, ensure_ascii=False) + "\n" for sample in samples)
        (out / "samples.jsonl").write_text(lines, encoding="utf-8")
    return metrics | counts


def run_online(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Prompts,
    rewards: WeightedRewards,
    learner: Learner,
    weighting: Weighting,
    settings: OnlineConfig,
    context: StageContext,
    *,
    reference: ReferenceLogps | None = None,
    retention_loss: RetentionLoss | None = None,
    engine: Engine | None = None,
) -> tuple[Metrics, list[dict[str, Any]]]:
    """The training loop; returns the metrics of the last steps and the kept samples. Default `engine`: the policy."""
    checked(learner.terms, (*LOGGED, *learner.figures))
    engine = engine or OwnEngine(model, tokenizer, settings, context.seed)
    extra = learner.extra()
    training = Training(
        # The names of a learner's weights begin with `EXTRA`, by which `Training` clips and paces them separately.
        model if extra is None else nn.ModuleDict({"policy": model, EXTRA.rstrip("."): extra}),
        settings,
        settings.steps,
        context,
        checked=True,
        rate_factors={EXTRA: learner.extra_rate_factor},
        apart=EXTRA,
    )
    kept = training.resume()
    if kept:
        learner.resume(kept["learner"])
    state = kept["weighting"] if kept else weighting.init(prompts.membership_NG.sum(0), prompts.domain_G)
    samples: list[dict[str, Any]] = kept.get("samples", [])
    collector = Collector(prompts, engine.sample, rewards, settings, context.seed, kept.get("rounds", 0))
    health = Health(settings, kept.get("flat_steps", 0), kept.get("unscored_steps", 0))
    update_context = UpdateContext(model, reference, settings, tokenizer.pad_token_id or 0)
    updates = settings.updates_per_rollout * settings.minibatches
    while training.step < training.total:
        engine.sync_weights()
        collected = collector.collect()
        experience, scores, state = weighed(collected, collector.labels, prompts, weighting, state)
        minibatches, advantage_B, learner_metrics = learner.prepare(experience, update_context)
        metrics = collected.metrics | scores | learner_metrics
        taken: list[dict[str, Tensor | float]] = []
        for number in range(updates):
            minibatch = minibatches[number % settings.minibatches]
            if not (minibatch.rows or retention_loss):  # only momentum would move the weights
                taken.append({"loss": 0.0, "grad_norm": 0.0})
                continue
            seen = backward(minibatch, learner, update_context)
            if retention_loss:
                # Rows follow from the number of the update, so that a resumed training takes the next ones.
                seen["retention/loss"] = all_reduce_sum(retention_loss.backward(training.step * updates + number))
            seen["grad_norm"] = training.update()
            taken.append(seen)
        metrics |= _means(taken)
        rows = sum(minibatch.rows for minibatch in minibatches)
        learner.finish(metrics, rows)
        health.check(metrics, training.step + 1)  # before `end_step`, which would save the collapsed policy
        if context.is_main and training.step % settings.samples_every == 0:
            shown = kept_samples(experience, advantage_B, training.step + 1)
            samples = samples + shown
            context.events.log_rows("samples", shown)
        tokens = sum(minibatch.tokens for minibatch in minibatches)
        state_of_loop = {
            "weighting": state,
            "samples": samples,
            "rounds": collector.rounds,
            "flat_steps": health.flat_steps,
            "unscored_steps": health.unscored_steps,
            "learner": learner.state(),
        }
        training.end_step(metrics | rewards.speed(), tokens, state_of_loop)
    return training.summary(), samples


def backward(minibatch: Minibatch, learner: Learner, context: UpdateContext) -> dict[str, Tensor | float]:
    """Add the gradient of this process's passes; returns metrics over all processes, means over tokens.

    No operation waits for the device.
    """
    total = torch.zeros((), dtype=torch.float64, device=context.device)
    sums: dict[str, Tensor] = {}
    for part in minibatch.passes:
        loss, seen = learner.loss(part, minibatch, context)
        loss.backward()
        total += loss.detach().double()
        for name, value in seen.items():
            sums[name] = sums.get(name, torch.zeros_like(total)) + value.detach().double()
    names = (*learner.figures, *(term.name for term in learner.terms))
    # A process without passes has no sums, but sends as many numbers.
    stacked = all_reduce_sum(torch.stack([total, *(sums.get(name, torch.zeros_like(total)) for name in names)]))
    if not minibatch.seen:
        return {"loss": stacked[0]}
    figures = {name: value / minibatch.seen for name, value in zip(names, stacked[1:], strict=True)}
    return {"loss": stacked[0], **figures}


def _means(taken: list[dict[str, Tensor | float]]) -> dict[str, Tensor | float]:
    """Mean of each metric over the updates of a rollout."""
    values = {name: [update[name] for update in taken if name in update] for update in taken for name in update}
    return {name: sum(known) / len(known) for name, known in values.items()}


def fixed_reference(
    model: PreTrainedModel, inputs: Inputs, settings: OnlineConfig, context: StageContext
) -> ReferenceLogps:
    """Frozen reference: the policy without its adapters if that is the reference, else a separate model.

    Precision of weights and forward passes is the policy's, so that both agree at the start.
    """
    adapted: Any = model
    own = settings.lora is not None and inputs.reference == inputs.model
    weights = weights_precision(settings.lora, settings.precision)
    fixed = model if own else load_model(inputs.reference, context.device, weights)[0]

    @torch.no_grad()
    def logps(batch: Completions) -> Tensor:
        with adapted.disable_adapter() if own else nullcontext(), autocast(fixed, settings):
            return completion_logps(fixed, batch, settings.sampling.temperature)[0]

    return logps
