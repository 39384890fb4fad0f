"""The online loop with every learner: gradients against naive ones, what is left out, what ends a training."""

import io
import json
import math
from dataclasses import replace

import pytest
import torch

from pipeline_core.losses.advantages import cohort_relative, leave_one_out
from pipeline_core.losses.cohorts import Cohorts, by_spread
from pipeline_core.losses.groups import Weighting, uniform
from pipeline_core.losses.preference import PairLogps, logistic_loss
from pipeline_core.losses.terms import Term
from pipeline_core.models.adapters import LoraSettings
from pipeline_core.models.collation import collate
from pipeline_core.models.loading import load_model, load_trainable
from pipeline_core.models.sampling.rollouts import Rollout
from pipeline_core.models.sampling.sample import generate
from pipeline_core.models.tokens.prompts import as_rendered
from pipeline_core.rewards.load import BadReward, checked
from pipeline_core.rewards.memory import Timed
from pipeline_core.training.online.collecting import Collector, WeightedRewards
from pipeline_core.training.online.experience import ScoredSamples, distinct_prompts, kept_samples, weighed
from pipeline_core.training.online.health import Collapsed
from pipeline_core.training.online.learner import UpdateContext
from pipeline_core.training.online.surrogate import SurrogateLearner
from pipeline_core.training.online.surrogate_settings import SurrogateConfig
from pipeline_core.training.online.train import backward, fixed_reference, run_online, train_online
from pipeline_core.training.optimizer import Diverged, Training
from plugins.policy.online_dpo._learner import PairLearner
from plugins.policy.ppo._learner import CriticLearner, new_critic
from plugins.policy.ppo._settings import PpoConfig
from tests.models.plain import plain_completion_logps
from tests.training.tiny import TinyInputs, pairs, reward, shortness, write_model

SMALL = {"steps": 3, "prompts_per_step": 4, "samples_per_prompt": 3, "learning_rate": 1e-3}
SHORT = {"max_new_tokens": 6}


def settings(**values):
    return SurrogateConfig(name="x", **{**SMALL, "sampling": SHORT, **values})


def rewards_of(*functions, weights=None, skip=False):
    """As a training has them: every answer is checked."""
    timed = [Timed(checked(function, f"r{number}", skip=skip)) for number, function in enumerate(functions)]
    labels = [f"r{number}" for number in range(len(functions))]
    return WeightedRewards(timed, dict(zip(labels, weights or [1.0] * len(functions), strict=True)))


def collected(model, tokenizer, chosen, *functions, weights=None, skip=False, rounds=0):
    prompts = distinct_prompts(pairs(), "domain")

    def sample(texts, numbers, sizes, first):
        return generate(
            model,
            tokenizer,
            texts,
            chosen.sampling,
            seed=7,
            samples=sizes,
            first_sample=first,
            prompt_indices=numbers,
        )

    rewards = rewards_of(*(functions or (reward,)), weights=weights, skip=skip)
    collector = Collector(prompts, sample, rewards, chosen, 7, rounds)
    return collector.collect(), prompts, collector


def experience_of(model, tokenizer, chosen, *functions, weighting=None, **more):
    found, prompts, collector = collected(model, tokenizer, chosen, *functions, **more)
    weighting = weighting or uniform()
    state = weighting.init(torch.ones(3, dtype=torch.float64), None)
    experience, metrics, _ = weighed(found, collector.labels, prompts, weighting, state)
    return experience, found.metrics | metrics


def update_context(model, chosen, reference=None):
    return UpdateContext(model, reference, chosen, 1)


def flat_first(prompts, texts):
    """Equal rewards for the prompt that the first text answers."""
    first = prompts[0]
    pairs_of = zip(prompts, texts, strict=True)
    return torch.tensor([0.5 if prompt == first else sum(map(ord, text)) % 17 for prompt, text in pairs_of])


def letters(prompts, texts):
    """Another number for nearly every text."""
    return torch.tensor(
        [sum(place * ord(letter) for place, letter in enumerate(text, 1)) % 97 for text in texts]
    ).float()


def gradients(model):
    return {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None}


def assert_same_gradients(ours, theirs):
    assert ours.keys() == theirs.keys()
    for name, gradient in theirs.items():
        assert torch.allclose(ours[name], gradient, atol=1e-5 * max(1, gradient.abs().max())), name


