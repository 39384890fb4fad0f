"""Half precision on the CPU: where policy and reference agree, what autocast must not span, what a merge must keep."""

import math
from dataclasses import replace

import pytest
import torch

from pipeline_core.losses.advantages import cohort_relative
from pipeline_core.losses.groups import uniform
from pipeline_core.losses.preference import logistic_loss
from pipeline_core.models.adapters import LoraSettings
from pipeline_core.models.collation import collate
from pipeline_core.models.completions import completion_logps
from pipeline_core.models.loading import load_model, load_tokenizer, load_trainable, save_model
from pipeline_core.rewards.memory import Timed
from pipeline_core.training.online.collecting import WeightedRewards
from pipeline_core.training.online.experience import distinct_prompts
from pipeline_core.training.online.surrogate import SurrogateLearner
from pipeline_core.training.online.surrogate_settings import SurrogateConfig
from pipeline_core.training.online.train import fixed_reference, run_online
from pipeline_core.training.optimizer import autocast
from pipeline_core.training.preference.encoded_rows import Objective, encode_rows
from pipeline_core.training.preference.rows import train_rows
from pipeline_core.training.preference.settings import PreferenceConfig
from pipeline_core.training.preference.train import train_preferences
from tests.training.tiny import TinyInputs, pairs, reward, write_model

PRECISIONS = ("float32", "bfloat16")
ADAPTERS = (None, LoraSettings(r=2))


def row_settings(**values):
    return PreferenceConfig(name="x", **{"batch_size": 24, "steps": 1, **values})


def online_settings(**values):
    small = {
        "steps": 1,
        "prompts_per_step": 4,
        "samples_per_prompt": 3,
        "sampling": {"max_new_tokens": 6},
        "learning_rate": 1e-2,
    }
    return SurrogateConfig(name="x", **{**small, **values})


def run(model, folder, chosen, context, reward_fn=reward):
    prompts, tokenizer = distinct_prompts(pairs(), "domain"), load_tokenizer(folder)
    learner, rewards = SurrogateLearner(cohort_relative(), chosen), WeightedRewards([Timed(reward_fn)], {"reward": 1.0})
    metrics, _ = run_online(model, tokenizer, prompts, rewards, learner, uniform(), chosen, context)
    return metrics


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("lora", ADAPTERS)
@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_the_policy_starts_at_its_reference(family, lora, precision, context, tmp_path):
    model = write_model(tmp_path / "model", family)
    (out := tmp_path / "out").mkdir()
    chosen = row_settings(lora=lora, precision=precision)
    train_preferences(TinyInputs(model), logistic_loss(1.0), uniform(), chosen, context, out)
    (first,) = context.events.history
    assert first["loss"] == pytest.approx(math.log(2), abs=1e-4)
    for name in ("margin", "chosen_log_ratio", "rejected_log_ratio"):
        assert first[name] == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("lora", ADAPTERS)
@pytest.mark.parametrize("apart", [False, True])
def test_the_reference_kept_beside_the_policy_agrees_with_it(model_folder, tmp_path, context, apart, lora, precision):
    other = write_model(tmp_path / "same weights") if apart else None
    chosen = online_settings(beta=0.1, lora=lora, precision=precision)
    policy = load_trainable(model_folder, "cpu", lora, 0, precision)
    batch = collate([[5, 6], [7]], [[8], [9, 10], [11, 12], [13]], 1, "cpu")
    reference = fixed_reference(policy, TinyInputs(model_folder, other_reference=other), chosen, context)(batch)
    with autocast(policy, chosen):
        logps, _ = completion_logps(policy, batch)
    assert torch.allclose(logps, reference, atol=1e-5)
    assert logps.dtype == reference.dtype == torch.float32


def test_every_update_of_a_rollout_runs_on_the_weights_of_the_one_before(model_folder, context):
    def mean_loss(updates):
        model = load_trainable(model_folder, "cpu", LoraSettings(r=4), 0)  # nothing but matrices, which autocast keeps
        chosen = online_settings(precision="bfloat16", updates_per_rollout=updates, schedule="constant")
        return run(model, model_folder, chosen, context)["loss"]

    assert mean_loss(1) == pytest.approx(0, abs=1e-5)  # every ratio is one, and advantages sum to zero
    assert mean_loss(2) < -0.025  # nothing at the first update, so twice that at the second


def test_old_log_probabilities_are_the_first_forward_pass_s_own(model_folder, context):
    model, _ = load_model(model_folder)
    still = online_settings(
        precision="bfloat16", updates_per_rollout=2, learning_rate=1e-30, clip_low=1e-4, clip_high=1e-4
    )
    metrics = run(model, model_folder, still, context)
    assert metrics["clip_share"] == 0  # the policy has not moved, however the sampler rounded


@pytest.mark.parametrize("weighted_by", ["none", "current"])
def test_backward_passes_run_outside_of_autocast(model_folder, context, weighted_by):
    chosen = row_settings(precision="bfloat16", batch_size=6, micro_batch_tokens=40)
    rows = encode_rows(load_tokenizer(model_folder), pairs(), ("chosen",), chosen)
    model = load_trainable(model_folder, "cpu", None, 0)
    forward, backward = [], []

    def said(part):
        forward.append(torch.is_autocast_enabled("cpu"))
        batch = collate([rows.prompts[row] for row in part], [rows.completions[row][0] for row in part], 1, "cpu")
        loss_B = completion_logps(model, batch)[0].sum(1)
        if loss_B.requires_grad:
            loss_B.register_hook(lambda _: backward.append(torch.is_autocast_enabled("cpu")))
        return loss_B, torch.zeros(0, len(part))

    weighting = replace(uniform(), losses=weighted_by)
    train_rows(model, rows, Objective(said, lambda one, _: one, ()), weighting, chosen, context)
    assert forward and all(forward)
    assert backward and not any(backward)


def test_rewards_are_asked_outside_of_autocast(model_folder, context):
    seen = []

    def asked(prompts, texts):
        seen.append(torch.is_autocast_enabled("cpu"))
        return torch.zeros(len(texts))

    run(load_model(model_folder)[0], model_folder, online_settings(precision="bfloat16"), context, asked)
    assert seen == [False]


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_small_updates_survive_the_merge_and_the_base_keeps_its_digits(family, tmp_path):
    folder, out = write_model(tmp_path / "model", family), tmp_path / "out"
    model = load_trainable(folder, "cpu", LoraSettings(r=2), 0, "bfloat16")
    assert model.dtype == torch.bfloat16
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            weight.data.fill_(1e-4)
    deltas = {
        name.removeprefix("base_model.model."): module.get_delta_weight("default")
        for name, module in model.named_modules()
        if hasattr(module, "get_delta_weight")
    }
    save_model(model, load_tokenizer(folder), out)
    before, after = (load_model(path, precision="float32")[0].state_dict() for path in (folder, out))
    assert {weight.dtype for weight in load_model(out, precision="float32")[0].parameters()} == {torch.float32}
    for name, weight in before.items():
        delta = deltas.get(name.removesuffix(".weight"), torch.zeros(()))
        assert torch.allclose(after[name], weight + delta, rtol=0, atol=1e-7), name
    assert max(delta.abs().max() for delta in deltas.values()) < 2**-10
