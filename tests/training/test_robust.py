"""Group weights in training: batches in parts, groups at odds, validation, and what is refused."""

import math
from dataclasses import dataclass, replace

import pytest
import torch
from datasets import Dataset

from pipeline_core.errors import BadInput
from pipeline_core.losses.groups import exponentiated_gradient, importance, uniform
from pipeline_core.losses.preference import logistic_loss, squared_loss
from pipeline_core.models.collation import collate
from pipeline_core.models.loading import load_model, load_tokenizer, load_trainable
from pipeline_core.training.batching import micro_batches
from pipeline_core.training.optimizer import Diverged
from pipeline_core.training.preference.encoded_rows import encode_rows
from pipeline_core.training.preference.rows import backward
from pipeline_core.training.preference.settings import PreferenceConfig
from pipeline_core.training.preference.train import pair_objective, train_preferences
from plugins.policy.dpo import GrDpoConfig
from plugins.policy.ipo import GrIpoConfig, IpoConfig, IsIpoConfig
from tests.models.plain import plain_completion_logps
from tests.training.tiny import TinyInputs, pairs


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


@pytest.mark.parametrize("form", ["mixed", "mean", "population"])
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
        rows = encode_rows(load_tokenizer(out), two_groups(1, 1), ("chosen", "rejected"), settings())
        found[name] = dict(zip(("many", "few"), group_loss(loss, model_folder, out, rows), strict=True))
    assert found["plain"]["few"] > found["plain"]["many"]
    assert found["robust"]["few"] < found["plain"]["few"]
    assert max(found["robust"].values()) < max(found["plain"].values())


def group_loss(loss, start, folder, rows):
    """Losses of two rows under the model in `folder`."""
    (policy, _), (reference, _) = load_model(folder), load_model(start)

    def logps(model, row):
        return plain_completion_logps(model, collate([rows.prompts[row]], rows.completions[row], 1, "cpu"))[0].sum(1)

    with torch.no_grad():
        fixed = torch.stack([logps(reference, row) for row in range(2)])
        objective = pair_objective(policy, rows, fixed, loss, 1)
        return objective.losses(objective.forward([0, 1]), {})[0].tolist()


def new_context(folder):
    from pipeline_core.plugin.checkpoints import Checkpoints
    from pipeline_core.plugin.context import StageContext
    from pipeline_core.plugin.events import EventLog

    return StageContext(seed=5, device="cpu", events=EventLog(), checkpoints=Checkpoints(None), scratch=folder)


def turned(table):
    """The held-out pairs turned round: what is learned can only raise their loss."""
    return table.rename_columns({"chosen": "rejected", "rejected": "chosen"})


