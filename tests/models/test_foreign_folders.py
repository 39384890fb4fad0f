"""M5, M12, M16, R13, D16: model folders of others that lack something, hold too much, or are damaged."""

import importlib.util
import json
import os
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from pipeline_core.conformance.kit import tiny_model
from pipeline_core.errors import BadInput, NotUsable
from pipeline_core.models import model_sources
from pipeline_core.models.adapters import LoraSettings, are_tied
from pipeline_core.models.encoder import new_encoder
from pipeline_core.models.foreign import load_complete, write_base
from pipeline_core.models.loading import load_model, load_tokenizer, load_trainable, save_model
from pipeline_core.models.model_files import _is_known, is_masked
from pipeline_core.rewards.classifiers import open_classifier
from tests.flows.test_cli import call
from tests.models.tiny_classifiers import write_classifier
from tests.rewards.worlds import pairs, tiny_bert

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny_model(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture
def copy(model, tmp_path):
    return shutil.copytree(model, tmp_path / "copy")


def change_config(folder, **settings):
    config = json.loads((folder / "config.json").read_text()) | settings
    (folder / "config.json").write_text(json.dumps(config))


def change_weights(folder, drop=(), **more):
    weights = {name: weight for name, weight in load_file(folder / WEIGHTS).items() if name not in drop}
    added = {name.replace("__", "."): weight for name, weight in more.items()}
    save_file(weights | added, folder / WEIGHTS, {"format": "pt"})


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"model__layers__0__self_attn__q_proj__bias": torch.ones(16)}, r"1 weight is left over, model\.layers\.0\.s"),
        ({"adapter__gate": torch.ones(2)}, r"left over, adapter\.gate"),
        ({"model__norm__weight": torch.ones(9)}, r"model\.norm\.weight has the shape \(9,\) in place of \(16,\)"),
    ],
)
def test_m5_weights_that_a_model_does_not_take_are_refused_by_name(copy, more, words):
    change_weights(copy, **more)
    with pytest.raises(BadInput, match=words):
        load_complete(copy, "auto")


@pytest.mark.parametrize(
    ("settings", "drop", "words"),
    [
        ({"num_hidden_layers": 1}, (), "9 weights are left over"),
        ({"num_hidden_layers": 3}, (), "9 weights are missing"),
        ({"tie_word_embeddings": False}, (), r"1 weight is missing, lm_head\.weight"),
        ({}, ("model.norm.weight",), r"1 weight is missing, model\.norm\.weight"),
        ({"hidden_size": "many"}, (), "hidden_size"),
        ({"model_type": "martian"}, (), "does not know"),
    ],
)
def test_m5_a_configuration_that_does_not_fit_the_weights_is_refused(copy, settings, drop, words):
    change_config(copy, **settings)
    change_weights(copy, drop)
    with pytest.raises(BadInput, match=words):
        load_complete(copy, "auto")


def test_m5_known_extras_change_nothing(copy):
    extras = ("v_head__summary__weight", "model__layers__0__self_attn__rotary_emb__inv_freq", "h__0__attn__masked_bias")
    change_weights(copy, **{name: torch.ones(4) for name in extras})
    load_complete(copy, "auto")


def test_m5_classifiers_and_encoders_may_hold_other_heads_and_no_other_weights(tmp_path):
    causal = write_classifier(tmp_path / "causal", "llama")
    change_weights(causal, lm_head__weight=torch.ones(3, 32), v_head__weight=torch.ones(1))
    open_classifier(causal, None, 64)
    change_weights(causal, score__bias=torch.ones(1))
    with pytest.raises(BadInput, match=r"left over, score\.bias"):
        open_classifier(causal, None, 64)
    bert = tiny_bert(tmp_path / "bert", pairs(8))
    change_weights(bert, ("pooler.dense.weight", "pooler.dense.bias"), cls__predictions__bias=torch.ones(4))
    new_encoder(bert, "mean", 0)
    change_weights(bert, encoder__layer__0__attention__self__query__scale=torch.ones(1))
    with pytest.raises(BadInput, match=r"left over, encoder\.layer\.0\.attention\.self\.query\.scale"):
        new_encoder(bert, "mean", 0)


@pytest.mark.skipif(importlib.util.find_spec("gguf") is None, reason="the optional part gguf is not installed")
@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("blk.0.attn_q.bias", 32),
        ("blk.0.attn_q_norm.weight", 16),
        ("blk.0.attn_sinks.weight", 2),
        ("blk.0.post_attention_norm.weight", 32),
        ("blk.7.attn_q.weight", 32),
        ("output.bias", 64),
        ("rope_freqs.weight", 8),
        ("rope_factors_long.weight", 8),
    ],
)
def test_m5_a_gguf_file_with_more_than_the_architecture_takes_is_refused(tmp_path, monkeypatch, name, size):
    write_gguf_with(tmp_path / "tiny.gguf", monkeypatch, {name: (size, 2)})
    with pytest.raises(BadInput, match=f"holds {name}, which the model library leaves out"):
        load_complete(tmp_path, "float32", "tiny.gguf")


