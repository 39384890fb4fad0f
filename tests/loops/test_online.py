import json
import math

import pytest
import torch

from pipeline_core.errors import BadInput
from pipeline_core.hyperparameters import OnlineConfig
from pipeline_core.loops.completions import collate, plain_completion_logps
from pipeline_core.loops.experience import assign_credit, distinct_prompts, sample_and_score
from pipeline_core.loops.online import _reference, backward, cut_passes, run_online, train_online
from pipeline_core.loops.training import Diverged
from pipeline_core.modeling import LoraSettings, load_model, load_trainable
from pipeline_core.ops.advantages import cohort_normalized
from pipeline_core.ops.groups import Weighting, uniform
from tests.loops.tiny import TinyInputs, pairs, reward, write_model


def settings(**values):
    small = {"steps": 3, "prompts_per_step": 4, "samples_per_prompt": 3, "max_new_tokens": 6, "learning_rate": 1e-3}
    return OnlineConfig(name="x", **{**small, **values})


def experience_of(model, tokenizer, chosen, reward_fn=reward, weighting=None):
    weighting = weighting or uniform()
    state = weighting.init(torch.ones(3, dtype=torch.float64), None)
    prompts = distinct_prompts(pairs(), "domain")
    rows = [0, 1, 2, 3]
    rollout, rewards = sample_and_score(
        model, tokenizer, [prompts.texts[row] for row in rows], rows, reward_fn, chosen, 7
    )
    return assign_credit(
        rollout,
        rewards,
        prompts,
        rows,
        cohort_normalized,
        weighting,
        state,
    )


def first_cohort_flat(prompts, texts):
    return torch.tensor([0.5 if row < 3 else sum(map(ord, text)) % 17 for row, text in enumerate(texts)])


def gradients(model):
    return {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None}


