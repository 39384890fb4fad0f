"""An encoder trains on the scores that its texts have alone, and is refused where it cannot (M1, M7)."""

import numpy as np
import pytest
import torch
from datasets import Dataset
from transformers import AutoModel

from pipeline_core.errors import BadInput
from pipeline_core.models.encoder import check_length, check_pooling, new_encoder, scores
from pipeline_core.models.padded_rows import can_pad
from pipeline_core.models.tokens.encoding import encode
from plugins.reward.encoder_regression import plugin as encoder_regression
from plugins.reward.encoder_regression._train import ScoredTexts
from plugins.reward.encoder_regression.plugin import EncoderRegressionConfig
from tests.models.tiny_classifiers import byte_tokenizer, config_of
from tests.rewards.worlds import Given, context, scored_text

ROWS = [
    {"prompt": "Who was late?", "chosen": "No.", "rejected": "The neighbour was, again and again.", "domain": "age"},
    {"prompt": "Who?", "chosen": "Both were late today.", "rejected": "She.", "domain": "age"},
    {"prompt": "And who else was?", "chosen": "He.", "rejected": "They.", "domain": "age"},
]


def write_encoder(folder, kind, tokenizer=None, **settings):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = AutoModel.from_config(config_of(kind, **settings))
        for weight in model.parameters():
            if weight.dim() > 1:
                torch.nn.init.normal_(weight, std=0.15)
    model.save_pretrained(folder)
    (tokenizer or byte_tokenizer(end=True)).save_pretrained(folder)
    return folder


def with_a_head(folder, pooling="mean"):
    """An encoder with a random head, and its tokenizer."""
    model, tokenizer = new_encoder(folder, pooling, 0)
    torch.manual_seed(1)
    torch.nn.init.normal_(model.head.weight)
    return model.eval(), tokenizer


@pytest.mark.parametrize("loss", ["mse", "pairwise"])
@pytest.mark.parametrize(("kind", "pads"), [("convbert", False), ("fnet", False), ("bert", True), ("llama", True)])
def test_m7_loss_gradient_and_figures_are_those_of_texts_read_alone(tmp_path, kind, pads, loss):
    model, tokenizer = with_a_head(write_encoder(tmp_path, kind))
    assert can_pad(model.pool, tokenizer, 64, "cpu") == pads
    text = scored_text(Dataset.from_list(ROWS), "pair")
    texts = ScoredTexts(text, tokenizer, loss, 64, "joined", "cpu", pads=pads)
    together = texts.loss_sum(model, list(range(len(texts))))
    together.backward()
    found = [weight.grad.clone() for weight in model.parameters() if weight.grad is not None]
    model.zero_grad()
    score_N = torch.stack([model(input_ids=torch.tensor([ids]), attention_mask=torch.ones(1, len(ids)))[0]
                           for ids in texts.encoded["input_ids"]])  # fmt: skip
    if loss == "mse":
        alone = (score_N - texts.targets_N).square().sum()
    else:
        better, worse = score_N[text.pairs_P2[:, 0]], score_N[text.pairs_P2[:, 1]]
        alone = -torch.nn.functional.logsigmoid(better - worse).sum()
    alone.backward()
    assert together.item() == pytest.approx(alone.item(), abs=2e-5 * (1 + abs(alone.item())))
    expected = [weight.grad for weight in model.parameters() if weight.grad is not None]
    for one, other in zip(found, expected, strict=True):
        assert torch.allclose(one, other, atol=2e-5 * (1 + float(other.abs().max())))
    figures = texts.figures(model, 64)
    assert figures["validation/loss"] == pytest.approx(alone.item() / len(texts), rel=2e-5)
    read = scores(model, tokenizer, texts.encoded, "cpu", pads=pads)
    assert np.allclose(read.numpy(), score_N.detach().numpy(), atol=2e-5 * (1 + float(score_N.detach().abs().max())))


def test_m7_a_stage_trains_an_encoder_that_mixes_padding_in(tmp_path):
    folder = write_encoder(tmp_path / "encoder", "convbert")
    rows = [{**row, "prompt": f"{number} {row['prompt']}"} for number in range(8) for row in ROWS]
    config = EncoderRegressionConfig(encoder=str(folder), steps=2, batch_size=8, max_length=64, reads="joined")
    metrics = encoder_regression.run(config, Given(Dataset.from_list(rows)), tmp_path, context())
    assert metrics["validation/loss"] > 0


def test_m7_a_padding_id_that_the_encoder_lacks_gives_way_to_one_that_it_knows(tmp_path):
    tokenizer = byte_tokenizer(end=True)
    tokenizer.add_special_tokens({"pad_token": "[PAD]"})
    folder = write_encoder(tmp_path / "encoder", "bert", tokenizer, vocab_size=tokenizer.pad_token_id)
    model, tokenizer = with_a_head(folder)
    assert tokenizer.pad_token == "</s>"
    encoded = encode(tokenizer, ["", ""], ["No.", "The neighbour was late."], 64, "completion")
    together = scores(model, tokenizer, encoded, "cpu", pads=can_pad(model.pool, tokenizer, 64, "cpu"))
    alone = [scores(model, tokenizer, {name: [rows[row]] for name, rows in encoded.items()}, "cpu") for row in (0, 1)]
    assert torch.allclose(together, torch.cat(alone), atol=2e-5)


def test_m7_a_tokenizer_none_of_whose_tokens_can_pad_is_refused(tmp_path):
    tokenizer = byte_tokenizer(pad=None, eos=None)
    tokenizer.add_special_tokens({"pad_token": "[PAD]"})
    folder = write_encoder(tmp_path / "encoder", "bert", tokenizer, vocab_size=tokenizer.pad_token_id)
    with pytest.raises(BadInput, match="no padding, end or unknown token among the 260 tokens of its model"):
        new_encoder(folder, "mean", 0)


@pytest.mark.parametrize(("kind", "pooling", "fits"), [("llama", "cls", False), ("llama", "mean", True),
                                                       ("bert", "cls", True)])  # fmt: skip
def test_r2_a_first_state_that_knows_no_other_token_is_refused(tmp_path, kind, pooling, fits):
    model, tokenizer = with_a_head(write_encoder(tmp_path, kind), pooling)
    if fits:
        check_pooling(model, tokenizer)
        return
    with pytest.raises(BadInput, match="pooling: cls takes the state of the first token, which depends on no other"):
        check_pooling(model, tokenizer)


@pytest.mark.parametrize("pad", [1, 3])
def test_m8_positions_that_are_counted_from_the_padding_on(tmp_path, pad):
    model, tokenizer = with_a_head(write_encoder(tmp_path, "roberta", pad_token_id=pad))
    check_length(model.encoder, tokenizer, 128 - pad - 1)
    with pytest.raises(BadInput, match=f"exceed the model's {128 - pad - 1} positions"):
        check_length(model.encoder, tokenizer, 128 - pad)
