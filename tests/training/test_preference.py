import json
import math
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from datasets import Dataset
from torch.nn.functional import logsigmoid

from pipeline_core.errors import BadInput
from pipeline_core.losses.groups import Weighting, uniform
from pipeline_core.losses.preference import logistic_loss, squared_loss
from pipeline_core.losses.terms import Term
from pipeline_core.models.adapters import LoraSettings
from pipeline_core.models.collation import collate
from pipeline_core.models.loading import load_model, load_tokenizer, load_trainable
from pipeline_core.plugin.checkpoints import Checkpoints
from pipeline_core.plugin.context import StageContext
from pipeline_core.plugin.events import EventLog
from pipeline_core.training.batching import micro_batches
from pipeline_core.training.optimizer import Diverged, Training
from pipeline_core.training.preference import reference as reference_module
from pipeline_core.training.preference.encoded_rows import encode_rows
from pipeline_core.training.preference.reference import reference_logps
from pipeline_core.training.preference.rows import backward, train_rows
from pipeline_core.training.preference.settings import PreferenceConfig
from pipeline_core.training.preference.train import pair_objective, train_preferences
from plugins.policy.sft._train import train_completions
from tests.models.plain import plain_completion_logps
from tests.training.tiny import TinyInputs, pairs, write_model


def settings(**values):
    return PreferenceConfig(name="x", **{"batch_size": 6, "learning_rate": 3e-3, "steps": 4, **values})


@pytest.fixture
def rows(model_folder):
    return encode_rows(load_tokenizer(model_folder), pairs(), ("chosen", "rejected"), settings())


def gradients(model):
    return {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None}


def adaptive_beta(pairs):
    """A pair's temperature rises with its margin over the batch's mean: the loss needs to know of the whole batch."""
    beta = 0.5 * (1 + 0.1 * (pairs.margin - pairs.means["margin"])).detach()
    return -logsigmoid(beta * pairs.margin)


@pytest.mark.parametrize("losses", ["none", "current", "lagged"])
@pytest.mark.parametrize("budget", [1, 70, 10000])
def test_terms_and_batch_statistics_give_the_naive_gradient_whatever_the_passes(model_folder, rows, budget, losses):
    model = load_trainable(model_folder, "cpu", None, 0)
    reference = torch.full((len(rows), 2), -20.0, dtype=torch.float64)
    term = Term("nll", 0.3, lambda pairs: -pairs.chosen / pairs.chosen_length)
    objective = pair_objective(model, rows, reference, adaptive_beta, 1, [term], {"margin": lambda pairs: pairs.margin})
    batch = [0, 3, 4, 7, 10]
    weighting = replace(uniform(), losses=losses)
    passes = micro_batches(batch, rows.parts, budget)
    metrics, _ = backward(rows, batch, passes, objective, weighting, weighting.init(torch.ones(3).double(), None))
    ours = gradients(model)
    model.zero_grad()
    margins, nlls = [], []
    for row in batch:
        logps = plain_completion_logps(model, collate([rows.prompts[row]], rows.completions[row], 1, "cpu"))[0].sum(1)
        margins.append(logps[0] - logps[1])
        nlls.append(-logps[0] / len(rows.completions[row][0]))
    margin_B, nll_B = torch.stack(margins), torch.stack(nlls)
    beta_B = 0.5 * (1 + 0.1 * (margin_B - margin_B.mean())).detach()
    loss = (-logsigmoid(beta_B * margin_B) + 0.3 * nll_B).mean()
    loss.backward()
    assert metrics["loss"].item() == pytest.approx(loss.item(), rel=1e-5)
    assert metrics["nll"].item() == pytest.approx(nll_B.mean().item(), rel=1e-5)
    for name, gradient in gradients(model).items():
        assert torch.allclose(ours[name], gradient, atol=1e-5 * max(1, gradient.abs().max())), name


