"""Rewards of samples and their KL, against a naive count over the same samples."""

import json
from types import SimpleNamespace

import pyarrow.parquet as pq
import pytest
import torch

from pipeline_core.conformance.kit import tiny_model
from pipeline_core.models.loading import load_model, save_model
from pipeline_core.models.sampling.decoding import SamplingSettings
from pipeline_core.models.sampling.sample import generate
from plugins.evaluate.sampled_reward import SampledRewardConfig, run

ROWS = [
    {"id": f"r{number}", "prompt": prompt, "domain": domain, "group": [domain]}
    for number, (prompt, domain) in enumerate([("the tall", "a"), ("a short one", "b"), ("the tall", "a"), ("so", "b")])
]


def length(prompts, completions):
    return torch.tensor([float(len(text)) for text in completions])


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A base and a model a little off it."""
    base = tiny_model(tmp_path_factory.mktemp("base"))
    model, tokenizer = load_model(base, "cpu")
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.05)
    moved = tmp_path_factory.mktemp("moved")
    save_model(model, tokenizer, moved)
    return base, moved


def measured(model, base, out, rows=ROWS, **settings):
    table = SimpleNamespace(to_list=lambda: rows)
    catalog = SimpleNamespace(left_out=lambda _: {}, entry=lambda _: SimpleNamespace(unit=None))
    inputs = SimpleNamespace(
        model=model, reference=base, data=lambda _: table, reward_fn=lambda _, shared=False: length, catalog=catalog
    )
    context = SimpleNamespace(seed=5, device="cpu", is_main=True)
    config = SampledRewardConfig(data="sandbox_pairs", max_new_tokens=6, samples_per_prompt=3, **settings)
    return run(config, inputs, out, context)


def test_a_model_is_no_distance_from_itself(models, tmp_path):
    found = measured(models[0], models[0], tmp_path)
    assert found["sampled_reward/kl"] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("batch_rows", [1, 4, 256])
def test_reward_and_kl_are_those_of_the_samples(models, tmp_path, batch_rows):
    base, moved = models
    found = measured(moved, base, tmp_path, temperature=0.7, batch_rows=batch_rows)
    model, tokenizer = load_model(moved, "cpu")
    prompts = ["the tall", "a short one", "so"]
    rollout = generate(model, tokenizer, prompts, SamplingSettings(6, 0.7), seed=5, samples=3)
    fixed = load_model(base, "cpu")[0]
    expected = []
    for prompt, rows in zip(rollout.prompt_ids, rollout.rows_of, strict=True):
        for row in rows:
            ids = torch.tensor([prompt + rollout.completion_ids[row]])
            with torch.no_grad():
                logps = [torch.log_softmax(one(ids).logits[0].double() / 0.7, -1) for one in (model, fixed)]
            places = range(len(prompt) - 1, ids.shape[1] - 1)
            own, other = (sum(float(table[place, ids[0, place + 1]]) for place in places) for table in logps)
            expected.append(own - other)
    assert found["sampled_reward/kl"] == pytest.approx(sum(expected) / len(expected), abs=1e-5)
    assert found["sampled_reward/reward"] == pytest.approx(sum(map(len, rollout.texts)) / len(rollout.texts))
    assert any(abs(value) > 0.01 for value in expected)


def test_values_of_a_prompt_are_one_item(models, tmp_path):
    measured(models[1], models[0], tmp_path)
    rows = pq.read_table(tmp_path / "rows.parquet").to_pylist()
    assert {row["item"] for row in rows} == {"r0", "r1", "r3"}, "a prompt that occurs twice is asked once"
    assert sum(row["score"] == "reward" for row in rows) == 9
    assert json.loads((tmp_path / "measures.json").read_text())["sampled_reward/reward"]["n"] == 3


def test_s1_prompts_of_one_template_are_drawn_together(models, tmp_path):
    rows = [row | {"template_id": f"t{number // 3}"} for number, row in enumerate(ROWS)]
    measured(models[1], models[0], tmp_path, rows)
    found = json.loads((tmp_path / "measures.json").read_text())["sampled_reward/reward"]
    assert (found["n"], found["n_clusters"], found["resampled"]) == (3, 2, "template")