@pytest.mark.parametrize("aggregation", ["sequence", "token", "constant"])
@pytest.mark.parametrize("beta", [0.0, 0.3])
@pytest.mark.parametrize("adaptive", [None, {"first": 2, "most": 5}])
def test_gradient_equals_the_naive_one(model_folder, tmp_path, aggregation, beta, adaptive):
    model, tokenizer = load_model(model_folder)
    frozen, _ = load_model(write_model(tmp_path / "other", "gpt2"))
    chosen = settings(
        aggregation=aggregation,
        beta=beta,
        sampling={**SHORT, "temperature": 0.9},
        micro_batch_tokens=50,
        adaptive=adaptive,
    )
    experience, metrics = experience_of(model, tokenizer, chosen, flat_first)
    assert metrics["reward/zero_spread_share"] == pytest.approx(1 / 4)

    def fixed(batch):
        with torch.no_grad():
            return plain_completion_logps(frozen, batch, 0.9)[0]

    place = update_context(model, chosen, fixed if beta else None)
    learner = SurrogateLearner(cohort_relative(), chosen)
    (minibatch,), advantages, _ = learner.prepare(experience, place)
    assert len(minibatch.passes) > 1
    seen = backward(minibatch, learner, place)
    ours = gradients(model)

    model.zero_grad()
    rollout, loss = experience.rollout, torch.zeros(())
    tokens, rows = sum(map(len, rollout.completion_ids)), len(rollout.completion_ids)
    for prompt, row in [(prompt, row) for prompt, of_one in enumerate(rollout.rows_of) for row in of_one]:
        ids = rollout.completion_ids[row]
        batch = collate([rollout.prompt_ids[prompt]], [ids], 1, "cpu")
        logps = plain_completion_logps(model, batch, 0.9)[0][0]
        log_ratio = fixed(batch)[0] - logps
        token_loss = -(logps - logps.detach()).exp() * advantages[row]
        token_loss = token_loss + beta * (log_ratio.exp() - log_ratio - 1) * experience.row_shares[row]
        divisor = {"sequence": len(ids) * rows, "token": tokens, "constant": rows * 6}[aggregation]
        loss = loss + token_loss.sum() / divisor
    loss.backward()
    assert seen["loss"].item() == pytest.approx(loss.item(), abs=1e-5)
    assert_same_gradients(ours, gradients(model))


def test_pairs_are_the_best_and_the_worst_and_their_gradient_the_naive_one(model_folder, tmp_path):
    model, tokenizer = load_model(model_folder)
    frozen, _ = load_model(write_model(tmp_path / "other", "gpt2"))
    chosen = settings(micro_batch_tokens=50)
    experience, _ = experience_of(model, tokenizer, chosen, flat_first)

    def fixed(batch):
        with torch.no_grad():
            return plain_completion_logps(frozen, batch)[0]

    place, learner = update_context(model, chosen, fixed), PairLearner(logistic_loss(0.5))
    (minibatch,), sides, metrics = learner.prepare(experience, place)
    assert metrics["pairs"] == 3 and len(minibatch.passes) > 1
    seen = backward(minibatch, learner, place)
    ours = gradients(model)
    model.zero_grad()
    rollout, totals, loss = experience.rollout, experience.scored.totals, torch.zeros(())
    for prompt, rows in enumerate(rollout.rows_of):
        rewards = totals[list(rows)]
        if rewards.max() == rewards.min():
            assert sides[list(rows)].tolist() == [0] * len(rows)
            continue
        both = [rows[int(rewards.argmax())], rows[int(rewards.argmin())]]
        assert sides[both].tolist() == [1, -1]
        batch = collate([rollout.prompt_ids[prompt]], [rollout.completion_ids[row] for row in both], 1, "cpu")
        policy, reference = plain_completion_logps(model, batch)[0].sum(1), fixed(batch).sum(1)
        lengths = batch.mask_BT.sum(1)
        loss = loss + logistic_loss(0.5)(PairLogps(*policy, *reference, *lengths)) / 3
    loss.backward()
    assert seen["loss"].item() == pytest.approx(loss.item(), abs=1e-5)
    assert_same_gradients(ours, gradients(model))


TERMS = [
    Term("entropy_bonus", -0.3, lambda tokens: tokens.entropy_BT),
    Term("nll", 0.2, lambda tokens: -tokens.logps_BT),
]


@pytest.mark.parametrize(
    "name", ["grpo", "grpo adaptive", "grpo with a reference", "pairs", "ppo", "ppo adaptive", "ppo_head"]
)
def test_terms_add_their_gradient_to_that_of_any_learner(model_folder, context, name):
    model, tokenizer = load_model(model_folder)
    more = {"micro_batch_tokens": 50, "sampling": {**SHORT, "temperature": 0.9}}
    if "adaptive" in name:
        more |= {"adaptive": {"first": 2, "most": 6}, "samples_per_prompt": 4}
    if name.startswith("ppo"):
        chosen = PpoConfig(**SMALL | more, critic="head" if name == "ppo_head" else "separate", kl_coef=0.0)
    else:
        chosen = settings(**more, aggregation="token", beta=0.1 if "reference" in name else 0.0)

    def fixed(batch):
        with torch.no_grad():
            return plain_completion_logps(model, batch, 0.9)[0] - 0.5

    def learner_with(terms):
        if name.startswith("ppo"):
            return CriticLearner(critic, chosen, terms)
        if name == "pairs":
            return PairLearner(logistic_loss(0.5), terms)
        return SurrogateLearner(cohort_relative(), chosen, terms)

    experience, _ = experience_of(model, tokenizer, chosen, flat_first)
    critic = new_critic(model_folder, chosen, context) if name.startswith("ppo") else None
    place = update_context(model, chosen, fixed if name in ("pairs", "grpo with a reference") else None)
    found, logged, trained_on = [], {}, []
    for terms in ([], TERMS):
        model.zero_grad()
        learner = learner_with(terms)
        (minibatch,), *_ = learner.prepare(experience, place)
        logged = backward(minibatch, learner, place)
        trained_on = [row for part in minibatch.passes for row in part.rows]
        found.append(gradients(model))
    rollout = experience.rollout
    if name != "pairs":
        assert len(trained_on) == len(rollout.texts), "a term speaks of completions without an advantage too"
    model.zero_grad()
    entropy, surprisal, loss, tokens = torch.zeros(()), torch.zeros(()), torch.zeros(()), 0
    owner = [prompt for prompt, rows in enumerate(rollout.rows_of) for _ in rows]
    for row in trained_on:
        batch = collate([rollout.prompt_ids[owner[row]]], [rollout.completion_ids[row]], 1, "cpu")
        ids = batch.ids_BT[0]
        logits = model(input_ids=torch.cat([batch.prompt_ids_PT, ids[None]], 1)).logits[0, -len(ids) - 1 : -1]
        drawn = torch.distributions.Categorical(logits=logits / 0.9)
        of_row = drawn.entropy().sum(), -drawn.log_prob(ids).sum()
        entropy, surprisal = entropy + of_row[0], surprisal + of_row[1]
        loss = loss + (-0.3 * of_row[0] + 0.2 * of_row[1]) * experience.row_shares[row]  # every prompt counts alike
        tokens += len(ids)
    (loss / tokens).backward()
    assert logged["entropy_bonus"].item() == pytest.approx(entropy.item() / tokens, rel=1e-4)
    assert logged["nll"].item() == pytest.approx(surprisal.item() / tokens, rel=1e-4)
    added = {weight: value - found[0].get(weight, 0) for weight, value in found[1].items()}
    assert_same_gradients(added, gradients(model))