@pytest.mark.skipif(importlib.util.find_spec("gguf") is None, reason="the optional part gguf is not installed")
def test_m5_a_gguf_file_may_hold_what_no_log_probability_depends_on(tmp_path, monkeypatch):
    extras = {"rope_freqs.weight": (8, 1), "blk.0.attn_rot_embd.weight": (8, 2), "cls.weight": (32, 2)}
    extras |= {"blk.1.nextn.eh_proj.weight": (32, 2), "blk.1.attn_q.weight": (32, 2)}
    write_gguf_with(tmp_path / "tiny.gguf", monkeypatch, extras)
    load_complete(tmp_path, "float32", "tiny.gguf")


def write_gguf_with(file, monkeypatch, extras):
    """A GGUF file with further tensors, by name: their size and the number that fills them."""
    import gguf
    import numpy as np

    from tests.plugins.base.test_gguf import write_gguf

    close = gguf.GGUFWriter.write_header_to_file

    def with_extras(self, *arguments):
        for name, (size, value) in extras.items():
            self.add_tensor(name, np.full(size, value, np.float32))
        return close(self, *arguments)

    monkeypatch.setattr(gguf.GGUFWriter, "write_header_to_file", with_extras)
    write_gguf(file)


@pytest.mark.parametrize("targets", [None, ("lm_head",), ("q_proj",)])
def test_m3_two_matrices_that_are_called_tied_stay_two_and_are_no_longer_called_so(copy, tmp_path, targets):
    settings = json.loads((copy / "config.json").read_text())
    embeddings = load_file(copy / WEIGHTS)["model.embed_tokens.weight"]
    change_weights(copy, lm_head__weight=embeddings.flip(0).contiguous() * 0.5)
    change_config(copy, tie_word_embeddings=True)
    write_base(*load_complete(copy, "auto"), tmp_path / "base")
    assert json.loads((tmp_path / "base" / "config.json").read_text()) == settings | {"tie_word_embeddings": False}
    trained = load_trainable(tmp_path / "base", "cpu", targets and LoraSettings(target_modules=targets), 0)
    with torch.no_grad():
        for weight in trained.parameters():
            if weight.requires_grad:
                weight.add_(torch.randn_like(weight), alpha=0.05)
        expected = trained(input_ids=torch.arange(5, 12)[None]).logits
        save_model(trained, load_tokenizer(copy), tmp_path / "out")
        found = load_model(tmp_path / "out")[0](input_ids=torch.arange(5, 12)[None]).logits
    assert torch.allclose(found, expected, atol=1e-5)
    assert not are_tied(load_model(tmp_path / "out")[0].config)


def test_m12_an_adapter_is_told_with_and_without_weights_beside_it(copy, tmp_path):
    (copy / "adapter_config.json").write_text('{"peft_type": "LORA", "base_model_name_or_path": "x/y"}')
    for look in (lambda: model_sources.local_folder(str(copy)), lambda: load_complete(copy, "auto")):
        with pytest.raises(NotUsable, match="holds an adapter .*merge it into its model first"):
            look()
    (copy / WEIGHTS).unlink()
    with pytest.raises(NotUsable, match="holds an adapter"):
        model_sources.local_folder(str(copy))
    bert = tiny_bert(tmp_path / "bert", pairs(8), labels=1)
    (bert / "adapter_config.json").write_text("{}")
    for look in (lambda: open_classifier(bert, None, 16), lambda: new_encoder(bert, "mean", 0)):
        with pytest.raises(NotUsable, match="holds an adapter"):
            look()


class Code:
    """A pickle of it runs a command when it is loaded carelessly."""

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.mkdir, (str(self.target),)


def test_m16_a_file_of_weights_that_holds_code_is_not_run(copy, tmp_path):
    (copy / WEIGHTS).unlink()
    torch.save({"model.norm.weight": Code(tmp_path / "was_run")}, copy / "pytorch_model.bin")
    with pytest.raises(BadInput, match="holds code and is not loaded; convert it to safetensors") as told:
        load_complete(copy, "auto")
    assert "weights_only" not in str(told.value)
    assert not (tmp_path / "was_run").exists()


def test_m16_a_plain_pickle_of_weights_is_read(copy, model):
    torch.save(load_file(copy / WEIGHTS), copy / "pytorch_model.bin")
    (copy / WEIGHTS).unlink()
    read, expected = (dict(load_complete(folder, "auto")[0].named_parameters()) for folder in (copy, model))
    assert all(torch.equal(read[name], weight) for name, weight in expected.items())


