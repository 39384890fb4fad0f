"""Group weights in training: batches in parts, groups at odds, validation, and what is refused."""

import math
from dataclasses import dataclass, replace

import pytest
import torch
from datasets import Dataset

from pipeline_core.errors import BadInput
from pipeline_core.loops.batching import micro_batches
from pipeline_core.loops.completions import collate, plain_completion_logps
from pipeline_core.loops.preference import pair_objective, train_preferences
from pipeline_core.loops.rows import backward, encode_rows
from pipeline_core.loops.training import Diverged
from pipeline_core.modeling import load_model, load_tokenizer, load_trainable
from pipeline_core.ops.groups import exponentiated_gradient, importance, uniform
from pipeline_core.ops.preference import logistic_loss, squared_loss
from pipeline_core.preference_settings import PreferenceConfig
from plugins.policy.gr_dpo import GrDpoConfig
from plugins.policy.gr_ipo import GrIpoConfig
from tests.loops.tiny import TinyInputs, pairs


def settings(**values):
    return PreferenceConfig(name="x", **{"batch_size": 6, "learning_rate": 3e-3, "steps": 4, **values})


def two_groups(big=20, small=4, **columns):
    """Two groups that want the opposite of each other in the same words; the prompt says whose turn it is."""
    rows = [("many", "the nurse said that", "she", "he")] * big + [("few", "the driver said that", "he", "she")] * small
    names = ("domain", "prompt", "chosen", "rejected")
    return Dataset.from_list(
        [dict(zip(names, row, strict=True)) | {"id": str(i), **columns} for i, row in enumerate(rows)]
    )


@dataclass
class Inputs(TinyInputs):
    """Tiny inputs with validation rows of their own."""

    held_out: Dataset | None = None

    def data(self, ref):
        return self.held_out


@pytest.mark.parametrize("form", ["mean", "population"])
@pytest.mark.parametrize("group_by", ["domain", "group", "domain/group"])
def test_a_batch_in_parts_equals_the_batch_and_a_naive_loop(model_folder, form, group_by):
    model = load_trainable(model_folder, "cpu", None, 0)
    rows = encode_rows(load_tokenizer(model_folder), pairs(), ("chosen", "rejected"), settings(group_by=group_by))
    reference = torch.full((len(rows), 2), -20.0, dtype=torch.float64)
    objective = pair_objective(model, rows, reference, squared_loss(0.5), pad_id=1)
    batch, sizes = [0, 3, 4, 7, 10, 11], rows.membership_NG.sum(0)
    weighting = exponentiated_gradient(0.003, 0.8, form, domain_chi=0.5)
    start = weighting.init(sizes, rows.domain_G)

    losses = []
    for row in batch:
        logps = plain_completion_logps(model, collate([rows.prompts[row]], rows.completions[row], 1, "cpu"))[0].sum(1)
        losses.append(((logps[0] + 20) - (logps[1] + 20) - 1).square())
    loss_B, member_BG = torch.stack(losses).double(), rows.membership_NG[batch]
    state = weighting.step(loss_B.detach() @ member_BG, member_BG.sum(0), start)
    share_G, total = weighting.shares(state), 0
    for group in range(len(rows.groups)):
        summed, count = loss_B @ member_BG[:, group], member_BG[:, group].sum()
        scale = 1 / count if form == "mean" else len(rows) / sizes[group] / len(batch)
        total = total + (share_G[group] * scale * summed if count else 0)
    total.backward()
    expected = {name: weight.grad.clone() for name, weight in model.named_parameters()}

    for budget in (1, 70, 10000):
        model.zero_grad()
        passes = micro_batches(batch, rows.parts, budget)
        metrics, after = backward(rows, batch, passes, objective, weighting, start)
        assert torch.allclose(weighting.shares(after), share_G, atol=1e-6)
        for name, weight in model.named_parameters():
            scale = max(1.0, expected[name].abs().max().item())
            assert torch.allclose(weight.grad, expected[name], atol=1e-5 * scale), (budget, name)
        assert metrics[f"group/{rows.groups[0]}/weight"].item() == pytest.approx(share_G[0].item(), rel=1e-5)


