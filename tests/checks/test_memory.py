"""The estimate of memory: worked by hand, against a model's real size, and the words of a refusal."""

import pytest

import pipeline_core.checks.memory as memory
from pipeline_core.checks.memory import CHUNK_LOGITS, GIB, LIBRARIES, check_start, estimate, memory_problems
from pipeline_core.checks.whole import load_config
from pipeline_core.errors import BadInput
from pipeline_core.losses import logprobs
from pipeline_core.models.footprint import ModelShape, free_bytes, largest, shape_of_folder

SHAPE = ModelShape(parameters=1000, width=10, inner=20, layers=2, vocabulary=0)
LARGE = "base={name: tiny_lm, hidden_size: 32768, layers: 40, heads: 32}"


def entry(policy):
    return load_config("smoke", [f"policy=[{policy}]", "evaluate=[]"]).policy[0]


@pytest.mark.parametrize(
    ("policy", "bytes_per_weight", "tokens"),
    [
        ("{name: dpo, batch_size: 4, max_length: 8}", 16, 64),  # two completions of each pair
        ("{name: dpo, batch_size: 4, max_length: 8, micro_batch_tokens: 32}", 16, 32),
        ("{name: dpo, batch_size: 4, max_length: 8, processes: 2}", 16, 32),
        ("{name: sft, batch_size: 4, max_length: 8}", 16, 32),
        ("{name: dpo, batch_size: 4, max_length: 8, precision: bfloat16}", 18, 64),
        ("{name: grpo, prompts_per_step: 2, samples_per_prompt: 3, max_length: 80}", 20, 480),
        ("{name: ppo, prompts_per_step: 2, samples_per_prompt: 3, max_length: 80}", 36, 480),
    ],
)
def test_weights_gradients_moments_reference_and_passes(policy, bytes_per_weight, tokens):
    found = estimate(entry(policy), SHAPE)
    assert found.fixed == LIBRARIES + bytes_per_weight * 1000
    assert found.passes == 4 * tokens * 2 * (12 * 10 + 4 * 20)


def test_adapters_have_gradients_and_the_rest_has_none():
    found = estimate(entry("{name: dpo, lora: {r: 2}}"), SHAPE)
    assert found.fixed == LIBRARIES + 4 * 1000 + 16 * 2 * 2 * (8 * 10 + 3 * 30)
    on_gpu = estimate(entry("{name: dpo, lora: {r: 2}}"), SHAPE, on_gpu=True)
    assert on_gpu.fixed == 2 * 1000 + 16 * 2 * 2 * (8 * 10 + 3 * 30), "bfloat16, without the host's libraries"


def test_the_chunk_of_logits_is_that_of_the_losses():
    assert CHUNK_LOGITS == logprobs.CHUNK_LOGITS


def test_a_shape_that_is_known_beforehand_is_that_of_the_model(tmp_path):
    from pipeline_core.models.loading import save_model
    from plugins.base.tiny_lm.plugin import TinyLmConfig, new_model, train_tokenizer

    config = TinyLmConfig(vocab_size=400, hidden_size=32, layers=3, heads=2)
    tokenizer = train_tokenizer(["a few words, and others, again and again"] * 50, config)
    model = new_model(config, tokenizer, 0)
    save_model(model, tokenizer, tmp_path)
    known = config.shape()
    assert shape_of_folder(tmp_path).parameters == sum(weight.numel() for weight in model.parameters())
    made = TinyLmConfig(vocab_size=len(tokenizer), hidden_size=32, layers=3, heads=2).shape()
    assert shape_of_folder(tmp_path) == made
    assert known.layers == 3


@pytest.mark.parametrize("content", [None, "{", "[]", '{"hidden_size": 8}'])
def test_a_folder_that_tells_no_size_is_not_guessed(tmp_path, content):
    if content:
        (tmp_path / "config.json").write_text(content)
    (tmp_path / "model.safetensors").write_bytes(b"\xff" * 40)
    assert shape_of_folder(tmp_path) is None


def test_what_cannot_fit_is_refused_with_a_remedy_and_can_be_tried(home):
    refused, near = memory_problems(load_config("smoke", [LARGE]))
    assert near == []
    assert list(refused) == ["base (tiny_lm)", "policy.0 (dpo)", "policy.1 (grpo)"]
    words = str(refused["policy.0 (dpo)"])
    assert "GiB free. Try: train adapters (lora={}), a smaller base; runner.memory=unchecked" in words
    assert memory_problems(load_config("smoke", [LARGE, "runner.memory=unchecked"])) == ({}, [])
    placed = load_config("smoke", [LARGE, "runner.placement={base: gpu, policy: gpu, evaluate: gpu}"])
    assert memory_problems(placed) == ({}, []), "other machines are checked there"


@pytest.mark.parametrize(("free", "words"), [(4.0, None), (0.72, "it may fail"), (0.6, "runner.memory=unchecked")])
def test_what_nearly_fits_is_told_and_what_fits_is_not(home, monkeypatch, free, words):
    monkeypatch.setattr(memory, "free_bytes", lambda device: int(free * GIB))
    refused, near = memory_problems(load_config("smoke", ["evaluate=[]", "policy=[{name: dpo, batch_size: 64}]"]))
    told = [*map(str, refused.values()), *near]
    assert bool(refused) == (words == "runner.memory=unchecked")
    assert [words in one for one in told] == ([] if words is None else [True] * len(told))
    assert ("micro_batch_tokens (8192)" in str(near)) == (words == "it may fail")


def test_a_stage_is_refused_as_it_starts(home, monkeypatch):
    """On a worker elsewhere, and where the base's size was not known before the run."""
    from pipeline_core.pipeline.plan import plan
    from pipeline_core.plugin.registry import load_registry
    from pipeline_core.stage.run import run_stage
    from pipeline_core.store.artifacts import Store

    config = load_config("smoke", ["base.steps=1", "extend=null", "reward=null", "policy=[{name: dpo, steps: 1}]",
                                   "evaluate=[]", "runner.launch=in_process"])  # fmt: skip
    store, registry = Store.from_environment(), load_registry()
    base, policy = plan(config, registry)
    made = run_stage(base.job({}, config.runner), store, registry)
    job = policy.job(dict.fromkeys(policy.needs, made.ref), config.runner)
    assert check_start(job, store, registry) == ""
    monkeypatch.setattr(memory, "free_bytes", lambda device: 2**20)
    with pytest.raises(BadInput, match=r"needs about \d\.\d GiB .* this machine has 0\.0 GiB free"):
        check_start(job, store, registry)
    unchecked = job.model_copy(update={"runner": config.runner.model_copy(update={"memory": "unchecked"})})
    assert check_start(unchecked, store, registry) == ""
    run_stage(job, store, registry)
    assert check_start(job, store, registry) == "", "what is in the store needs no memory"


def test_free_memory_of_the_host_and_of_gpus(monkeypatch):
    from pathlib import Path

    total = int(Path("/proc/meminfo").read_text().split()[1]) * 1024
    assert 0 < free_bytes("cpu") <= total
    table = "0, GPU-aa11, 1000\n1, GPU-bb22, 2000\n2, GPU-cc33, [N/A]\n"
    assert largest(table, ["0", "1"]) == 2000 * 2**20
    assert largest(table, ["GPU-aa11"]) == largest(table, ["0"]) == 1000 * 2**20
    assert largest(table, ["2"]) is largest("", ["0"]) is None
    monkeypatch.setenv("EVENHAND_GPUS", "a")
    monkeypatch.setenv("PATH", "")
    assert free_bytes("auto") is None, "nothing tells the memory of these"