@pytest.mark.parametrize("kind", ["separate", "head"])
def test_a_critic_starts_at_nothing_learns_and_its_gradient_is_the_naive_one(model_folder, context, kind):
    model, tokenizer = load_model(model_folder)
    chosen = PpoConfig(**SMALL, sampling=SHORT, critic=kind, micro_batch_tokens=50, kl_coef=0.0, whiten=False, lam=1.0)
    experience, _ = experience_of(model, tokenizer, chosen)
    critic = new_critic(model_folder, chosen, context)
    place, learner = update_context(model, chosen), CriticLearner(critic, chosen)
    (minibatch,), advantages, metrics = learner.prepare(experience, place)
    assert metrics == {"critic/explained_variance": 0}, "without a reference there is no KL to tell"
    # With values of 0, lambda 1 and no KL every token's advantage is the completion's reward.
    assert torch.allclose(advantages, experience.scored.totals, atol=1e-6)
    seen = backward(minibatch, learner, place)
    ours = gradients(model)
    assert critic.value.weight.grad.abs().sum() > 0
    if kind == "separate":
        assert seen["critic/loss"].item() > 0
    model.zero_grad()
    rollout, loss = experience.rollout, torch.zeros(())
    tokens = sum(map(len, rollout.completion_ids))
    for prompt, row in [(prompt, row) for prompt, of_one in enumerate(rollout.rows_of) for row in of_one]:
        batch = collate([rollout.prompt_ids[prompt]], [rollout.completion_ids[row]], 1, "cpu")
        logps = plain_completion_logps(model, batch)[0][0]
        loss = loss - ((logps - logps.detach()).exp() * experience.scored.totals[row]).sum() / tokens
    loss.backward()
    # The critic begins with weights of 0, so that its loss has no gradient in the hidden states yet.
    assert_same_gradients(ours, gradients(model))


def grpo(chosen):
    return SurrogateLearner(cohort_relative(), chosen)


def test_learns_and_leaves_its_samples(model_folder, context, tmp_path):
    (out := tmp_path / "out").mkdir()
    chosen = settings(steps=30, learning_rate=3e-3, samples_every=10, prompts_per_step=8, samples_per_prompt=4)
    metrics = train_online(TinyInputs(model_folder), grpo(chosen), chosen, context, out)
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


@pytest.mark.parametrize("name", ["rloo", "pairs", "ppo", "ppo_head"])
def test_every_learner_raises_the_reward(model_folder, context, tmp_path, name):
    (out := tmp_path / "out").mkdir()
    more = {"steps": 30, "learning_rate": 3e-3, "prompts_per_step": 8, "samples_per_prompt": 4}
    chosen = settings(**more)
    if name == "rloo":
        chosen = settings(**more, aggregation="token")
        learner = SurrogateLearner(leave_one_out, chosen)
    elif name == "pairs":
        learner = PairLearner(logistic_loss(0.5))
    else:
        kind = "head" if name == "ppo_head" else "separate"
        small = {**SMALL, **more, "sampling": SHORT}
        chosen = PpoConfig(**small, critic=kind, kl_coef=0.001, minibatches=2, critic_learning_rate=1e-2)
        learner = CriticLearner(new_critic(model_folder, chosen, context), chosen)
    metrics = train_online(TinyInputs(model_folder), learner, chosen, context, out)
    assert metrics["reward/mean"] > 1.5 * context.events.history[0]["reward/mean"]
    if name.startswith("ppo"):
        assert metrics["clip_share"] > 0 and metrics["critic/explained_variance"] > 0


def run(model, tokenizer, chosen, context, *functions, **more):
    prompts = distinct_prompts(pairs(), "domain")
    rewards = rewards_of(*(functions or (reward,)), skip=chosen.bad_rewards == "skip")
    return run_online(model, tokenizer, prompts, rewards, grpo(chosen), chosen.weighting(), chosen, context, **more)


