# ruff: noqa: ARG001, ARG002 - names and arguments are those that TRL asks for
"""One GRPO step of TRL at a time, told to by a line on stdin: `peers/trl_grpo.py SETTINGS_JSON`.

Runs in an environment of its own, so it imports nothing of Evenhand. Every step's seconds are printed as a line.
"""

import json
import resource
import sys
import time
from contextlib import ExitStack
from importlib.metadata import version

from datasets import Dataset
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from trl import GRPOConfig, GRPOTrainer


class StepByStep(TrainerCallback):
    """Waits before every step for a line on stdin, and says afterwards how long the step took.

    The line `count` has the step's floating-point operations counted.
    """

    def on_step_begin(self, args, state, control, **kwargs):
        if not (told := sys.stdin.readline()):
            sys.exit(0)
        self.counter, self.counting = FlopCounterMode(display=False), ExitStack()
        if told.strip() == "count":
            self.counting.enter_context(self.counter)
        self.began = time.perf_counter()

    def on_step_end(self, args, state, control, **kwargs):
        seconds = time.perf_counter() - self.began
        self.counting.close()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        say({"seconds": seconds, "peak_mib": peak, "flops": self.counter.get_total_flops()})


def say(facts):
    print(json.dumps(facts), file=OUT, flush=True)


def reward(completions, **kwargs):
    return [float(sum(map(ord, text)) % 17) for text in completions]


def main():
    chosen = json.loads(sys.argv[1])
    tokenizer = AutoTokenizer.from_pretrained(chosen["model"])
    model = AutoModelForCausalLM.from_pretrained(chosen["model"])
    rows = chosen["prompts_per_step"] * chosen["samples"]
    settings = {
        "output_dir": chosen["folder"],
        "use_cpu": not chosen["cuda"],
        "bf16": False,
        "per_device_train_batch_size": rows,
        "num_generations": chosen["samples"],
        "max_completion_length": chosen["completion"],
        "generation_kwargs": {"min_new_tokens": chosen["completion"]},
        "beta": chosen["beta"],
        "learning_rate": 1e-6,
        "max_grad_norm": 1.0,
        "num_iterations": 1,
        "max_steps": chosen["steps"],
        "gradient_checkpointing": False,
        "disable_dropout": True,
        "loss_type": "grpo",
        "optim": "adamw_torch_fused",
        "lr_scheduler_type": "constant",
        "report_to": [],
        "save_strategy": "no",
        "logging_strategy": "no",
        "disable_tqdm": True,
        "shuffle_dataset": False,
    }
    known = set(GRPOConfig.__dataclass_fields__)
    left = sorted(set(settings) - known)
    config = GRPOConfig(**{name: value for name, value in settings.items() if name in known})
    trainer = GRPOTrainer(
        model=model,
        reward_funcs=reward,
        args=config,
        train_dataset=Dataset.from_list([{"prompt": text} for text in chosen["prompts"]]),
        processing_class=tokenizer,
        callbacks=[StepByStep()],
    )
    versions = {package: version(package) for package in ("trl", "transformers", "torch")}
    say({**versions, "options_it_does_not_know": left})
    trainer.train()


if __name__ == "__main__":
    OUT, sys.stdout = sys.stdout, sys.stderr
    main()
