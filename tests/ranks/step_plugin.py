"""A training for tests of ranks: each step computes or sleeps, sums over the ranks and saves a checkpoint.

Installed on a path of its own, since workers find plugins by themselves.
"""

import os
import sys
import time
from typing import Literal

from pipeline_core.plugin.hooks import hookimpl
from pipeline_core.plugin.specs import BaseModelSource, PluginConfig


class Steps(PluginConfig):
    name: Literal["steps"] = "steps"
    steps: int = 6
    busy: float = 0.0
    """Seconds of computing in every step of the last rank; the others wait for it."""
    rest: float = 0.3
    """Seconds that every rank sleeps in a step."""
    fault: str = ""
    """What the last rank does in the third step."""


def run(config, inputs, out, context):
    import torch

    (out.parent / f"rank{context.rank}").write_text(str(os.getpid()))
    state = context.checkpoints.load() or {"step": 0, "total": torch.zeros(())}
    step, total = state["step"], state["total"]
    last = context.rank == context.world_size - 1
    while step < config.steps:
        step += 1
        if last and step == 3:
            go_wrong(config.fault)
        end = time.monotonic() + (config.busy if last else 0.0)
        while time.monotonic() < end:
            pass
        time.sleep(config.rest)
        mine = torch.tensor(float(step)) / context.world_size
        if context.world_size > 1:
            torch.distributed.all_reduce(mine)
        total = total + mine
        if context.is_main:
            context.checkpoints.save({"step": step, "total": total})
            (out.parent / "step").write_text(str(step))
    if context.is_main:
        (out / "total.txt").write_text(f"{total.item()} by {context.world_size}")
    return {"total": total.item()}


def go_wrong(fault):
    if fault == "exit":
        os._exit(3)
    if fault == "raise":
        raise ValueError("seven is not a tensor")
    if fault == "hang":
        wait_for_ever()
    assert not fault, sys.argv


def wait_for_ever():
    time.sleep(1000)


@hookimpl
def register_base_models():
    return [BaseModelSource(Steps, run)]