def test_a_gradient_that_is_not_finite_never_reaches_the_weights(model_folder, context):
    model, tokenizer = load_model(model_folder)
    asked = []

    def overflowing(_, texts):
        asked.append(1)
        return torch.arange(float(len(texts))) * (1e38 if len(asked) == 2 else 1)

    chosen = settings()
    learner = SurrogateLearner(cohort_relative("none"), chosen)
    prompts = distinct_prompts(pairs(), "domain")
    rewards = WeightedRewards([Timed(overflowing)], {"reward": 1.0})
    with pytest.raises(Diverged, match=r"grad_norm is (nan|inf) at step 2 of 3.*last good checkpoint is kept"):
        run_online(model, tokenizer, prompts, rewards, learner, uniform(), chosen, context)
    assert all(weight.isfinite().all() for weight in model.parameters())
    assert [entry["step"] for entry in context.events.history] == [1]


def test_metrics_are_of_all_tokens_whatever_teaches(model_folder):
    model, tokenizer = load_model(model_folder)
    experience, metrics = experience_of(model, tokenizer, settings(), flat_first)
    rollout = experience.rollout
    logps = [row[: len(ids)] for row, ids in zip(rollout.logps, rollout.completion_ids, strict=True)]
    assert metrics["entropy"] == pytest.approx(-torch.cat(logps).mean().item(), rel=1e-5)
    shares = []
    for beta in (0.0, 1e-9):
        chosen = settings(beta=beta, clip_low=1e-6, clip_high=1e-6)

        def start(batch):
            with torch.no_grad():
                return plain_completion_logps(model, batch)[0]

        place, learner = update_context(model, chosen, start if beta else None), grpo(chosen)
        (minibatch,), *_ = learner.prepare(experience, place)
        for part in minibatch.passes:
            part.fixed["old"] = start(part.batch) - 0.1 * part.fixed["advantages"].sign()
        shares.append(backward(minibatch, learner, place)["clip_share"].item())
    taught = sum(map(len, rollout.completion_ids[3:]))
    assert shares == pytest.approx([taught / sum(map(len, rollout.completion_ids))] * 2)


def test_equal_rewards_change_nothing(model_folder, context):
    model, tokenizer = load_model(model_folder)
    before = [weight.clone() for weight in model.parameters()]
    metrics, _ = run(model, tokenizer, settings(), context, lambda prompts, texts: torch.ones(len(texts)))
    assert metrics["reward/zero_spread_share"] == 1
    assert metrics["grad_norm"] == 0
    assert all(torch.equal(old, new) for old, new in zip(before, model.parameters(), strict=True))


def test_minibatches_take_every_prompt_once_and_their_old_policy_is_the_sampling_one(model_folder):
    model, tokenizer = load_model(model_folder)
    model.double()
    chosen = settings(minibatches=3, prompts_per_step=6, micro_batch_tokens=50)
    experience, _ = experience_of(model, tokenizer, chosen, letters)
    minibatches, *_ = grpo(chosen).prepare(experience, update_context(model, chosen))
    rows = [sorted(row for part in minibatch.passes for row in part.rows) for minibatch in minibatches]
    assert sorted(row for one in rows for row in one) == list(range(18)) and [len(one) for one in rows] == [6, 6, 6]
    assert [minibatch.rows for minibatch in minibatches] == [6, 6, 6]
    assert sum(minibatch.tokens for minibatch in minibatches) == sum(map(len, experience.rollout.completion_ids))
    for part in (part for minibatch in minibatches for part in minibatch.passes):
        forward, _ = plain_completion_logps(model, part.batch)
        assert torch.allclose(part.fixed["old"], forward, atol=1e-9)


def test_reference_is_the_start_whether_by_adapters_off_or_by_a_frozen_copy(model_folder, context):
    inputs, chosen = TinyInputs(model_folder), settings(beta=0.1, lora=LoraSettings(r=2))
    adapted = load_trainable(model_folder, "cpu", LoraSettings(r=2), 0)
    for name, weight in adapted.named_parameters():
        if "lora_B" in name:
            weight.data.normal_()
    batch = collate([[5, 6], [7]], [[8], [9, 10], [11, 12], [13]], 1, "cpu")
    switched_off = fixed_reference(adapted, inputs, chosen, context)(batch)
    frozen = fixed_reference(adapted, inputs, chosen.model_copy(update={"lora": None}), context)(batch)
    assert torch.allclose(switched_off, frozen, atol=1e-6)
    policy, _ = plain_completion_logps(adapted, batch)
    assert not torch.allclose(policy, frozen, atol=1e-2)
    assert all(weight.requires_grad for name, weight in adapted.named_parameters() if "lora" in name)


def test_kl_is_zero_at_the_start_and_grows(model_folder, context, tmp_path):
    (out := tmp_path / "out").mkdir()
    chosen = settings(steps=6, beta=0.01, learning_rate=3e-3)
    train_online(TinyInputs(model_folder), grpo(chosen), chosen, context, out)
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

    plain, _ = experience_of(model, tokenizer, settings())
    weighting = Weighting(lambda size, domain: {"size": size}, step, shares, form="mean", losses="current")
    weighted, metrics = experience_of(model, tokenizer, settings(), weighting=weighting)
    place, learner = update_context(model, settings()), grpo(settings())
    advantages, scaled = (learner.prepare(one, place)[1] for one in (plain, weighted))
    domains = distinct_prompts(pairs(), "domain").membership_NG.argmax(1)[plain.scored.rows].tolist()
    counts = [domains.count(group) for group in range(3)]
    assert seen["count"].tolist() == counts
    share = {group: sum(counts) / counts[group] * (1.0, 1 / 3, 0.0)[group] for group in set(domains)}
    expected = torch.tensor([share[group] for group in domains for _ in range(3)])
    assert torch.allclose(scaled, advantages * expected, atol=1e-6)
    means = plain.cohorts.means(plain.scored.totals)
    first = [place for place, group in enumerate(domains) if group == 0]
    assert seen["cost"][0].item() == pytest.approx(-means[first].sum().item(), rel=1e-6)
    assert metrics["group/age/reward"] == pytest.approx(means[first].mean().item(), rel=1e-6)
    assert metrics["reward/std"] == pytest.approx(plain.scored.totals.std().item(), rel=1e-4)


