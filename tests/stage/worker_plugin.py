"""A plugin for tests of real workers; installed on a path of its own, since a worker finds plugins by itself."""

import os
import sys
import time
from typing import Literal

from pipeline_core.errors import BadInput
from pipeline_core.plugin.hooks import hookimpl
from pipeline_core.plugin.specs import BaseModelSource, PluginConfig


class WorkerProbe(PluginConfig):
    name: Literal["worker_probe"] = "worker_probe"
    do: str = "write"


def run(config, inputs, out, context):
    context.events.log({"loss": 1.0}, 1, 2)
    if config.do == "bad_input":
        raise BadInput("row 3 of entry x: empty completion")
    if config.do == "raise":
        raise ValueError("seven is not a tensor")
    if config.do == "vanish":
        print("last words", flush=True)
        os._exit(3)
    if config.do == "kill_rank_0":
        fail_together(context)
    if config.do == "sleep":
        (out.parent / "pid").write_text(str(os.getpid()))
        time.sleep(60)
    if config.do in ("gpus", "meet"):
        (out / f"gpus-{context.rank}.txt").write_text(os.environ["CUDA_VISIBLE_DEVICES"])
    if config.do == "meet":
        meet(out)
    if config.do == "resume":
        return resume(out, context)
    if config.do == "abort_at_exit":
        abort_at_exit(out)
    value = float(context.world_size)
    if context.world_size > 1:
        import torch

        total = torch.tensor([context.rank + 1.0])
        torch.distributed.all_reduce(total)
        value = total.item()
    if context.is_main:
        (out / "result.txt").write_text(f"{value} {os.environ['OMP_NUM_THREADS']}")
    return {"sum": value, "heavy": float("mlflow" in sys.modules or "prefect" in sys.modules)}


def fail_together(context):
    """Rank 0 is killed as for lack of memory; the other complains about the lost connection."""
    import signal

    if context.rank == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    import torch

    torch.distributed.all_reduce(torch.zeros(1))


def meet(out):
    """Wait until another stage of the store is at work, or has been."""
    end = time.monotonic() + 120
    while len([*out.parents[2].glob("*/*/work/gpus-0.txt"), *out.parents[3].glob("model/*/gpus-0.txt")]) < 2:
        assert time.monotonic() < end, "nobody else came"
        time.sleep(0.05)


def abort_at_exit(out):
    """As a native library that aborts the process while it ends."""
    import atexit
    import ctypes

    libc = ctypes.CDLL(None)
    libc.__cxa_atexit(ctypes.cast(libc.abort, ctypes.c_void_p), None, None)
    atexit.register((out / "at exit").write_text, "of Python")


def resume(out, context):
    """Count to ten, one checkpoint a step, and wait after the fifth on the first attempt."""
    import torch

    state = context.checkpoints.load()
    step, total = (state["step"], state["total"]) if state else (0, torch.zeros(()))
    while step < 10:
        step, total = step + 1, total + step
        context.checkpoints.save({"step": step, "total": total})
        if step == 5 and state is None:
            (out / "half written").write_text("must not survive")
            (out.parent / "pid").write_text(str(os.getpid()))
            time.sleep(60)
    (out / "total.txt").write_text(str(total.item()))
    return {"total": total.item()}


@hookimpl
def register_base_models():
    return [BaseModelSource(WorkerProbe, run)]