def test_training_starts_at_log_2_and_learns(model_folder, context, tmp_path):
    (out := tmp_path / "out").mkdir()
    chosen = settings(steps=30)
    metrics = train_preferences(TinyInputs(model_folder), logistic_loss(0.5), uniform(), chosen, context, out)
    first, last = context.events.history[0], context.events.history[-1]
    assert first["loss"] == pytest.approx(math.log(2), abs=1e-4)
    assert first["margin"] == pytest.approx(0, abs=1e-4)
    assert last["loss"] < 0.4
    assert metrics["accuracy"] > 0.9
    groups = [first[f"group/{name}/loss"] for name in ("age", "gender", "race") if f"group/{name}/loss" in first]
    assert groups == pytest.approx([math.log(2)] * len(groups), abs=1e-4)
    lines = [json.loads(line) for line in (out / "history.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, 31))
    assert not any(name.startswith("perf/") for line in lines for name in line)
    trained, _ = load_model(out)
    assert any(
        (a != b).any() for a, b in zip(trained.parameters(), load_model(model_folder)[0].parameters(), strict=True)
    )


def test_reference_equals_the_plain_forward_and_is_computed_once(model_folder, context, rows, monkeypatch):
    model, _ = load_model(model_folder)
    logps = reference_logps(model_folder, rows, settings(), context)
    with torch.no_grad():
        for row in range(len(rows)):
            batch = collate([rows.prompts[row]], rows.completions[row], 1, "cpu")
            plain = plain_completion_logps(model, batch)[0].sum(1)
            assert torch.allclose(logps[row].float(), plain, atol=1e-4)
    monkeypatch.setattr(reference_module, "load_model", None)  # a second computation would fail
    assert torch.equal(reference_logps(model_folder, rows, settings(), context), logps)


def test_reference_is_computed_anew_for_other_rows_and_other_weights(model_folder, context, rows, tmp_path):
    reference_logps(model_folder, rows, settings(), context)
    other = encode_rows(load_tokenizer(model_folder), pairs(23), ("chosen", "rejected"), settings())
    reference_logps(model_folder, other, settings(), context)
    model, tokenizer = load_model(model_folder)
    next(model.parameters()).data.add_(0.1)
    model.save_pretrained(tmp_path / "moved")
    tokenizer.save_pretrained(tmp_path / "moved")
    reference_logps(tmp_path / "moved", rows, settings(), context)
    assert len(list((context.scratch / "reference").iterdir())) == 3


@pytest.mark.parametrize("losses", ["none", "current", "lagged"])
@pytest.mark.parametrize("budget", [1, 70, 10000])
def test_weighted_gradient_equals_the_naive_one(model_folder, rows, budget, losses):
    model = load_trainable(model_folder, "cpu", None, 0)
    reference = torch.full((len(rows), 2), -20.0, dtype=torch.float64)
    objective = pair_objective(model, rows, reference, squared_loss(0.5), pad_id=1)
    batch = [0, 3, 4, 7, 10]  # groups 0, 0, 1, 1, 1 of three
    seen = {}

    def step(loss, count, state):
        seen.update(loss=loss, count=count)
        return state | {"steps": state["steps"] + 1}

    def shares(state):  # a row of the three counts 2, 0.5 and 9 times; 3 times as much after a step
        return torch.tensor([2.0, 0.5, 9.0], dtype=torch.float64) / 3 * 3 ** state["steps"]

    weighting = Weighting(lambda size, domain: {"size": size, "steps": torch.zeros(())}, step, shares, losses=losses)
    passes = micro_batches(batch, rows.parts, budget)
    state = weighting.init(torch.ones(3, dtype=torch.float64), None)
    metrics, state = backward(rows, batch, passes, objective, weighting, state)
    ours = gradients(model)

    model.zero_grad()
    expected = []
    for row in batch:
        logps = plain_completion_logps(model, collate([rows.prompts[row]], rows.completions[row], 1, "cpu"))[0].sum(1)
        expected.append(((logps[0] + 20) - (logps[1] + 20) - 1).square())
    weights = [2.0, 2.0, 0.5, 0.5, 0.5]
    scale = 3 if losses == "current" else 1
    (sum(scale * weight * loss for weight, loss in zip(weights, expected, strict=True)) / 5).backward()
    values = [loss.item() for loss in expected]
    weighted = scale * sum(weight * value for weight, value in zip(weights, values, strict=True)) / 5
    assert metrics["loss"].item() == pytest.approx(weighted, rel=1e-5)  # S12: what is minimised
    assert metrics["mean_loss"].item() == pytest.approx(sum(values) / 5, rel=1e-5)
    assert metrics["group/age/loss"].item() == pytest.approx(sum(values[:2]) / 2, rel=1e-5)
    assert metrics["group/gender/loss"].item() == pytest.approx(sum(values[2:]) / 3, rel=1e-5)
    assert "group/race/loss" not in metrics
    assert metrics["worst_group/loss"].item() == pytest.approx(max(sum(values[:2]) / 2, sum(values[2:]) / 3), rel=1e-5)
    assert ("group/race/weight" in metrics) == (losses != "none")
    assert state["steps"].item() == (losses != "none")
    if losses != "none":
        assert seen["count"].tolist() == [2, 3, 0]
        assert seen["loss"].tolist() == pytest.approx([sum(values[:2]), sum(values[2:]), 0], rel=1e-5)
    for name, gradient in gradients(model).items():
        assert torch.allclose(ours[name], gradient, atol=1e-5 * max(1, gradient.abs().max())), name


def test_rows_of_several_groups_count_in_parts(model_folder):
    rows = encode_rows(load_tokenizer(model_folder), pairs(4), ("chosen",), settings(group_by="group"))
    assert rows.groups == ["a", "b"]
    assert rows.membership_NG.tolist() == [[1, 0], [0.5, 0.5], [1, 0], [0.5, 0.5]]


def test_the_worst_group_of_a_training_is_the_highest_of_the_groups_means():
    """In one batch the old are worst (1.0), in the next the young (0.8): neither is at 0.9 over both."""
    history = [
        {"step": 19, "loss": 0.5, "group/old/loss": 1.0, "group/young/loss": 0.2, "worst_group/loss": 1.0},
        {"step": 20, "loss": 0.5, "group/old/loss": 0.4, "group/young/loss": 0.8, "worst_group/loss": 0.8},
    ]
    context = SimpleNamespace(events=SimpleNamespace(history=[{"loss": 9.0}] * 18 + history))
    found = Training.summary(SimpleNamespace(total=20, _context=context))
    assert found["worst_group/loss"] == found["group/old/loss"] == pytest.approx(0.7)
    assert found["group/young/loss"] == pytest.approx(0.5)


def test_divergence_names_the_step_and_keeps_the_last_good_checkpoint(model_folder, rows, tmp_path):
    checkpoints = Checkpoints(tmp_path / "checkpoint", every_steps=1)
    context = StageContext(seed=5, device="cpu", events=EventLog(), checkpoints=checkpoints)
    model = load_trainable(model_folder, "cpu", None, 0)
    calls = []

    def breaking(batch):
        calls.append(1)
        return batch.margin * (float("nan") if len(calls) == 3 else 1)

    objective = pair_objective(model, rows, torch.zeros(len(rows), 2), breaking, 1)
    with pytest.raises(Diverged, match=r"group/\w+/loss is nan at step 3 of 4"):
        train_rows(model, rows, objective, uniform(), settings(), context)
    state = checkpoints.load()
    assert state["step"] == 2
    assert all(weight.isfinite().all() for weight in state["weights"].values())


def test_more_tokens_than_positions_are_refused(tmp_path, context):
    inputs = TinyInputs(write_model(tmp_path / "model", "gpt2"), Dataset.from_list(_rows_of(200)))
    with pytest.raises(BadInput, match="exceed the model's 128 positions"):
        train_preferences(inputs, logistic_loss(0.5), uniform(), settings(), context, tmp_path)
    with pytest.raises(BadInput, match="exceed the model's 128 positions"):
        train_completions(inputs, "chosen", settings(), context, tmp_path)


def _rows_of(words):
    return [{"prompt": "the", "chosen": "nurse " * words, "rejected": "late", "domain": "age"}]


def test_adapters_learn_and_are_merged(model_folder, context, tmp_path):
    (out := tmp_path / "out").mkdir()
    chosen = settings(steps=40, lora=LoraSettings(r=4), learning_rate=1e-2)
    metrics = train_preferences(TinyInputs(model_folder), logistic_loss(0.5), uniform(), chosen, context, out)
    assert metrics["loss"] < 0.5
    before, after = load_model(model_folder)[0].state_dict(), load_model(out)[0].state_dict()
    assert before.keys() == after.keys()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed
    assert all("proj" in name for name in changed)


def test_adapters_start_depends_on_the_seed_alone(model_folder):
    first, second, other = (load_trainable(model_folder, "cpu", LoraSettings(), seed) for seed in (1, 1, 2))
    torch.rand(3)

    def adapters(model):
        return torch.cat([weight.flatten() for name, weight in model.named_parameters() if weight.requires_grad])

    assert torch.equal(adapters(first), adapters(second))
    assert not torch.equal(adapters(first), adapters(other))


def test_unknown_adapter_layers_are_bad_input(model_folder):
    with pytest.raises(BadInput, match=r"lora\.target_modules"):
        load_trainable(model_folder, "cpu", LoraSettings(target_modules=("no_such_layer",)), 0)


def test_imitation_learns_the_chosen_completions(model_folder, context, tmp_path):
    (out := tmp_path / "out").mkdir()
    chosen = settings(steps=60)
    metrics = train_completions(TinyInputs(model_folder), "chosen", chosen, context, out)
    assert metrics["loss"] < 0.5 * context.events.history[0]["loss"]
    assert metrics["entropy"] > 0


def test_no_rows_is_bad_input(model_folder, context, tmp_path):
    with pytest.raises(BadInput, match="no rows"):
        encode_rows(load_tokenizer(model_folder), pairs(1).select([]), ("chosen",), settings())