def test_lagged_weights_are_those_of_the_batches_before(model_folder):
    model = load_trainable(model_folder, "cpu", None, 0)
    rows = encode_rows(load_tokenizer(model_folder), pairs(), ("chosen", "rejected"), settings())
    objective = pair_objective(model, rows, torch.zeros(len(rows), 2), logistic_loss(0.5), 1)
    weighting = exponentiated_gradient(0.5, form="mean", losses="lagged")
    start = weighting.init(rows.membership_NG.sum(0), None)
    metrics, after = backward(rows, [0, 1, 2], [[0, 1, 2]], objective, weighting, start)
    current = replace(weighting, losses="current")
    _, same = backward(rows, [0, 1, 2], [[0, 1, 2]], objective, current, start)
    assert [metrics[f"group/{name}/weight"].item() for name in rows.groups] == pytest.approx([1 / 3] * 3)
    assert torch.allclose(weighting.shares(after), current.shares(same), atol=1e-6)
    assert weighting.shares(after).max() > 0.34


def test_the_small_group_is_left_behind_by_the_mean_and_not_by_the_worst_group(model_folder, tmp_path):
    found, loss = {}, logistic_loss(0.5)
    for name, weighting in (("plain", uniform()), ("robust", exponentiated_gradient(0.2, form="mean"))):
        (out := tmp_path / name).mkdir()
        inputs, chosen = (
            Inputs(model_folder, two_groups(big=44, small=4)),
            settings(steps=16, batch_size=12, learning_rate=1e-3),
        )
        train_preferences(inputs, loss, weighting, chosen, new_context(tmp_path), out)
        found[name] = group_loss(loss, model_folder, out)
    assert found["plain"]["few"] > found["plain"]["many"]
    assert found["robust"]["few"] < found["plain"]["few"]
    assert max(found["robust"].values()) < max(found["plain"].values())


def group_loss(loss, start, folder):
    """Loss of one pair of each group under the model in `folder`."""
    tokenizer, table = load_tokenizer(folder), two_groups(big=1, small=1)
    rows = encode_rows(tokenizer, table, ("chosen", "rejected"), settings())
    (policy, _), (reference, _) = load_model(folder), load_model(start)
    with torch.no_grad():
        fixed = torch.stack(
            [
                plain_completion_logps(reference, collate([rows.prompts[row]], rows.completions[row], 1, "cpu"))[0].sum(
                    1
                )
                for row in range(2)
            ]
        )
        values, _ = pair_objective(policy, rows, fixed, loss, 1).losses([0, 1])
    return dict(zip(table["domain"], values.tolist(), strict=True))


def new_context(folder):
    from pipeline_core.checkpoints import Checkpoints
    from pipeline_core.context import StageContext
    from pipeline_core.events import EventLog

    return StageContext(seed=5, device="cpu", events=EventLog(), checkpoints=Checkpoints(None), scratch=folder)


def test_a_plateau_slows_down_then_stops_and_the_best_weights_stay(model_folder, context, tmp_path):
    """The held-out pairs are the training pairs turned round: what is learned can only raise their loss."""
    (out := tmp_path / "out").mkdir()
    table = two_groups(12, 12)
    turned = table.rename_columns({"chosen": "rejected", "rejected": "chosen"})
    inputs = Inputs(model_folder, table, held_out=turned)
    watch = {"data": "x", "every": 2, "patience": 2, "plateaus": 2}
    chosen = settings(steps=60, warmup_ratio=0, schedule="constant", validation=watch)
    weighting = exponentiated_gradient(0.01)
    metrics = train_preferences(inputs, logistic_loss(1.0), weighting, chosen, context, out)
    history = context.events.history
    rates = [entry["learning_rate"] for entry in history]
    assert len(history) == 14  # the best at 2; no better at 4, 6: slower; at 8, 10: slower; at 12, 14: the end
    assert rates == pytest.approx([3e-3] * 6 + [3e-4] * 4 + [3e-5] * 4)
    measured = [entry["validation/loss"] for entry in history if "validation/loss" in entry]
    assert len(measured) == 7
    assert metrics["validation/best_step"] == 2
    assert metrics["validation/best_loss"] == min(measured) == measured[0]
    assert {"validation/group/many/loss", "validation/worst_group/loss"} <= history[1].keys()
    losses = group_loss(logistic_loss(1.0), model_folder, out)
    learned = -math.log(1 - math.exp(-sum(losses.values()) / 2))  # the turned pair's loss, from the pair's own
    assert learned == pytest.approx(measured[0], rel=0.05)


def test_robust_methods_watch_the_worst_group(model_folder):
    assert GrDpoConfig(validation={"data": "x"}).watched() == "worst_group"
    assert settings(validation={"data": "x"}).watched() == "mean"
    assert settings(validation={"data": "x", "watch": "worst_group"}).watched() == "worst_group"