def test_m16_code_that_comes_with_a_model_or_a_tokenizer_is_not_run(copy, tmp_path):
    code = f"import os\nos.mkdir({str(tmp_path / 'was_run')!r})\n"
    (copy / "own.py").write_text(code)
    change_config(copy, model_type="martian", auto_map={"AutoConfig": "own.C", "AutoModelForCausalLM": "own.M"})
    with pytest.raises(BadInput, match="needs code of its own .*which is not run") as told:
        load_complete(copy, "auto")
    assert "trust_remote_code" not in str(told.value)
    change_config(copy, model_type="llama")
    load_complete(copy, "auto")  # transformers' own class
    settings = {"tokenizer_class": "Own", "auto_map": {"AutoTokenizer": ["own.T", None]}}
    (copy / "tokenizer_config.json").write_text(json.dumps(settings))
    with pytest.raises(BadInput, match="no tokenizer that can be read: it needs code of its own"):
        load_complete(copy, "auto")
    assert not (tmp_path / "was_run").exists()


def write_index(folder, names, metadata=True):
    weights = load_file(folder / WEIGHTS)
    shutil.move(folder / WEIGHTS, folder / "part.safetensors")
    listed = {"weight_map": dict.fromkeys(weights, names)} | ({"metadata": {}} if metadata else {})
    (folder / INDEX).write_text(json.dumps(listed))


@pytest.mark.parametrize("name", ["../outside.safetensors", "/outside.safetensors", "sub/part.safetensors", "..", ""])
def test_r13_an_index_that_points_out_of_its_folder_is_refused(copy, name):
    shutil.copy(copy / WEIGHTS, copy.parent / "outside.safetensors")
    write_index(copy, name)
    for look in (lambda: model_sources.local_folder(str(copy)), lambda: load_complete(copy, "auto")):
        with pytest.raises(NotUsable, match="weights must lie in the model's own folder"):
            look()


def test_r13_an_index_of_its_own_folder_is_read_and_a_link_to_a_file_is_part_of_the_digest(copy):
    write_index(copy, "part.safetensors")
    blob = copy.parent / "blob"
    shutil.move(copy / "part.safetensors", blob)
    (copy / "part.safetensors").symlink_to(blob)  # as in the hub's cache
    load_complete(copy, "auto")
    before = model_sources.folder_source(copy)
    blob.write_bytes(blob.read_bytes() + b" ")
    assert model_sources.folder_source(copy) != before


def test_r13_what_lies_behind_a_link_to_a_folder_is_part_of_the_digest(copy):
    (copy.parent / "templates").mkdir()
    (copy / "additional_chat_templates").symlink_to(copy.parent / "templates")
    (copy.parent / "templates" / "loop").symlink_to(copy)
    before = model_sources.folder_source(copy)
    (copy.parent / "templates" / "rag.jinja").write_text("{{ messages }}")
    assert model_sources.folder_source(copy) != before


def write_bin(folder, content):
    (folder / WEIGHTS).unlink()
    (folder / "pytorch_model.bin").write_bytes(content)


ARCHIVE = b"PK\x05\x06" + bytes(18)
"""A zip file that holds nothing."""


def emptied(name):
    return lambda folder: (folder / name).write_text("{}")


def cut(name, count):
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:-count])


DAMAGE = {
    "no tokenizer": (lambda f: [file.unlink() for file in f.glob("tokenizer*")], "has no tokenizer"),
    "settings of a tokenizer alone": (lambda f: (f / "tokenizer.json").unlink(), "has no tokenizer"),
    "half a tokenizer": (cut("tokenizer.json", 900), r"tokenizer\.json cannot be read as JSON"),
    "an empty tokenizer": (emptied("tokenizer.json"), r"tokenizer\.json is no tokenizer"),
    "a list of settings": (lambda f: (f / "config.json").write_text("[1]"), r"config\.json holds a list"),
    "settings of an unknown model": (
        lambda f: (f / "config.json").write_text('{"model_type": "nope"}'),
        r"config\.json names the `model_type` 'nope', which transformers does not know$",
    ),
    "settings of a model with code of its own": (
        lambda f: (f / "config.json").write_text('{"model_type": "nope", "auto_map": {}}'),
        r"does not know; it needs code of its own \(`auto_map`\), which is not run$",
    ),
    "junk for weights": (
        lambda f: write_bin(f, b"junk"),
        r"pytorch_model\.bin is no file of weights: it begins with b'j",
    ),
    "no bytes for weights": (lambda f: write_bin(f, b""), r"pytorch_model\.bin is damaged: it is empty"),
    "half an archive for weights": (lambda f: write_bin(f, b"PK\x03\x04abc"), "damaged: its end is missing"),
    "another archive for weights": (lambda f: write_bin(f, ARCHIVE), r"no file of weights: it has no data\.pkl"),
    "empty settings": (emptied("config.json"), r"config\.json is empty"),
    "no settings": (lambda f: (f / "config.json").unlink(), r"has no config\.json"),
    "deep settings": (lambda f: (f / "config.json").write_text("[" * 100_000), r"config\.json cannot be read as JSON"),
    "no weights": (lambda f: (f / WEIGHTS).unlink(), "has no weights"),
    "half the weights": (cut(WEIGHTS, 100), r"model\.safetensors is damaged: it has \d+ bytes, and its header lists"),
    "a pointer to weights": (lambda f: (f / WEIGHTS).write_text("version https://git-lfs"), "is no safetensors file"),
    "no list of classes": (
        lambda f: change_config(f, architectures=5),
        r"`architectures` is 5, and a list of names",
    ),
    "a class that is no name": (lambda f: change_config(f, architectures=[5]), r"`architectures` is \[5\], and a list"),
    "an end token that is a text": (
        lambda f: (f / "generation_config.json").write_text('{"eos_token_id": [2, "x"]}'),
        r"generation_config\.json: `eos_token_id` is \[2, \"x\"\], and the id of a token or a list of them",
    ),
    "padding that is a text": (lambda f: change_config(f, pad_token_id="x"), r"`pad_token_id` is \"x\", and the id"),
    "an index of nothing": (lambda f: write_index(f, "none.safetensors"), r"lists none\.safetensors, which is not"),
    "an index without metadata": (lambda f: write_index(f, "part.safetensors", metadata=False), "has no `metadata`"),
}


