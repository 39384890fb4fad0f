"""A checkpoint becomes a plain folder, or says why not."""

import json

import pytest
import torch
from pydantic import ValidationError

from pipeline_core.conformance.kit import tiny_model
from pipeline_core.errors import BadInput
from pipeline_core.models.loading import load_model
from pipeline_core.plugin.checkpoints import Checkpoints
from pipeline_core.plugin.context import StageContext
from pipeline_core.plugin.events import EventLog
from plugins.base import checkpoint
from plugins.base.checkpoint import CheckpointConfig


def take(source, out, **settings):
    out.mkdir(exist_ok=True)
    context = StageContext(0, "cpu", EventLog(), Checkpoints(None))
    return checkpoint.run(CheckpointConfig(model=str(source), **settings), None, out, context)


def test_weights_tokenizer_and_limits_arrive(tmp_path):
    source = tiny_model(tmp_path / "source")
    metrics = take(source, tmp_path / "out")
    (before, _), (after, tokenizer) = load_model(source), load_model(tmp_path / "out")
    assert metrics["parameters"] == before.num_parameters()
    assert all(torch.equal(a, b) for a, b in zip(before.parameters(), after.parameters(), strict=True))
    assert tokenizer("the neighbour was late").input_ids
    assert tokenizer.model_max_length == 256


def test_taking_a_folder_twice_gives_the_same_bytes(tmp_path):
    from pipeline_core.files.digests import digests_of_folder

    source = tiny_model(tmp_path / "source")
    for name in ("a", "b"):
        take(source, tmp_path / name)
    take(tmp_path / "a", tmp_path / "again")
    assert (
        digests_of_folder(tmp_path / "a") == digests_of_folder(tmp_path / "b") == digests_of_folder(tmp_path / "again")
    )


def test_the_number_format_can_be_chosen(tmp_path):
    take(tiny_model(tmp_path / "source"), tmp_path / "out", dtype="bfloat16")
    assert json.loads((tmp_path / "out" / "config.json").read_text())["dtype"] == "bfloat16"
    take(tmp_path / "out", tmp_path / "kept")
    assert json.loads((tmp_path / "kept" / "config.json").read_text())["dtype"] == "bfloat16"


def test_an_encoder_is_no_causal_model(tmp_path):
    from tests.rewards.worlds import pairs, tiny_bert

    with pytest.raises(BadInput, match="no complete causal language model: .* weights are missing, cls"):
        take(tiny_bert(tmp_path / "bert", pairs(8), is_decoder=True), tmp_path / "out")


def test_a_folder_without_tokenizer_is_refused(tmp_path):
    source = tiny_model(tmp_path / "source")
    for file in source.glob("tokenizer*"):
        file.unlink()
    with pytest.raises(BadInput, match="has no tokenizer: no tokenizer.json"):
        take(source, tmp_path / "out")


def test_weights_that_are_not_finite_are_refused(tmp_path):
    source = tiny_model(tmp_path / "source")
    model, _ = load_model(source)
    with torch.no_grad():
        model.model.norm.weight[0] = float("nan")
    model.save_pretrained(source)
    with pytest.raises(BadInput, match=r"weights that are not finite in torch\.float32: model\.norm\.weight"):
        take(source, tmp_path / "out")


def test_a_tokenizer_larger_than_the_model_is_refused(tmp_path):
    from transformers import AutoTokenizer

    source = tiny_model(tmp_path / "source")
    tokenizer = AutoTokenizer.from_pretrained(source)
    tokenizer.add_tokens(["<new>"])
    tokenizer.save_pretrained(source)
    with pytest.raises(BadInput, match="the tokenizer knows"):
        take(source, tmp_path / "out")


@pytest.mark.parametrize(
    ("content", "words"), [("{}", "is empty"), ("not json", "cannot be read as JSON"), ("[]", "holds a list")]
)
def test_a_folder_with_anything_else_is_refused(tmp_path, content, words):
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(BadInput, match=rf"config\.json {words}"):
        take(tmp_path, tmp_path / "out")


def test_the_key_follows_the_files_and_not_the_path(tmp_path):
    a, b = (CheckpointConfig(model=str(tiny_model(tmp_path / name))) for name in "ab")
    assert a.identity() == b.identity()
    assert a.sources() == b.sources()
    (tmp_path / "b" / "notes.txt").write_text("another file")
    assert a.sources() != b.sources()
    hub = CheckpointConfig(model="microsoft/phi-2", revision="a" * 40)
    assert hub.identity()["model"] == "microsoft/phi-2"
    assert hub.sources() == {}


def test_a_hub_id_at_a_branch_is_refused():
    with pytest.raises(ValidationError, match="revision 'main' is no commit"):
        CheckpointConfig(model="microsoft/phi-2", revision="main")