def test_weights_move_to_the_domain_that_lacks_reward_at_a_ratio_of_one(model_folder, context):
    """On-policy every surrogate is 0 in value: costs are rewards before they are compared."""
    model, tokenizer = load_model(model_folder)
    poor = {row["prompt"] for row in pairs() if row["domain"] == "race"}

    def planted(prompts, texts):
        return torch.tensor([0.0 if prompt in poor else 5.0 for prompt in prompts]) + reward(prompts, texts)

    chosen = settings(worst_group={"eta_alpha": 0.1}, steps=4, prompts_per_step=8, learning_rate=1e-9)
    metrics, _ = run(model, tokenizer, chosen, context, planted)
    history = context.events.history
    assert all(abs(entry["loss"]) < 1e-5 and entry["clip_share"] == 0 for entry in history)
    weights = [entry["group/race/weight"] for entry in history]
    assert weights == sorted(weights) and weights[-1] > 0.5 > weights[0]
    assert sum(metrics[f"group/{name}/weight"] for name in ("age", "gender", "race")) == pytest.approx(1)


@pytest.mark.parametrize("chi", [0, 1])
def test_weights_of_few_prompts_are_one_on_average_whichever_groups_a_step_has(chi):
    weighting = settings(worst_group={"eta_alpha": 0.5, "chi": chi}).weighting()
    size = torch.tensor([50.0, 30.0, 20.0], dtype=torch.float64)
    state = weighting.init(size, None)
    state = weighting.step(
        torch.tensor([3.0, 0.0, -2.0], dtype=torch.float64), torch.ones(3, dtype=torch.float64), state
    )
    total = 0.0
    for group, rows in enumerate(size.tolist()):  # steps of one prompt each, every prompt once
        alone = torch.nn.functional.one_hot(torch.tensor(group), 3).double()
        total += rows * weighting.row_weights(alone, state)[group].item()
    assert total / 100 == pytest.approx(1)


def test_prompts_with_equal_rewards_are_replaced(model_folder):
    model, tokenizer = load_model(model_folder)
    prompts = distinct_prompts(pairs(), "domain").texts
    dull = set(prompts[::2])

    def planted(asked, texts):
        return torch.tensor(
            [
                0.0 if prompt in dull else float(sum(map(ord, text)) % 17)
                for prompt, text in zip(asked, texts, strict=True)
            ]
        )

    found, _, collector = collected(model, tokenizer, settings(dynamic_rounds=6), planted)
    scored, metrics = found.trained_on, found.metrics
    assert metrics["sampling/prompts"] == 4 and metrics["sampling/rounds"] == collector.rounds > 1
    assert not dull & set(scored.rollout.prompts) and len(scored.rollout.prompts) == 4
    numbers = scored.rollout.prompt_indices
    assert numbers == sorted(numbers) == list(scored.numbers)
    # What is told of rewards is of all that was sampled.
    _, told = experience_of(model, tokenizer, settings(dynamic_rounds=6), planted)
    assert (
        told["reward/zero_spread_share"] == pytest.approx(1 - 4 / len(found.everything.rows), abs=0.2)
        and (told["reward/zero_spread_share"]) > 0
    )
    assert told["reward/mean"] == pytest.approx(found.everything.totals.mean().item(), rel=1e-5)
    few, *_ = collected(model, tokenizer, settings(dynamic_rounds=2), lambda p, t: torch.ones(len(t)))
    assert few.metrics == {"sampling/rounds": 2, "sampling/prompts": 0} and few.trained_on.rollout.texts == []
    _, told = experience_of(model, tokenizer, settings(dynamic_rounds=2), lambda p, t: torch.ones(len(t)))
    assert told["reward/zero_spread_share"] == told["reward/mean"] == 1


def test_minibatches_are_even_whatever_was_replaced(model_folder):
    model, tokenizer = load_model(model_folder)
    dull = set(distinct_prompts(pairs(), "domain").texts[::2])

    def planted(asked, texts):
        values = letters(asked, texts).tolist()
        return torch.tensor([0.0 if one in dull else value for one, value in zip(asked, values, strict=True)])

    chosen = settings(dynamic_rounds=6, minibatches=2)
    experience, _ = experience_of(model, tokenizer, chosen, planted)
    minibatches, *_ = grpo(chosen).prepare(experience, update_context(model, chosen))
    assert [minibatch.rows for minibatch in minibatches] == [6, 6]


