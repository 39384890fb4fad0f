"""Runs one training in a process of its own: `driver.py MODEL FOLDER NAME... [--kill STEP]`, alone or under torchrun.

Leaves under FOLDER/NAME the artifact (`out`), the checkpoint, and what every rank saw (`seen<rank>.json`).
"""

import argparse
import json
import os
import signal
from pathlib import Path

SETTINGS = {
    "dpo": {"steps": 6, "batch_size": 6, "learning_rate": 1e-3, "micro_batch_tokens": 60},
    "gr_dpo": {  # a plateau at every step, and stopped early at the sixth
        "steps": 9,
        "batch_size": 6,
        "learning_rate": 1e-3,
        "micro_batch_tokens": 60,
        "group_by": "domain/group",
        "domain_chi": 0.7,
        "form": "mean",
        "validation": {"data": "held_out", "every": 1, "patience": 1, "plateaus": 5, "rate_factor": 0.3},
        "lora": {"r": 4},
    },
    "grpo": {
        "steps": 6,
        "prompts_per_step": 5,
        "samples_per_prompt": 3,
        "sampling": {"max_new_tokens": 6},
        "learning_rate": 1e-3,
        "beta": 0.05,
        "micro_batch_tokens": 60,
        "samples_every": 2,
        "updates_per_rollout": 2,
        "adaptive": {"first": 2, "most": 5},
        "dynamic_rounds": 2,
        "worst_group": {"eta_alpha": 0.5},
        "rewards": {"e": 1.0, "short": 0.1},
    },
    "ppo": {
        "steps": 6,
        "prompts_per_step": 5,
        "samples_per_prompt": 3,
        "sampling": {"max_new_tokens": 6},
        "learning_rate": 1e-3,
        "critic_learning_rate": 3e-3,
        "kl_target": 0.1,
        "micro_batch_tokens": 60,
        "samples_every": 2,
        "updates_per_rollout": 2,
        "minibatches": 2,
    },
    "rloo": {  # one prompt a step: of two processes one has none
        "steps": 6,
        "prompts_per_step": 1,
        "samples_per_prompt": 3,
        "sampling": {"max_new_tokens": 6},
        "learning_rate": 1e-3,
        "beta": 0.05,
        "updates_per_rollout": 2,
    },
    "online_dpo": {
        "steps": 6,
        "prompts_per_step": 5,
        "samples_per_prompt": 3,
        "sampling": {"max_new_tokens": 6},
        "learning_rate": 1e-3,
        "micro_batch_tokens": 60,
    },
}


def train(name: str, model: Path, folder: Path, kill: int | None = None) -> dict:
    """One training over the tiny pairs; what this process saw."""

    import torch

    from pipeline_core.models import distributed
    from pipeline_core.plugin.checkpoints import Checkpoints
    from pipeline_core.plugin.context import StageContext
    from pipeline_core.plugin.events import EventLog
    from pipeline_core.plugin.registry import load_registry
    from pipeline_core.training.optimizer import Training
    from tests.training.tiny import TinyInputs

    class Log(EventLog):
        def log(self, metrics, step, total=None):
            super().log(metrics, step, total)
            if step == kill:
                os.kill(os.getpid(), signal.SIGKILL)

    gradients, update = [], Training.update

    def watched(self):
        distributed.all_reduce_gradients(self.weights.values())
        if not gradients:
            gradients.append(torch.cat([weight.grad.flatten() for weight in self.weights.values()]).tolist())
        reduce, distributed_sum = distributed.all_reduce_gradients, update.__globals__
        distributed_sum["all_reduce_gradients"] = lambda weights: None
        try:
            return update(self)
        finally:
            distributed_sum["all_reduce_gradients"] = reduce

    Training.update = watched
    try:
        spec = load_registry().get("policy", name)
        out = folder / name / "out"
        out.mkdir(parents=True, exist_ok=True)
        context = StageContext(
            seed=5,
            device="cpu",
            events=Log(),
            checkpoints=Checkpoints(folder / name / "checkpoint", every_steps=2),
            rank=distributed.rank(),
            world_size=distributed.world_size(),
            scratch=folder / "scratch",
        )
        metrics = spec.run(spec.config(**SETTINGS[name]), TinyInputs(model), out, context)
    finally:
        Training.update = update
    seen = {
        "world_size": distributed.world_size(),
        "gradient": gradients[0],
        "history": context.events.history,
        "metrics": metrics,
    }
    (folder / name / f"seen{distributed.rank()}.json").write_text(json.dumps(seen))
    return seen


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("model", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="+")
    parser.add_argument("--kill", type=int)
    arguments = parser.parse_args()
    import torch

    if "WORLD_SIZE" in os.environ:
        torch.distributed.init_process_group("gloo")
    for name in arguments.names:
        train(name, arguments.model, arguments.folder, arguments.kill)
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()
