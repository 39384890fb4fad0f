"""Carries out one stage in this process: the same steps in a worker, under torchrun and in a notebook."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from pipeline_core.catalog import Catalog, DataRef
from pipeline_core.checkpoints import Checkpoints
from pipeline_core.context import Inputs, StageContext
from pipeline_core.events import EventLog
from pipeline_core.registry import Registry
from pipeline_core.specs import Metrics


class WorkOrder(BaseModel):
    """Everything a worker needs, as JSON: the job with its inputs opened and the folders to use."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    stage: str
    config: dict[str, Any]
    seed: int
    data: DataRef | None
    folders: dict[str, Path]
    partial: Path
    scratch: Path
    device: str

    @property
    def work(self) -> Path:
        """The folder the plugin fills."""
        return self.partial / "work"

    @property
    def events(self) -> Path:
        """Where training events are appended."""
        return self.partial / "events.jsonl"


def execute(order: WorkOrder, registry: Registry) -> Metrics:
    """Run the plugin of `order` and return its finite scalars.

    Raises:
        Whatever the plugin raises, with a note that names it.
    """
    spec = registry.get(order.stage, order.config["name"])
    config = spec.config.model_validate(order.config)
    rank, world_size = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    events = EventLog(order.events if rank == 0 else None)
    device = choose_device(order.device)
    inputs = Inputs(order.folders, Catalog.from_environment(), registry, order.data)
    context = StageContext(
        order.seed, device, events, Checkpoints(order.partial / "checkpoint"), rank, world_size, order.scratch
    )
    try:
        with process_group(world_size, device):
            metrics = spec.run(config, inputs, order.work, context)
    except Exception as error:
        error.add_note(f"in the {spec.stage} plugin {spec.name!r} ({registry.origin(spec).module})")
        raise
    finally:
        events.close()
    return {name: float(value) for name, value in metrics.items() if math.isfinite(value)}


def choose_device(wanted: str) -> str:
    """`auto` becomes this process's GPU when there is one, else the CPU."""
    if wanted not in ("auto", "cuda"):
        return wanted
    import torch

    if not torch.cuda.is_available():
        return "cpu"
    return f"cuda:{int(os.environ.get('LOCAL_RANK', '0')) % torch.cuda.device_count()}"


class process_group:  # noqa: N801 - reads as a function
    """torch.distributed for the duration of a stage; nothing at all for one process."""

    def __init__(self, world_size: int, device: str) -> None:
        self._world_size, self._device = world_size, device

    def __enter__(self) -> None:
        if self._world_size > 1:
            import torch

            if self._device.startswith("cuda"):
                torch.cuda.set_device(self._device)
            # Counts and rewards are summed on the CPU, gradients on the device.
            torch.distributed.init_process_group("cpu:gloo,cuda:nccl" if self._device.startswith("cuda") else "gloo")

    def __exit__(self, *_: object) -> None:
        if self._world_size > 1:
            import torch

            torch.distributed.destroy_process_group()