def test_adaptive_cohorts_spend_the_budget_where_rewards_differ(model_folder):
    model, tokenizer = load_model(model_folder)
    chosen = settings(adaptive={"first": 2, "most": 8}, samples_per_prompt=4)
    dull = set(distinct_prompts(pairs(), "domain").texts[::5])

    def planted(prompts, texts):
        known = zip(prompts, letters(prompts, texts).tolist(), strict=True)
        return torch.tensor([0.0 if prompt in dull else value for prompt, value in known])

    found, *_ = collected(model, tokenizer, chosen, planted)
    scored, rollout, sizes = found.trained_on, found.trained_on.rollout, found.trained_on.rollout.sizes
    assert sum(sizes) == 16 and max(sizes) <= 8
    assert {size == 3 for prompt, size in zip(rollout.prompts, sizes, strict=True) if prompt in dull} == {True}
    assert torch.equal(scored.totals, planted(rollout.row_prompts, rollout.texts))  # scores stand with their texts
    named = [prompt for prompt, size in zip(rollout.prompts, sizes, strict=True) for _ in range(size)]
    assert rollout.row_prompts == named
    experience, metrics = experience_of(model, tokenizer, chosen, planted)
    # Every prompt counts alike in the loss and in the mean, whatever the size of its cohort, and half of it is what was
    # drawn first.
    assert torch.allclose(experience.cohorts.sums(experience.row_weights), torch.tensor(4.0, dtype=torch.float64))
    assert torch.allclose(experience.row_shares, experience.row_weights)
    halves = [
        (scored.totals[rows[:2]].mean() + scored.totals[rows[2:]].mean()) / 2 for rows in map(list, rollout.rows_of)
    ]
    assert metrics["reward/mean"] == pytest.approx(torch.stack(halves).mean().item(), rel=1e-5)


def test_sharing_completions_out_does_not_shrink_the_credit():
    """Leave-one-out credit times the reward is the variance on average, of a cohort that was shared out as well."""
    generator = torch.Generator().manual_seed(0)
    prompts, found, all_alike = 6, [], []
    for _ in range(3000):
        first_PN = torch.rand(prompts, 2, generator=generator, dtype=torch.float64)
        more = (1 + by_spread(first_PN.std(1), prompts, 12)).tolist()
        later = torch.rand(sum(more), generator=generator, dtype=torch.float64).split(more)
        rewards = torch.cat([torch.cat(both) for both in zip(first_PN, later, strict=True)])
        cohorts = Cohorts.of([2 + count for count in more])
        marks = torch.cat([torch.arange(2 + count) < 2 for count in more])
        blank = Rollout([""] * prompts, cohorts.size.tolist(), [[0]] * prompts, [], [], torch.zeros(0), [])
        scored = ScoredSamples(blank, rewards[None], torch.ones(1), list(range(prompts)), (), marks, 0.5)
        earned = leave_one_out(rewards, cohorts, 0.0) * (rewards - 0.5)
        found.append(scored.means(earned).mean())
        all_alike.append(cohorts.means(earned).mean())
    variance = 1 / 12
    assert torch.stack(found).mean().item() == pytest.approx(variance, rel=0.05)
    assert torch.stack(all_alike).mean().item() < 0.93 * variance


def test_cut_off_completions_are_left_out_of_the_loss_and_long_ones_cost_reward(model_folder):
    model, tokenizer = load_model(model_folder)
    chosen = settings(
        mask_overlong=True, overlong_margin=3, aggregation="token", sampling={"stop": ("e",), "max_new_tokens": 12}
    )
    experience, _ = experience_of(model, tokenizer, chosen)
    rollout = experience.rollout
    long = [row for row, ids in enumerate(rollout.completion_ids) if len(ids) == 12 and not rollout.ended[row]]
    assert 0 < len(long) < len(rollout.texts)
    (minibatch,), *_ = grpo(chosen).prepare(experience, update_context(model, chosen))
    assert not set(long) & {row for part in minibatch.passes for row in part.rows}
    assert minibatch.tokens == sum(len(ids) for row, ids in enumerate(rollout.completion_ids) if row not in long)
    penalty = experience.scored.rewards_RB[1]
    assert penalty[long].tolist() == [-1] * len(long)
    short = [row for row, ids in enumerate(rollout.completion_ids) if len(ids) <= 9]
    assert penalty[short].abs().sum() == 0
    assert torch.allclose(experience.scored.totals, experience.scored.rewards_RB.sum(0))


@pytest.mark.parametrize("aggregation", ["sequence", "token"])
def test_the_kl_is_that_of_all_completions_and_cut_off_ones_add_no_gradient(model_folder, aggregation):
    model, tokenizer = load_model(model_folder)
    chosen = settings(
        mask_overlong=True, aggregation=aggregation, sampling={"stop": ("e",), "max_new_tokens": 12}, beta=0.5
    )
    experience, _ = experience_of(model, tokenizer, chosen)
    rollout = experience.rollout

    def shifted(batch):
        with torch.no_grad():
            return plain_completion_logps(model, batch)[0] - 0.3 * batch.mask_BT

    place, learner = update_context(model, chosen, shifted), grpo(chosen)
    (minibatch,), *_ = learner.prepare(experience, place)
    found = backward(minibatch, learner, place)
    assert float(found["kl"]) == pytest.approx(math.exp(-0.3) - 1 + 0.3, rel=1e-5)
    gradients = [weight.grad.clone() for weight in model.parameters()]
    model.zero_grad()
    for part in minibatch.passes:
        cut_off = torch.tensor([not rollout.ended[row] for row in part.rows])
        part.fixed["reference"][cut_off] -= 5.0
        part.fixed["advantages"][cut_off] += 5.0
    backward(minibatch, learner, place)
    assert all(torch.equal(a, b.grad) for a, b in zip(gradients, model.parameters(), strict=True))