def test_a_plateau_slows_down_then_stops_and_the_start_was_best(model_folder, context, tmp_path):
    (out := tmp_path / "out").mkdir()
    table = two_groups(12, 12)
    inputs = Inputs(model_folder, table, held_out=turned(table))
    watch = {"data": "x", "every": 2, "patience": 2, "plateaus": 2, "rate_factor": 0.3}
    chosen = settings(steps=60, warmup_ratio=0, schedule="constant", validation=watch)
    weighting = exponentiated_gradient(0.01)
    metrics = train_preferences(inputs, logistic_loss(1.0), weighting, chosen, context, out)
    start, *history = context.events.history
    assert start["step"] == 0
    assert start["validation/loss"] == pytest.approx(math.log(2), rel=1e-4)
    assert len(history) == 12  # no better at 2, 4: slower; at 6, 8: slower; at 10, 12: the end
    rates = [entry["learning_rate"] for entry in history]
    assert rates == pytest.approx([3e-3] * 4 + [9e-4] * 4 + [2.7e-4] * 4)
    assert sum("validation/loss" in entry for entry in history) == 6
    assert {"validation/group/many/loss", "validation/worst_group/loss"} <= history[1].keys()
    assert metrics["validation/best_step"] == 0
    assert metrics["validation/loss"] == start["validation/loss"]
    for ours, theirs in zip(load_model(out)[0].parameters(), load_model(model_folder)[0].parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_the_best_weights_are_those_that_were_measured(model_folder, context, tmp_path):
    """Two groups at odds, of which the held-out rows know one: it is learned first and then forgotten, or not."""
    (out := tmp_path / "out").mkdir()
    inputs = Inputs(model_folder, two_groups(18, 6), held_out=two_groups(1, 1))
    chosen = settings(steps=12, validation={"data": "x", "every": 3, "watch": "worst_group"}, learning_rate=1e-3)
    inputs.held_out = inputs.held_out.map(lambda row: {"prompt": row["prompt"] + " the"})
    metrics = train_preferences(inputs, logistic_loss(1.0), uniform(), chosen, context, out)
    measured = {entry["step"]: entry for entry in context.events.history if "validation/loss" in entry}
    best = min(measured, key=lambda step: measured[step]["validation/worst_group/loss"])
    assert metrics["validation/best_step"] == best > 0
    assert metrics["validation/worst_group/loss"] == measured[best]["validation/worst_group/loss"]
    rows = encode_rows(load_tokenizer(out), inputs.held_out, ("chosen", "rejected"), settings())
    losses = group_loss(logistic_loss(1.0), model_folder, out, rows)
    assert max(losses) == pytest.approx(metrics["validation/worst_group/loss"], rel=1e-4)


def test_what_decides_is_what_an_algorithm_minimises():
    watched = {config: config(validation={"data": "x"}).watched() for config in (IpoConfig, IsIpoConfig, GrDpoConfig)}
    assert list(watched.values()) == ["mean", "group_mean", "worst_group"]
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


def odd_one(**values):
    return Dataset.from_list([*two_groups(1, 1), {**two_groups(1, 0)[0], **values}])


@pytest.mark.parametrize(
    ("held_out", "values", "words"),
    [
        (odd_one(domain="new"), {}, r"data: group 'new' has 1 row\(s\) there and none .*\(groups: few, many\)"),
        (turned(two_groups(3, 0)), {"watch": "worst_group"}, "data: group 'few' of the training rows has no row there"),
        (two_groups(3, 3), {}, "data: 2 of its 2 pairs are trained on"),
        (turned(two_groups(3, 3)), {"every": 9}, r"every \(9\) is more than the 4 steps"),
    ],
)
def test_held_out_rows_that_tell_nothing_are_refused(model_folder, context, held_out, values, words):
    inputs = Inputs(model_folder, two_groups(), held_out=held_out)
    chosen = settings(validation={"data": "x", "every": 1, **values})
    with pytest.raises(BadInput, match=r"validation\." + words):
        train_preferences(inputs, logistic_loss(1.0), uniform(), chosen, context, None)


def test_a_mean_over_rows_asks_for_no_group():
    chosen = settings(validation={"data": "x", "every": 1})
    chosen.check_data(two_groups(), lambda ref: turned(two_groups(3, 0)))


@pytest.mark.parametrize(
    ("config", "values", "words"),
    [
        (GrDpoConfig, {"chi": 1.2}, "less than or equal to 1"),
        (GrDpoConfig, {"chi": -0.1}, "greater than or equal to 0"),
        (GrDpoConfig, {"eta_alpha": 0.0}, "greater than 0"),
        (GrDpoConfig, {"eta_alpha": 1.0, "form": "population"}, r"saturates.*raises a log-weight by 11\.1.*0\.27"),
        (GrDpoConfig, {"eta_alpha": 1.0, "form": "population"}, "or `form: mixed`"),
        (GrDpoConfig, {"eta_alpha": 5.0}, "Use at most 4.3"),
        (GrIpoConfig, {"eta_alpha": 0.01, "beta": 0.01}, r"begins with a loss of 2\.5e\+03"),
        (GrIpoConfig, {"eta_alpha": 0.2, "chi": 0.0, "domain_chi": 0.9, "group_by": "domain/group"}, "saturates"),
        (GrIpoConfig, {"domain_chi": 0.9}, "domain_chi does nothing without `group_by: domain/group`"),
    ],
)
def test_absurd_settings_are_refused_with_the_reason(config, values, words):
    with pytest.raises(ValueError, match=words):
        config(**values)


@pytest.mark.parametrize("batch_size", [7, 16, 32, 64])
def test_the_advice_is_taken(batch_size):
    with pytest.raises(ValueError, match="Use at most") as refused:
        GrDpoConfig(eta_alpha=9, form="population", batch_size=batch_size)
    advised = float(str(refused.value).partition("Use at most ")[2].split()[0].strip(","))
    GrDpoConfig(eta_alpha=advised, form="population", batch_size=batch_size)


def test_an_ascent_that_does_not_bite_is_no_error():
    GrDpoConfig(eta_alpha=10.0, chi=0.1)
    assert GrDpoConfig(eta_alpha=50.0, chi=0.0).losses == "none"
    assert GrDpoConfig(chi=0.0, group_by="domain/group").losses == "current"


@pytest.mark.parametrize("config", [GrDpoConfig, GrIpoConfig])
@pytest.mark.parametrize("values", [{}, {"beta": 0.01}, {"form": "population", "batch_size": 64}, {"form": "mean"}])
def test_the_default_step_raises_a_weight_alike_for_any_beta_form_and_batch(config, values):
    chosen = config(**values)
    losses = chosen.batch_size if chosen.form == "population" else 1
    assert chosen.step_size * chosen.start_loss() * losses == pytest.approx(0.14)


def test_an_ascent_that_cannot_move_the_weights_or_jumps_is_refused(model_folder, context):
    slow = GrDpoConfig(eta_alpha=5e-7, steps=10)
    inputs, weighting = TinyInputs("no such folder", two_groups()), exponentiated_gradient(5e-7)
    with pytest.raises(BadInput, match=r"leaves the group weights where they are.*3\.5e-06 in 10 steps.*about 0\.1"):
        train_preferences(inputs, logistic_loss(1.0), weighting, slow, context, None)
    GrIpoConfig(eta_alpha=5e-7, beta=0.01, steps=10, form="population").check_data(two_groups(), None)  # the paper's
    rare = GrDpoConfig(eta_alpha=0.2, form="population", steps=10)
    rare.check_data(two_groups(20, 4), None)
    with pytest.raises(BadInput, match="eta_alpha \\(0.2\\) saturates.*log-weight by 6.9"):
        rare.check_data(two_groups(49, 1), None)


@pytest.mark.parametrize("odd", ["few", "many"])
def test_a_loss_that_is_not_finite_names_its_group(model_folder, context, tmp_path, odd):
    def breaking(batch):
        return batch.margin / torch.where(batch.chosen_length == batch.chosen_length.max(), 0.0, 1.0)

    table = two_groups(4, 4).map(lambda row: {"chosen": "she was late" if row["domain"] == odd else row["chosen"]})
    inputs = TinyInputs(model_folder, table)
    with pytest.raises(Diverged, match=rf"group/{odd}/loss is (nan|-?inf) at step 1"):
        train_preferences(inputs, breaking, exponentiated_gradient(0.01), settings(batch_size=8), context, tmp_path)
