"""M3: the model that is saved, and the one handed to an engine, is the model that was trained."""

import importlib.util

import pytest
import torch

from pipeline_core.errors import BadInput
from pipeline_core.models.adapters import LoraSettings, plain_weights, with_lora
from pipeline_core.models.loading import load_model, load_tokenizer, load_trainable, merged, save_model
from pipeline_core.training.online.engines import engine_of
from pipeline_core.training.online.surrogate_settings import SurrogateConfig
from tests.training.tiny import write_model

IDS = torch.tensor([[5, 9, 12, 30, 7], [40, 3, 3, 8, 21]])
TARGETS = {
    "llama": {"head": ("lm_head",), "embeddings": ("embed_tokens",), "both": ("lm_head", "embed_tokens")},
    "gpt2": {"head": ("lm_head",), "embeddings": ("wte",), "both": ("lm_head", "wte", "c_attn")},
}


def base(folder, family, tied):
    """A base whose head is, or is not, its embeddings."""
    from transformers import AutoConfig, AutoModelForCausalLM

    write_model(folder, family)
    config = AutoConfig.from_pretrained(folder)
    config.tie_word_embeddings = tied
    with torch.random.fork_rng():
        torch.manual_seed(3)
        AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    return folder


def trained(folder, targets, precision="float32"):
    """Adapters after three steps of Adam towards fixed tokens."""
    model = load_trainable(folder, "cpu", LoraSettings(r=2, target_modules=targets), 0, precision)
    learning = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.Adam(learning, lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        model(input_ids=IDS, labels=IDS).loss.backward()
        optimizer.step()
    return model


def logits(model):
    with torch.no_grad():
        return model(input_ids=IDS, use_cache=False).logits


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("family", ["llama", "gpt2"])
@pytest.mark.parametrize("place", ["head", "embeddings", "both", "all-linear"])
def test_m3_what_is_saved_and_handed_over_is_what_was_trained(tmp_path, family, tied, place):
    folder = base(tmp_path / "base", family, tied)
    model = trained(folder, TARGETS[family].get(place, "all-linear"))
    expected, before = logits(model), logits(load_model(folder)[0])
    assert (expected - before).abs().max() > 0.05
    handed = {name: weight.clone() for name, weight in plain_weights(model)}
    save_model(model, load_tokenizer(folder), tmp_path / "out")
    saved = load_model(tmp_path / "out")[0]
    assert torch.allclose(logits(saved), expected, atol=1e-5)
    assert saved.config.tie_word_embeddings == (tied and place == "all-linear")
    plain = type(saved)(saved.config).eval()
    plain.load_state_dict(handed)
    assert torch.allclose(logits(plain), expected, atol=1e-5)


@pytest.mark.parametrize("place", ["head", "embeddings"])
def test_m3_a_base_in_bfloat16_is_merged_in_float32(tmp_path, place):
    folder = base(tmp_path / "base", "llama", tied=True)
    model = trained(folder, TARGETS["llama"][place], "bfloat16")
    learned = {name: weight.float() for name, weight in model.named_parameters() if weight.requires_grad}
    exact = load_trainable(folder, "cpu", LoraSettings(r=2, target_modules=TARGETS["llama"][place]), 0, "float32")
    exact.load_state_dict(learned, strict=False)
    save_model(model, load_tokenizer(folder), tmp_path / "out")
    assert torch.allclose(logits(load_model(tmp_path / "out")[0]), logits(exact), atol=1e-5)


def test_m3_an_engine_that_keeps_embeddings_tied_is_refused(tmp_path):
    folder = base(tmp_path / "base", "llama", tied=True)
    lora = LoraSettings(r=2, target_modules=("lm_head",))
    chosen = SurrogateConfig(name="x", sampling={"vllm": {}, "max_new_tokens": 6}, max_length=40, lora=lora)
    model = load_trainable(folder, "cpu", lora, 0)
    with pytest.raises(BadInput, match="keeps the input and output embeddings of this model tied"):
        engine_of(folder, model, load_tokenizer(folder), chosen, 0)
    if importlib.util.find_spec("vllm") is None:
        plain = load_trainable(folder, "cpu", LoraSettings(r=2), 0)
        with pytest.raises(BadInput, match="it cannot be imported"):
            engine_of(folder, plain, load_tokenizer(folder), chosen, 0)


def test_m3_a_layer_that_is_not_there_is_named_though_others_are(tmp_path):
    folder = base(tmp_path / "base", "llama", tied=True)
    with pytest.raises(BadInput, match="the model has no layer 'lm_haed'"):
        load_trainable(folder, "cpu", LoraSettings(target_modules=("q_proj", "lm_haed")), 0)


@pytest.mark.parametrize("kind", ["mixtral", "qwen3_moe", "olmoe", "gpt_oss", "deepseek_v3"])
def test_m3_adapters_of_experts_are_handed_over_as_they_are_saved(kind):
    """peft puts one adapter around another where a layer of experts has several weights."""
    from tests.models.architectures.tiny import model_of

    model = with_lora(model_of(kind), LoraSettings(r=2), seed=0)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.requires_grad:
                torch.nn.init.normal_(weight, std=0.3)
    handed = {name: weight.clone() for name, weight in plain_weights(model)}
    saved = merged(model).state_dict()
    assert handed.keys() == saved.keys()
    for name, weight in saved.items():
        assert torch.allclose(handed[name], weight, atol=1e-6), name
