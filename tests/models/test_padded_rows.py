"""A classifier's score is that of the text alone, whatever it is padded with and whatever stands beside it (M1, M2)."""

import json
import runpy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline_core.errors import BadInput
from pipeline_core.export.rewards import export_classifier
from pipeline_core.models.encoder import by_length, padded_batch
from pipeline_core.models.padded_rows import can_pad, logits_of
from pipeline_core.models.tokens.encoding import encode
from pipeline_core.rewards import classifiers
from tests.models.tiny_classifiers import byte_tokenizer, classifier_of, config_of, write_classifier

TEXTS = [
    "Who was late? She was.",
    "No.",
    "The neighbour was early again, and so were you.",
    "",
    "late</s>",
    "a</s></s>",
]
PADS = {
    "another pad than the configuration's": ({"pad_token_id": 0}, {"pad": None, "eos": "</s>"}),
    "pad is the end token in both": ({"pad_token_id": 2}, {"pad": "</s>", "eos": "</s>"}),
    "no pad in the configuration": ({"pad_token_id": None}, {"pad": "<pad>"}),
    "the same pad": ({"pad_token_id": 0}, {"pad": "<pad>"}),
}


def last_score(model, ids):
    """The score of one sequence alone: the head on the last state."""
    hidden = getattr(model, model.base_model_prefix)(input_ids=torch.tensor([ids]), use_cache=False).last_hidden_state
    return float(model.score(hidden)[0, -1, 0])


def artifact(folder, out, **facts):
    """What `pretrained` leaves, without deciding a sign."""
    model, tokenizer, column = classifiers.open_classifier(folder, None, 64)
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    written = {"output": column, "reads": "completion", "max_length": 64, **facts}
    (out / "reward.json").write_text(json.dumps(written))
    return out


@pytest.mark.parametrize("pads", PADS)
def test_m1_m2_the_last_attended_token_is_scored_and_the_export_agrees(tmp_path, pads):
    of_config, of_tokenizer = PADS[pads]
    folder = write_classifier(tmp_path / "model", "llama", byte_tokenizer(**of_tokenizer), **of_config)
    out = artifact(folder, tmp_path / "made")
    model, tokenizer, _ = classifiers.open_classifier(folder, None, 64)
    ids = encode(tokenizer, [""] * len(TEXTS), TEXTS, 64, "completion")["input_ids"]
    assert ids[4][-1] == 2
    with torch.no_grad():
        expected = [last_score(model, row) for row in ids]
    score = classifiers.load(out, "cpu")
    assert score([""] * len(TEXTS), TEXTS).tolist() == pytest.approx(expected, abs=1e-5)
    assert [score([""], [text]).item() for text in TEXTS] == pytest.approx(expected, abs=1e-5)
    export_classifier(out, tmp_path / "exported", -1)
    exported = runpy.run_path(str(tmp_path / "exported" / "score.py"))["score"]
    assert (-exported([""] * len(TEXTS), TEXTS)).tolist() == pytest.approx(expected, abs=1e-5)
    assert exported([], []).shape == (0,)


@pytest.mark.parametrize("kind", ["llama", "gpt2", "opt", "bert", "roberta", "xlnet", "mobilebert"])
def test_m1_a_text_beside_others_has_the_score_that_it_has_alone(kind):
    assert_alone(kind)


NO_TEXT = {
    "canine": "reads no text of fewer than four letters, which its own tokenizer never gives",
    "layoutlmv2": "needs detectron2",
    "layoutlmv3": "reads pictures",
    "perceiver": "its configuration takes no common sizes",
    "reformer": "its attention is drawn at random by the row's length",
    "yoso": "its attention is drawn at random by hashing",
    "mra": "needs a compiled kernel",
    "t5gemma": "its parts keep their full size of several gigabytes",
    "t5gemma2": "its parts keep their full size of several gigabytes",
}
"""Architectures that cannot be built small or compared, and why."""