@pytest.mark.parametrize(
    ("table", "group_by", "words"),
    [
        (two_groups(), "group", "none of the 24 rows has a group.*`group_by: domain`, or"),
        (
            two_groups(20, 0),
            "domain",
            "all 20 rows belong to one domain \\('many'\\).*at least two groups. Use an algorithm without",
        ),
        (two_groups(3, 3, group=["a"]), "group", "all 6 rows belong to one group \\('a'\\)"),
        (
            Dataset.from_list([*two_groups(1, 1), {**two_groups(1, 0)[0], "domain": None, "id": "odd"}]),
            "domain",
            "1 of the 3 rows have no domain, the first is row 2 \\(id 'odd'\\)",
        ),
    ],
)
@pytest.mark.parametrize("weighting", [importance(), exponentiated_gradient(0.01)])
def test_rows_that_cannot_be_weighed_are_refused_before_a_model_loads(table, group_by, words, weighting, context):
    inputs = TinyInputs("no such folder", table)
    with pytest.raises(BadInput, match=words):
        train_preferences(inputs, logistic_loss(1.0), weighting, settings(group_by=group_by), context, None)


@pytest.mark.parametrize(
    ("held_out", "words"),
    [
        (
            Dataset.from_list([*two_groups(1, 1), {**two_groups(1, 0)[0], "domain": "new"}]),
            "group 'new' has 1 row\\(s\\) there and none among the training rows \\(groups: few, many\\)",
        ),
        (two_groups(3, 0), "group 'few' of the training rows has no row there"),
    ],
)
def test_groups_of_one_side_only_are_named(model_folder, context, held_out, words):
    inputs = Inputs(model_folder, two_groups(), held_out=held_out)
    chosen = settings(validation={"data": "x"})
    with pytest.raises(BadInput, match=r"validation\.data: " + words):
        train_preferences(inputs, logistic_loss(1.0), uniform(), chosen, context, None)


@pytest.mark.parametrize(
    ("config", "values", "words"),
    [
        (GrDpoConfig, {"chi": 1.2}, "less than or equal to 1"),
        (GrDpoConfig, {"chi": -0.1}, "greater than or equal to 0"),
        (GrDpoConfig, {"eta_alpha": 0.0}, "greater than 0"),
        (GrDpoConfig, {"eta_alpha": 1.0}, r"eta_alpha \(1\) saturates.*raises a log-weight by about 11\.1.*0\.27"),
        (GrDpoConfig, {"eta_alpha": 1.0}, "or `form: mean`"),
        (GrDpoConfig, {"eta_alpha": 5.0, "form": "mean"}, "Use at most 4.3"),
        (GrIpoConfig, {"eta_alpha": 0.01, "beta": 0.01}, r"begins with a loss of 2\.5e\+03"),
        (GrIpoConfig, {"eta_alpha": 0.01, "chi": 0.0, "domain_chi": 1.0, "group_by": "domain/group"}, "saturates"),
    ],
)
def test_absurd_settings_are_refused_with_the_reason(config, values, words):
    with pytest.raises(ValueError, match=words):
        config(**values)


def test_an_ascent_that_does_not_bite_only_by_chi_is_no_error():
    GrDpoConfig(eta_alpha=1.0, chi=0.1)
    GrDpoConfig(eta_alpha=50.0, chi=0.0)
    GrDpoConfig(eta_alpha=1.0, form="mean")


def test_an_ascent_that_cannot_move_the_weights_is_refused(model_folder, context):
    slow = GrDpoConfig(eta_alpha=5e-7, steps=10)
    with pytest.raises(BadInput, match=r"leaves the group weights where they are.*5\.5e-05 in 10 steps.*0\.009"):
        train_preferences(
            TinyInputs("no such folder", two_groups()),
            logistic_loss(1.0),
            exponentiated_gradient(5e-7),
            slow,
            context,
            None,
        )
    GrIpoConfig(eta_alpha=5e-7, beta=0.01, steps=10).check_data(two_groups(), None)  # the paper's pair of settings


def test_a_loss_that_is_not_finite_names_its_group(model_folder, context, tmp_path):
    def breaking(batch):
        return batch.margin / torch.where(batch.chosen_length == batch.chosen_length.max(), 0.0, 1.0)

    table = two_groups(4, 4).map(lambda row: {"chosen": "she was late" if row["domain"] == "few" else row["chosen"]})
    inputs = TinyInputs(model_folder, table)
    with pytest.raises(Diverged, match=r"group/few/loss is (nan|-?inf) at step 1"):
        train_preferences(inputs, breaking, exponentiated_gradient(0.01), settings(batch_size=8), context, tmp_path)
