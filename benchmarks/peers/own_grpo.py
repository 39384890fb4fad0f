"""The same steps by Evenhand's own loop: `peers/own_grpo.py SETTINGS_JSON`, with the split into its parts."""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from pipeline_core.losses.advantages import cohort_relative
from pipeline_core.losses.groups import uniform
from pipeline_core.models.loading import load_model, load_trainable
from pipeline_core.plugin.checkpoints import Checkpoints
from pipeline_core.plugin.context import StageContext
from pipeline_core.plugin.events import EventLog
from pipeline_core.rewards.memory import Timed
from pipeline_core.training.online import engines
from pipeline_core.training.online import train as online
from pipeline_core.training.online.collecting import WeightedRewards
from pipeline_core.training.online.experience import Prompts
from pipeline_core.training.online.surrogate import SurrogateLearner
from pipeline_core.training.online.surrogate_settings import SurrogateConfig
from pipeline_core.training.optimizer import Training

OUT = sys.stdout
spent: dict[str, float] = {}


def reward(prompts: Sequence[str], completions: Sequence[str]) -> torch.Tensor:  # noqa: ARG001 - a RewardFn
    """A cheap number."""
    return torch.tensor([float(sum(map(ord, text)) % 17) for text in completions])


@contextmanager
def counted(name: str) -> Any:
    """Adds the seconds within to a part of the step."""
    began = time.perf_counter()
    yield
    spent[name] = spent.get(name, 0.0) + time.perf_counter() - began


def timed(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, its seconds counted as `name`."""

    def run(*arguments: Any, **named: Any) -> Any:
        with counted(name):
            return function(*arguments, **named)

    return run


class StepByStep(Training):
    """Waits before every step for a line on stdin, and says afterwards how long it took, and its parts."""

    def end_step(self, *arguments: Any, **named: Any) -> None:
        """Say so and wait."""
        super().end_step(*arguments, **named)
        seconds = time.perf_counter() - self.began
        self.counting.close()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        say({"seconds": seconds, "peak_mib": peak, "parts": dict(spent), "flops": self.counter.get_total_flops()})
        self.wait()

    def wait(self) -> None:
        """Until told to go on, or to `count` the next step's operations."""
        if not (told := sys.stdin.readline()):
            sys.exit(0)
        spent.clear()
        self.counter, self.counting = FlopCounterMode(display=False), ExitStack()
        if told.strip() == "count":
            self.counting.enter_context(self.counter)
        self.began = time.perf_counter()

    def resume(self) -> dict[str, Any]:
        """Nothing to resume; the first wait."""
        found = super().resume()
        say({package: version(package) for package in ("transformers", "torch")})
        self.wait()
        return found


def say(facts: dict[str, Any]) -> None:
    """A line of JSON for the one who measures."""
    print(json.dumps(facts), file=OUT, flush=True)


def main() -> None:
    """Steps until stdin ends."""
    chosen = json.loads(sys.argv[1])
    device = "cuda" if chosen["cuda"] else "cpu"
    settings = SurrogateConfig(
        name="grpo",
        steps=chosen["steps"],
        prompts_per_step=chosen["prompts_per_step"],
        samples_per_prompt=chosen["samples"],
        sampling={"max_new_tokens": chosen["completion"], "min_new_tokens": chosen["completion"]},
        max_length=chosen["prompt"] + chosen["completion"] + 8,
        beta=chosen["beta"],
        learning_rate=1e-6,
        schedule="constant",
        warmup_ratio=0,
        precision="float32",
    )
    folder = Path(chosen["model"])
    model = load_trainable(folder, device, None, 0, "float32")
    frozen, tokenizer = load_model(folder, device, "float32")
    online.Training = StepByStep  # type: ignore[misc]
    engines.generate = timed("sampling", engines.generate)  # type: ignore[attr-defined]
    online.backward = timed("update", online.backward)

    @torch.no_grad()
    def reference(batch: Any) -> torch.Tensor:
        with counted("reference"):
            return online.completion_logps(frozen, batch, 1.0)[0]

    prompts = chosen["prompts"]
    context = StageContext(seed=0, device=device, events=EventLog(), checkpoints=Checkpoints(None))
    online.run_online(
        model,
        tokenizer,
        Prompts(prompts, ["all"], torch.ones(len(prompts), 1, dtype=torch.float64)),
        WeightedRewards([Timed(reward)], {"reward": 1.0}),
        SurrogateLearner(cohort_relative(), settings),
        uniform(),
        settings,
        context,
        reference=reference if settings.beta else None,
    )


if __name__ == "__main__":
    sys.stdout = sys.stderr
    main()