@pytest.mark.slow
def test_m1_every_sequence_classifier_that_can_be_built_small(capsys):
    """One sequence at a time, in float64, against batches of several lengths; a table says which are padded."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES as KINDS

    lines, compared = [], 0
    for kind in KINDS:
        if kind in NO_TEXT:
            lines.append(f"{kind:24} not built: {NO_TEXT[kind]}")
            continue
        try:
            model = classifier_of(config_of(kind))
            ids = torch.arange(4, 12)[None]
            model(input_ids=ids, attention_mask=torch.ones_like(ids))
        except Exception as error:
            lines.append(f"{kind:24} not built: {type(error).__name__}")
            continue
        compared += 1
        lines.append(f"{kind:24} {assert_alone(kind)}")
    with capsys.disabled():
        print("", *lines, f"{compared} of {len(KINDS)} compared", sep="\n")
    assert compared >= 90
    assert not [line for line in lines if line.startswith(("llama ", "gpt2 ", "qwen2 ", "gemma2 ")) and "not b" in line]


def assert_alone(kind):
    """Fails where a text's logits differ beside others; says whether its rows are padded, and how far they are off."""
    tokenizer = byte_tokenizer(pad=None, eos="</s>", end=True)
    tokenizer.pad_token = "</s>"  # unlike the configuration's, and the end of every text
    tokenizer.padding_side, tokenizer.truncation_side = "right", "left"
    model = classifier_of(config_of(kind))
    pads = can_pad(lambda **batch: logits_of(model, batch), tokenizer, 64, "cpu")
    model, close = in_float64(model)
    texts = ["late", "The neighbour was late again.", "No.", "Who was early? They were, and so was she."]
    encoded = encode(tokenizer, [""] * 4, texts, 64, "completion")
    off = 0.0
    with torch.no_grad():
        for rows in by_length(encoded, range(4), 4, pads=pads):
            together = logits_of(model, padded_batch(tokenizer, encoded, rows, "cpu"))
            for place, row in enumerate(rows):
                before, model.config.pad_token_id = getattr(model.config, "pad_token_id", None), VACANT
                ids = torch.tensor([encoded["input_ids"][row]])
                alone = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
                model.config.pad_token_id = before
                off = max(off, float((together[place] - alone[0]).abs().max() / (1 + alone.abs().max())))
    assert off < close, kind
    return f"{'padded' if pads else 'one length a batch'}, off by {off:.1e}"


VACANT = 299
"""An id that no text holds."""


def in_float64(model):
    """The model in float64 and the distance that rounding allows; some kernels know float32 alone."""
    ids = torch.arange(4, 12)[None]
    try:
        with torch.no_grad():
            found = model.double()(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
            if found.isfinite().all():
                return model, 1e-6  # some compute positions in float32
    except RuntimeError:
        pass
    return model.float(), 1e-4


@settings(max_examples=25, deadline=None)
@given(st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=7), min_size=1, max_size=5))
def test_m2_whatever_ids_the_texts_hold(small, texts):
    """With ten ids in all, every one is often in use, and no other is left for the padding."""
    longest = max(map(len, texts))
    batch = {
        "input_ids": torch.tensor([ids + [0] * (longest - len(ids)) for ids in texts]),
        "attention_mask": torch.tensor([[1] * len(ids) + [0] * (longest - len(ids)) for ids in texts]),
    }
    with torch.no_grad():
        found = logits_of(small, batch)[:, 0].tolist()
        assert found == pytest.approx([last_score(small, ids) for ids in texts], abs=1e-9)
    assert small.config.pad_token_id == 0


@pytest.fixture(scope="module")
def small():
    return classifier_of(config_of("llama", vocab_size=10, pad_token_id=0)).double()


def test_m1_texts_with_unequal_numbers_of_end_tokens_are_read_alone():
    model = classifier_of(config_of("t5"))
    batch = {
        "input_ids": torch.tensor([[5, 6, 2, 0, 0], [5, 2, 6, 7, 2]]),
        "attention_mask": torch.tensor([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]]),
    }
    with torch.no_grad():
        first = model(input_ids=torch.tensor([[5, 6, 2]])).logits
        assert torch.allclose(logits_of(model, batch)[:1], first, atol=1e-5)


def test_m1_a_model_that_reads_no_plain_text_is_refused():
    model = classifier_of(config_of("llama"))
    tokenizer = byte_tokenizer()
    tokenizer.padding_side = "right"

    def broken(**batch):
        raise KeyError("pixel_values")

    with pytest.raises(BadInput, match="the model cannot read a text"):
        can_pad(broken, tokenizer, 64, "cpu")
    assert can_pad(lambda **batch: logits_of(model, batch), tokenizer, 64, "cpu")


def test_m7_memory_that_runs_out_says_nothing_about_padding():
    model = classifier_of(config_of("llama"))
    tokenizer = byte_tokenizer()
    tokenizer.padding_side = "right"

    def full(most):
        def score(**batch):
            if len(batch["input_ids"]) > most:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return logits_of(model, batch)

        return score

    for most in (0, 1):
        with pytest.raises(torch.OutOfMemoryError):
            can_pad(full(most), tokenizer, 64, "cpu")