def test_several_rewards_count_by_their_weights(model_folder, context, tmp_path):
    (out := tmp_path / "out").mkdir()
    chosen = settings(rewards={"e": 1.0, "short": 0.5}, combination="normalised")
    metrics = train_online(TinyInputs(model_folder), grpo(chosen), chosen, context, out)
    assert metrics["reward/mean"] == pytest.approx(
        metrics["reward/e/mean"] + 0.5 * metrics["reward/short/mean"], abs=1e-5
    )
    model, tokenizer = load_model(model_folder)
    experience, _ = experience_of(model, tokenizer, chosen, reward, shortness, weights=[1.0, 0.5])
    advantages = grpo(chosen).prepare(experience, update_context(model, chosen))[1]
    each = [cohort_relative()(one, experience.cohorts, 0.0) for one in experience.scored.rewards_RB]
    assert torch.allclose(advantages, each[0] + 0.5 * each[1], atol=1e-5)


def test_what_is_to_be_kept_stays_likely(model_folder, context, tmp_path):
    (out := tmp_path / "out").mkdir()
    kept = {"data": {"entry": "sandbox_pairs"}, "weight": 5.0, "rows_per_step": 24}
    chosen = settings(steps=12, retention=kept, learning_rate=3e-3)
    train_online(TinyInputs(model_folder), grpo(chosen), chosen, context, out)
    losses = [entry["retention/loss"] for entry in context.events.history]
    assert losses[-1] < 0.8 * losses[0]


def test_a_reward_that_fails_is_raised_or_left_out(model_folder, context):
    model, tokenizer = load_model(model_folder)
    calls, spoilt = [], []

    def failing(prompts, texts):
        calls.append(1)
        if len(calls) == 2:
            raise OSError("the reward is away")
        scores = reward(prompts, texts)
        if len(calls) == 1:
            scores[:3] = torch.nan
            spoilt.extend(zip(prompts[:3], texts[:3], strict=True))
        return scores

    with pytest.raises(BadReward, match=r"gave shape \(11,\) for 12 texts"):
        experience_of(model, tokenizer, settings(), lambda prompts, texts: torch.zeros(len(texts) - 1))
    run(model, tokenizer, settings(bad_rewards="skip"), context, failing)
    shares = [entry["reward/skipped_share"] for entry in context.events.history]
    assert 3 / 12 <= shares[0] < 1 and shares[1:] == [1.0, 0.0]
    assert "reward/mean" not in context.events.history[1]
    assert all(weight.isfinite().all() for weight in model.parameters())
    calls.clear()
    fresh, tokenizer = load_model(model_folder)
    experience, _ = experience_of(fresh, tokenizer, settings(), failing, skip=True)
    kept = set(zip(experience.rollout.row_prompts, experience.rollout.texts, strict=True))
    assert kept and not kept & {*spoilt}


def test_a_reward_that_never_answers_ends_the_training(model_folder, context):
    model, tokenizer = load_model(model_folder)

    def away(prompts, texts):
        raise OSError("the reward is away")

    with pytest.raises(Collapsed, match="step 10: no completion has had a usable reward for 10 steps"):
        run(model, tokenizer, settings(bad_rewards="skip", steps=20), context, away)


def test_memory_that_has_run_out_is_no_missing_reward(model_folder, context):
    model, tokenizer = load_model(model_folder)

    def full(prompts, texts):
        raise MemoryError

    with pytest.raises(MemoryError):
        run(model, tokenizer, settings(bad_rewards="skip"), context, full)


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ({"entropy": 50.0}, r"step 1: the mean entropy of a token is .* less than stop.entropy \(50\)"),
        ({"flat_steps": 2}, r"step 2: all rewards of every prompt were equal for stop.flat_steps \(2\)"),
        ({"kl": 1e-9}, r"step [23]: the mean KL of a token to the reference is .* more than stop.kl \(1e-09\)"),
    ],
)
def test_a_training_that_went_wrong_is_ended(model_folder, context, tmp_path, limits, words):
    (out := tmp_path / "out").mkdir()
    chosen = settings(stop=limits)
    inputs = TinyInputs(model_folder)
    if "flat_steps" in limits:
        inputs.reward_fns = lambda device, labels, skip: [lambda prompts, texts: torch.ones(len(texts))]
    with pytest.raises(Collapsed, match=words):
        train_online(inputs, grpo(chosen), chosen, context, out)
    assert not list(out.iterdir())


def test_samples_of_rendered_prompts_can_stand_in_a_checkpoint(model_folder):
    model, tokenizer = load_model(model_folder)
    experience, _ = experience_of(model, tokenizer, settings())
    rollout = replace(experience.rollout, prompts=as_rendered(experience.rollout.prompts))
    rendered = replace(experience, scored=replace(experience.scored, rollout=rollout))
    samples = kept_samples(rendered, torch.zeros(len(rollout.texts)), 1)
    assert {type(sample["prompt"]) for sample in samples} == {str}
    file = io.BytesIO()
    torch.save({"samples": samples}, file)
    file.seek(0)
    assert torch.load(file, weights_only=True) == {"samples": samples}  # as checkpoints are read


