"""The main job as it stands in the README, with the figures it promises."""

import json

import pytest

pytestmark = pytest.mark.slow


def test_the_sandbox_learns_its_bias_and_unlearns_it(evenhand):
    done = evenhand("run", "sandbox", "--json", timeout=1500)
    assert done.returncode == 0, done.stderr
    stages = json.loads(done.stdout)["stages"]
    measured = {stage["label"]: stage["metrics"] for stage in stages if stage["plugin"] == "sandbox_bias"}
    base = measured.pop("base")
    assert abs(base["sandbox/stereotyped_share"] - base["sandbox/planted_share"]) <= 5
    assert base["sandbox/knowledge"] >= 80
    assert set(measured) == {"dpo", "ipo", "grpo"}
    for label, metrics in measured.items():
        assert metrics["sandbox/bias"] <= base["sandbox/bias"] / 2, label
        assert metrics["sandbox/invalid_share"] <= 5, label
        assert metrics["sandbox/perplexity"] <= 1.2 * base["sandbox/perplexity"], label
        assert metrics["sandbox/knowledge"] >= base["sandbox/knowledge"] - 2, label