def test_d16_a_class_that_is_no_list_is_no_masked_model(copy):
    change_config(copy, architectures=5)
    assert not is_masked(copy)


def test_d16_a_setting_that_transformers_does_not_know_is_called_so(copy):
    change_config(copy, hidden_act="nosuch")
    with pytest.raises(BadInput, match="language model: transformers looks up 'nosuch' and does not find it"):
        load_complete(copy, "auto")


@pytest.mark.parametrize("damage", DAMAGE)
def test_d16_a_folder_that_cannot_be_loaded_is_one_sentence(copy, damage):
    harm, words = DAMAGE[damage]
    harm(copy)
    for look in (lambda: model_sources.model_source(str(copy), None, "base"), lambda: load_complete(copy, "auto")):
        with pytest.raises(NotUsable, match=words) as told:
            look()
        assert "\n" not in str(told.value)
        assert len(str(told.value)) < 500


@pytest.mark.parametrize(
    "overrides",
    [
        ["base={name: checkpoint, model: /nope}"],
        ["base={name: checkpoint, model: TOKENLESS}"],
        ["base={name: gguf, file: /nope.gguf}"],
        ["base={name: gguf, file: TOKENLESS/config.json}"],
        ["reward={name: pretrained, model: /nope, output: 0, data: sandbox_pairs}"],
        ["reward={name: encoder_regression, encoder: TOKENLESS, data: sandbox_pairs}"],
        ["reward={name: detoxify, checkpoint: /nope.ckpt}"],
        ["reward={name: detoxify, config_folder: /nope}"],
        ["reward={name: lexicon, words: /nope.yaml}"],
        ["reward={name: lexicon, words: TOKENLESS/config.json}"],
        ["reward={name: function, function: 'json:nope', sign: 1}"],
    ],
)
def test_d16_check_refuses_a_local_model_that_cannot_work(copy, overrides, capsys):
    for file in copy.glob("tokenizer*"):
        file.unlink()
    assert call("check", "smoke", *[value.replace("TOKENLESS", str(copy)) for value in overrides]) == 2
    told = " ".join(capsys.readouterr().err.split())
    stage = overrides[0].partition("=")[0]
    assert stage in told
    assert "Traceback" not in told


@pytest.mark.parametrize("zipped", [True, False])
def test_d16_weights_that_torch_wrote_are_taken(copy, zipped):
    weights = load_file(copy / WEIGHTS)
    (copy / WEIGHTS).unlink()
    torch.save(weights, copy / "pytorch_model.bin", _use_new_zipfile_serialization=zipped)
    assert model_sources.local_folder(str(copy)) == copy


@pytest.mark.parametrize("kind", ["llama", "openai-gpt", "gemma3_text", "xlm-roberta", "gpt_neox"])
def test_d16_every_model_that_transformers_knows_is_known(kind):
    assert _is_known(kind)
    assert not any(map(_is_known, ("nope", "auto", "", "../llama", "é")))


def test_d16_check_takes_a_local_model_and_an_id_that_cannot_be_asked(model, capsys):
    assert call("check", "smoke", f"base={{name: checkpoint, model: {model}}}") == 0
    assert call("check", "smoke", "base={name: checkpoint, model: someone/model}") == 0
    assert "not pinned yet" in capsys.readouterr().err.replace("\n", " ")