def test_prompts_are_taken_once():
    prompts = distinct_prompts(pairs(), "domain")
    assert len(prompts.texts) == len(set(prompts.texts)) < 24
    assert prompts.membership_NG.shape == (len(prompts.texts), 3)


def test_recipes_give_defaults_that_can_be_set():
    from plugins.policy.grpo import GrpoConfig

    dapo = GrpoConfig(recipe="dapo", sampling={"max_new_tokens": 40}, clip_high=0.3)
    assert (dapo.aggregation, dapo.clip_low, dapo.clip_high, dapo.mask_overlong) == ("token", 0.2, 0.3, True)
    assert (dapo.overlong_margin, dapo.dynamic_rounds, dapo.beta) == (8, 3, 0)
    assert GrpoConfig.model_validate_json(dapo.model_dump_json()) == dapo
    assert (GrpoConfig(recipe="dr_grpo").std_scaling, GrpoConfig(recipe="dr_grpo").aggregation) == ("none", "constant")
    assert (GrpoConfig(recipe="gspo").ratio, GrpoConfig(recipe="gspo").clip_high) == ("sequence", 4e-4)
    with pytest.raises(ValueError, match="recipe"):
        GrpoConfig(recipe="grop")


def test_a_term_sees_no_padding_and_takes_no_other_metrics_name(model_folder, context, tmp_path):
    model, tokenizer = load_model(model_folder)
    chosen = settings(sampling={"stop": ("e",), "max_new_tokens": 12})
    inverse = Term("inverse", 0.1, lambda tokens: 1 / tokens.entropy_BT + tokens.logps_BT.neg().log())
    experience, _ = experience_of(model, tokenizer, chosen)
    place, learner = update_context(model, chosen), SurrogateLearner(cohort_relative(), chosen, [inverse])
    (minibatch,), *_ = learner.prepare(experience, place)
    assert any((~part.batch.mask_BT.bool()).any() for part in minibatch.passes), "there is padding"
    assert math.isfinite(backward(minibatch, learner, place)["inverse"].item())
    assert all(gradient.isfinite().all() for gradient in gradients(model).values())
    (out := tmp_path / "out").mkdir()
    for terms in ([Term("kl", 1.0, inverse.loss)], [inverse, inverse]):
        with pytest.raises(ValueError, match="a term may not be called"):
            train_online(
                TinyInputs(model_folder), SurrogateLearner(cohort_relative(), chosen, terms), chosen, context, out
            )


def test_a_setting_that_has_moved_is_refused_with_its_new_place():
    from plugins.policy.grpo import GrpoConfig

    with pytest.raises(ValueError, match=r"temperature is now sampling\.temperature; stop_kl is now stop\.kl"):
        GrpoConfig(temperature=0.7, stop_kl=3)
    with pytest.raises(ValueError, match=r"stop, the strings that end a completion, is now sampling\.stop"):
        GrpoConfig(stop=["\n"])
    for wrong in (None, ["x"], "x"):
        with pytest.raises(ValueError, match="sampling"):
            GrpoConfig(recipe="dapo", sampling=wrong)
    assert PpoConfig(sampling={"stop": ["\n"]}, stop={"kl": 3}).stop.kl == 3


def test_settings_that_would_do_nothing_are_refused():
    from plugins.policy.grpo import GrpoConfig
    from plugins.policy.rloo import RlooConfig

    for wrong, words in (
        ({"combination": "normalised", "std_scaling": "none"}, "needs std_scaling: cohort"),
        ({"combination": "normalised", "overlong_margin": 4}, "overlong_margin"),
        ({"combination": "normalised", "adaptive": {"first": 2, "most": 8}}, "adaptive"),
        ({"kl_estimator": "k1", "beta": 0.1}, "no gradient on average"),
    ):
        with pytest.raises(ValueError, match=words):
            GrpoConfig(**wrong)
    assert GrpoConfig(kl_estimator="k1", beta=0.1, updates_per_rollout=2).beta == 0.1
    with pytest.raises(ValueError, match="weighted sum"):
        RlooConfig(combination="normalised")
    with pytest.raises(ValueError, match="kl_target"):
        PpoConfig(kl_coef=0, kl_target=6)


def test_groups_within_domains_are_weighed_alike_at_a_trade_off_of_nothing():
    weighting = settings(worst_group={"chi": 0}, group_by="domain/group").weighting()
    state = weighting.init(torch.ones(3, dtype=torch.float64), torch.tensor([0, 0, 1]))
    for _ in range(20):
        state = weighting.step(torch.tensor([0.0, 0.0, 2.0]).double(), torch.ones(3, dtype=torch.float64), state)
    assert weighting.shares(state).tolist() == pytest.approx([0.25, 0.25, 0.5])


def test_the_critics_gradient_takes_nothing_from_the_policys(context):
    """Each is scaled down by itself: the size of the rewards, which the critic's follows, leaves the policy's alone."""
    weights = torch.nn.ParameterDict({"policy": torch.zeros(2), "critic": torch.zeros(2)})
    training = Training(weights, settings(max_grad_norm=1.0), 1, context, apart="critic")
    weights["policy"].grad, weights["critic"].grad = torch.tensor([3.0, 4.0]), torch.tensor([300.0, 400.0])
    assert training.update().item() == pytest.approx(5.0), "the policy's norm"
    moments = [one["exp_avg"] for one in training._optimizer.state.values()]
    assert all(torch.allclose(one, 0.1 * torch.tensor([0.6, 0.8])) for one in moments)