@pytest.mark.parametrize("aggregation", ["sequence", "token", "constant"])
@pytest.mark.parametrize("beta", [0.0, 0.3])
def test_gradient_equals_the_naive_one(model_folder, tmp_path, aggregation, beta):
    model, tokenizer = load_model(model_folder)
    frozen, _ = load_model(write_model(tmp_path / "other", "gpt2"))
    chosen = settings(aggregation=aggregation, beta=beta, temperature=0.9, micro_batch_tokens=50)
    experience, totals, metrics, _ = experience_of(model, tokenizer, chosen, first_cohort_flat)
    assert metrics["reward/zero_spread_share"] == pytest.approx(1 / 4)

    def fixed(batch):
        with torch.no_grad():
            return plain_completion_logps(frozen, batch, 0.9)[0]

    passes = cut_passes(experience, fixed if beta else None, chosen, 1, model.device)
    assert len(passes) > 1
    seen = backward(model, passes, totals, chosen)
    ours = gradients(model)

    model.zero_grad()
    rollout, loss = experience.rollout, torch.zeros(())
    tokens, rows = sum(map(len, rollout.completion_ids)), len(rollout.completion_ids)
    for row, ids in enumerate(rollout.completion_ids):
        batch = collate([rollout.prompt_ids[row // 3]], [ids], 1, "cpu")
        logps = plain_completion_logps(model, batch, 0.9)[0][0]
        log_ratio = fixed(batch)[0] - logps
        token_loss = -(logps - logps.detach()).exp() * experience.advantages.flatten()[row]
        token_loss = token_loss + beta * (log_ratio.exp() - log_ratio - 1)
        divisor = {"sequence": len(ids) * rows, "token": tokens, "constant": rows * 6}[aggregation]
        loss = loss + token_loss.sum() / divisor
    loss.backward()
    assert seen["loss"].item() == pytest.approx(loss.item(), abs=1e-5)
    for name, gradient in gradients(model).items():
        assert torch.allclose(ours[name], gradient, atol=1e-5 * max(1, gradient.abs().max())), name


def test_learns_and_leaves_its_samples(model_folder, context, tmp_path):
    (out := tmp_path / "out").mkdir()
    chosen = settings(steps=30, learning_rate=3e-3, samples_every=10, prompts_per_step=8, samples_per_prompt=4)
    metrics = train_online(TinyInputs(model_folder), cohort_normalized, uniform(), chosen, context, out)
    first = context.events.history[0]
    assert metrics["reward/mean"] > 2 * first["reward/mean"]
    assert first["loss"] == pytest.approx(0, abs=1e-5)  # on-policy cohort advantages sum to zero
    assert first["clip_share"] == 0
    assert "kl" not in first
    assert 0 < first["entropy"] < math.log(400)
    lines = [json.loads(line) for line in (out / "samples.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1] * 4 + [11] * 4 + [21] * 4
    assert lines[0]["reward"] == pytest.approx(reward([""], [lines[0]["completion"]]).item())
    assert sum(line["advantage"] for line in lines[:4]) == pytest.approx(0, abs=1e-4)
    assert {"model.safetensors", "history.jsonl", "samples.jsonl"} <= {file.name for file in out.iterdir()}


def test_a_gradient_that_is_not_finite_never_reaches_the_weights(model_folder, context):
    model, tokenizer = load_model(model_folder)
    prompts, asked = distinct_prompts(pairs(), "domain"), []

    def overflowing(_, texts):
        asked.append(1)
        return torch.arange(float(len(texts))) * (1e38 if len(asked) == 2 else 1)

    with pytest.raises(Diverged, match=r"grad_norm is (nan|inf) at step 2 of 3.*last good checkpoint is kept"):
        run_online(model, tokenizer, prompts, overflowing, lambda rewards: rewards, uniform(), settings(), context)
    assert all(weight.isfinite().all() for weight in model.parameters())
    assert [entry["step"] for entry in context.events.history] == [1]


def test_metrics_are_of_all_tokens_whatever_teaches(model_folder):
    model, tokenizer = load_model(model_folder)
    experience, totals, metrics, _ = experience_of(model, tokenizer, settings(), first_cohort_flat)
    logps = [
        row[: len(ids)] for row, ids in zip(experience.rollout.logps, experience.rollout.completion_ids, strict=True)
    ]
    assert metrics["entropy"] == pytest.approx(-torch.cat(logps).mean().item(), rel=1e-5)
    shares = []
    for beta in (0.0, 1e-9):
        chosen = settings(beta=beta, clip_low=1e-6, clip_high=1e-6)

        def start(batch):
            with torch.no_grad():
                return plain_completion_logps(model, batch)[0]

        passes = cut_passes(experience, start if beta else None, chosen, 1, model.device)
        for part in passes:
            part.old_logps_BT = start(part.batch) - 0.1 * part.advantages_B1.sign()
        shares.append(backward(model, passes, totals, chosen)["clip_share"].item())
    taught = sum(map(len, experience.rollout.completion_ids[3:]))
    assert shares == pytest.approx([taught / totals.tokens] * 2)


def test_equal_rewards_change_nothing(model_folder, context):
    model, tokenizer = load_model(model_folder)
    before = [weight.clone() for weight in model.parameters()]
    prompts, equal = distinct_prompts(pairs(), "domain"), lambda prompts, texts: torch.ones(len(texts))
    metrics, _ = run_online(model, tokenizer, prompts, equal, cohort_normalized, uniform(), settings(), context)
    assert metrics["reward/zero_spread_share"] == 1
    assert metrics["grad_norm"] == 0
    assert all(torch.equal(old, new) for old, new in zip(before, model.parameters(), strict=True))


def test_reference_is_the_start_whether_by_adapters_off_or_by_a_frozen_copy(model_folder, context):
    inputs, chosen = TinyInputs(model_folder), settings(beta=0.1, lora=LoraSettings(r=2))
    adapted = load_trainable(model_folder, "cpu", LoraSettings(r=2), 0)
    for name, weight in adapted.named_parameters():
        if "lora_B" in name:
            weight.data.normal_()
    batch = collate([[5, 6], [7]], [[8], [9, 10], [11, 12], [13]], 1, "cpu")
    switched_off = _reference(adapted, inputs, chosen, context)(batch)
    frozen = _reference(adapted, inputs, chosen.model_copy(update={"lora": None}), context)(batch)
    assert torch.allclose(switched_off, frozen, atol=1e-6)
    policy, _ = plain_completion_logps(adapted, batch)
    assert not torch.allclose(policy, frozen, atol=1e-2)
    assert all(weight.requires_grad for name, weight in adapted.named_parameters() if "lora" in name)


def test_kl_is_zero_at_the_start_and_grows(model_folder, context, tmp_path):
    (out := tmp_path / "out").mkdir()
    chosen = settings(steps=6, beta=0.01, learning_rate=3e-3)
    train_online(TinyInputs(model_folder), cohort_normalized, uniform(), chosen, context, out)
    kl = [entry["kl"] for entry in context.events.history]
    assert kl[0] == pytest.approx(0, abs=1e-6)
    assert kl[-1] > 1e-4


def test_group_weights_follow_the_reward_and_scale_the_advantages(model_folder):
    model, tokenizer = load_model(model_folder)
    seen = {}

    def step(cost, count, state):
        seen.update(cost=cost, count=count)
        return state

    def shares(state):
        return torch.tensor([1.0, 1 / 3, 0.0], dtype=torch.float64)

    plain, *_ = experience_of(model, tokenizer, settings())
    weighted, _, metrics, _ = experience_of(
        model,
        tokenizer,
        settings(),
        weighting=Weighting(lambda size, domain: {"size": size}, step, shares, losses="current"),
    )
    groups = [0, 1, 2, 0]
    factors = torch.tensor([[3.0, 1.0, 0.0][group] for group in groups])[:, None]
    assert torch.allclose(weighted.advantages, plain.advantages * factors)
    assert seen["count"].tolist() == [2, 1, 1]
    assert seen["cost"][0].item() == pytest.approx(-2 * plain.rewards[[0, 3]].mean().item(), rel=1e-6)
    assert metrics["group/age/weight"] == 1
    assert metrics["group/age/reward"] == pytest.approx(plain.rewards[[0, 3]].mean().item(), rel=1e-6)
    assert metrics["reward/std"] == pytest.approx(plain.rewards.std().item(), rel=1e-4)


def test_reward_of_wrong_length_is_refused(model_folder):
    model, tokenizer = load_model(model_folder)
    with pytest.raises(BadInput, match="12 completions"):
        experience_of(model, tokenizer, settings(), lambda prompts, texts: torch.zeros(len(texts) - 1))


def test_prompts_are_taken_once():
    prompts = distinct_prompts(pairs(), "domain")
    assert len(prompts.texts) == len(set(prompts.texts)) < 24
    assert prompts.membership_NG.shape == (len(prompts.texts), 3)
