"""Executes a stage in this process; used by workers, under torchrun and in notebooks."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from pipeline_core.data.catalog import Catalog
from pipeline_core.data.refs import DataRef
from pipeline_core.errors import StageFailed
from pipeline_core.models.devices import choose_device, process_group
from pipeline_core.plugin.checkpoints import Checkpoints
from pipeline_core.plugin.context import Inputs, StageContext
from pipeline_core.plugin.events import EventLog
from pipeline_core.plugin.registry import Registry
from pipeline_core.plugin.specs import Spec
from pipeline_core.plugin.types import Metrics
from pipeline_core.rewards.reader import RewardArtifacts
from pipeline_core.store.versions import library_versions, source_digest

log = logging.getLogger(__name__)


class WorkOrder(BaseModel):
    """Work order of a worker, as JSON: the job, the folders of its inputs, and the folders to use."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    stage: str
    config: dict[str, Any]
    seed: int
    data: DataRef | None
    folders: dict[str, Path]
    attempt: Path
    """Folder of this attempt only; an earlier attempt may still write into its own."""
    checkpoints: Path
    """Folder of checkpoints, shared by all attempts."""
    scratch: Path
    device: str
    checkpoint_seconds: float = 60.0
    progress_seconds: float | None = None

    @property
    def name(self) -> str:
        """The stage in messages, as `policy:grpo`."""
        return f"{self.stage}:{self.config.get('label') or self.config['name']}"

    @property
    def work(self) -> Path:
        """Output folder of the plugin."""
        return self.attempt / "work"

    @property
    def file(self) -> Path:
        """File of the order: read by the worker, and by the cleanup to find inputs in use."""
        return self.attempt / "order.json"

    @property
    def events(self) -> Path:
        """File to which training events are appended."""
        return self.attempt / "events.jsonl"


def execute(order: WorkOrder, registry: Registry) -> Metrics:
    """Run the plugin of `order` and return its finite scalars.

    Raises:
        Any error of the plugin, with a note that names the plugin.
    """
    spec = registry.get(order.stage, order.config["name"])
    config = spec.config.model_validate(order.config)
    rank, world_size = place_of(config.processes)
    events = EventLog(order.events if rank == 0 else None)  # ranks log the same, and lines of two writers would mix
    device = choose_device(order.device, world_size)
    inputs = Inputs(order.folders, Catalog.from_environment(), RewardArtifacts(registry), order.data)
    # `made_by` is a function, since only stages with checkpoints need its digests.
    checkpoints = Checkpoints(
        order.checkpoints, order.checkpoint_seconds, made_by=partial(_made_by, spec, registry, device)
    )
    context = StageContext(order.seed, device, events, checkpoints, rank, world_size, order.scratch)
    try:
        with process_group(world_size, device, order.progress_seconds):
            return _finite(spec.run(config, inputs, order.work, context))
    except Exception as error:
        error.add_note(f"in the {spec.stage} plugin {spec.name!r} ({registry.origin(spec).module})")
        raise
    finally:
        events.close()


def place_of(processes: int) -> tuple[int, int]:
    """Rank and number of processes of a stage. With one process, a launcher's variables are ignored.

    Raises:
        StageFailed: the number of processes differs from the configuration.
    """
    if processes == 1:
        return 0, 1
    rank, world_size = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    if world_size != processes:
        raise StageFailed(f"the stage asks for {processes} processes and was started as {world_size}")
    return rank, world_size


def _made_by(spec: Spec, registry: Registry, device: str) -> dict[str, str]:
    """Facts a checkpoint depends on besides the stage's key: code, versions, kind of device."""
    modules = registry.origin(spec).module.partition(":")[0], getattr(spec.run, "__module__", "")  # `module:object`
    code = {"revision": str(spec.revision), "source": source_digest(*modules)}
    return {**code, "device": device.partition(":")[0], **library_versions()}


def _finite(metrics: Any) -> Metrics:
    if not isinstance(metrics, Mapping):
        raise StageFailed(f"it returned {type(metrics).__name__} in place of its metrics; is a `return` missing?")
    values = {}
    for name, value in metrics.items():
        try:
            values[str(name)] = float(value)  # a tensor of one element too
        except (TypeError, ValueError):
            raise StageFailed(f"its metric {name!r} is no number: {value!r}") from None
    if dropped := [name for name, value in values.items() if not math.isfinite(value)]:
        log.warning("left out, since they are not finite: %s", ", ".join(dropped))
    return {name: value for name, value in values.items() if math.isfinite(value)}
