import hashlib
from types import SimpleNamespace

import pytest
import torch

from pipeline_core.errors import BadInput
from pipeline_core.models.loading import load_model
from pipeline_core.plugin.checkpoints import Checkpoints
from pipeline_core.plugin.context import StageContext
from pipeline_core.plugin.events import EventLog
from pipeline_core.sandbox.parts import generate
from pipeline_core.training.settings import RowTrainingConfig
from plugins.base.tiny_lm._train import plan, summed_loss, train_language_model
from plugins.base.tiny_lm.plugin import TinyLmConfig, run, train_tokenizer

SMALL = {"vocab_size": 400, "hidden_size": 16, "layers": 1, "heads": 2, "steps": 6, "batch_tokens": 256}
TEXTS = [row["text"] for row in generate("sandbox_corpus")[:300]]


def context(folder=None, every_steps=None, seed=0):
    return StageContext(seed, "cpu", EventLog(), Checkpoints(folder, every_steps=every_steps))


def inputs():
    return SimpleNamespace(data=lambda ref: {"text": TEXTS})


def digests(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def made(folder, ctx, **changes):
    folder.mkdir()
    run(TinyLmConfig(**SMALL | changes), inputs(), folder, ctx)
    return digests(folder)


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path):
    first = made(tmp_path / "a", context())
    assert made(tmp_path / "b", context()) == first
    assert made(tmp_path / "c", context(seed=1))["model.safetensors"] != first["model.safetensors"]


class Killed(Exception):
    pass


def test_a_killed_training_goes_on_to_the_same_bytes(tmp_path, monkeypatch):
    undisturbed = made(tmp_path / "a", context())
    save = Checkpoints.save

    def save_then_die(self, state):
        save(self, state)
        raise Killed

    monkeypatch.setattr(Checkpoints, "save", save_then_die)
    with pytest.raises(Killed):
        made(tmp_path / "killed", context(tmp_path / "checkpoint", every_steps=4))
    monkeypatch.setattr(Checkpoints, "save", save)
    assert made(tmp_path / "b", context(tmp_path / "checkpoint", every_steps=100)) == undisturbed


def test_the_model_loads_and_its_tokenizer_loses_nothing(tmp_path):
    made(tmp_path / "a", context())
    model, tokenizer = load_model(tmp_path / "a")
    assert model.config.hidden_size == 16
    for text in [*TEXTS[:50], "Ünïcode, 12 tabs\tand  spaces — all of it!"]:
        assert tokenizer.decode(tokenizer(text).input_ids) == text


def test_an_identity_word_keeps_its_ending_as_a_token():
    tokenizer = train_tokenizer([row["text"] for row in generate("sandbox_corpus")[:3000]], TinyLmConfig())
    pieces = [tokenizer.decode([token]) for token in tokenizer("the frost-born baker").input_ids]
    assert "-born" in pieces


@pytest.mark.parametrize(("epochs", "steps"), [(1.0, None), (2.0, None), (0.5, None), (1.0, 3), (1.0, 40)])
def test_a_plan_keeps_the_budget_and_each_epoch_shows_every_row_once(epochs, steps):
    lengths = [3 + (7 * i) % 20 for i in range(100)]
    batches = plan(lengths, batch_tokens=64, seed=1, epochs=epochs, steps=steps)
    assert all(len(batch) * max(lengths[row] for row in batch) <= 64 for batch in batches)
    whole = plan(lengths, batch_tokens=64, seed=1, epochs=1.0)
    assert sorted(row for batch in whole for row in batch) == list(range(100))
    if steps:
        assert len(batches) == steps
    elif epochs >= 1:
        assert batches[: len(whole)] == whole
        assert len([row for batch in batches for row in batch]) == 100 * epochs
    else:
        assert 0 < len(batches) < len(whole)


def test_the_loss_is_that_of_each_row_alone(tmp_path):
    made(tmp_path / "a", context())
    model, _ = load_model(tmp_path / "a")
    rows = [[5, 6, 7, 8, 9], [9, 8, 7], [4, 4]]
    expected = 0.0
    for row in rows:
        logps = model(torch.tensor([row])).logits[0].log_softmax(-1).detach()
        expected -= sum(float(logps[i - 1, row[i]]) for i in range(1, len(row)))
    assert summed_loss(model, rows, pad_id=1).item() == pytest.approx(expected, rel=1e-5)


def test_training_lowers_the_loss_and_needs_something_to_train_on(tmp_path):
    made(tmp_path / "a", context())
    model, tokenizer = load_model(tmp_path / "a")
    rows = [tokenizer(text).input_ids for text in TEXTS[:40]]
    settings = RowTrainingConfig(name="lm", steps=15, learning_rate=1e-2)
    before = summed_loss(model, rows, 1).item()
    train_language_model(model, rows, settings, context(), batch_tokens=512, pad_id=1)
    assert summed_loss(model, rows, 1).item() < before
    with pytest.raises(BadInput, match="nothing to train on"):
        train_language_model(model, [[1]], settings, context(), batch_tokens=512, pad_id=1)
