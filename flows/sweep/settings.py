"""Settings of a sweep's execution: where its points run, and what a stage asks of a Ray cluster."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict, Field

from pipeline_core.checks.grid import MOST_POINTS
from pipeline_core.errors import BadInput, check_known, quoted
from pipeline_core.pipeline.plan import PlannedStage
from pipeline_core.plugin.specs import STAGES
from pipeline_core.stage.settings import HEAVY

RESOURCE = re.compile(r"(\w+)=(\d+(?:\.\d+)?)(?:,(\d+(?:\.\d+)?))?")
MOST_RESOURCE = 10_000


class Resources(BaseModel):
    """CPUs and GPUs that Ray sets aside for a stage; fractions of a GPU share it."""

    num_cpus: float = Field(gt=0, le=MOST_RESOURCE)
    num_gpus: float | None = Field(None, ge=0, le=MOST_RESOURCE)


class SweepSettings(BaseModel):
    """Execution settings of a sweep; they do not change its results."""

    model_config = ConfigDict(frozen=True)

    limit: int = Field(MOST_POINTS, ge=1)
    concurrency: int = Field(1, ge=1, le=256)
    """Points at a time in this process."""
    deployment: str | None = None
    """Prefect deployment of the pipeline that runs the points."""
    ray: str | None = None
    """Ray cluster that makes the stages: its address, or `local` for one that lives as long as the sweep."""
    resources: dict[str, Resources] = {}
    """Requests of stages to Ray, by the kind of stage."""
    bias: str = ""
    capability: str = ""

    @property
    def engine(self) -> str:
        """Place where the points run, in words."""
        if self.deployment:
            return f"points run by the deployment {self.deployment}"
        if self.ray:
            return "stages made on a Ray cluster"
        return f"{self.concurrency} point{'s' if self.concurrency > 1 else ''} at a time in one process"

    def resources_of(self, planned: PlannedStage, device: str, gpus: float) -> dict[str, float]:
        """Ray's `num_cpus` and `num_gpus` of a stage in a cluster that has `gpus`.

        Without a setting: a CPU per process, and a GPU per process of a heavy stage that may use one.
        """
        given, processes = self.resources.get(planned.stage), planned.config.processes
        default = float(processes) if gpus and planned.stage in HEAVY and device in ("auto", "cuda") else 0.0
        if given is None:
            return {"num_cpus": float(processes), "num_gpus": default}
        return {"num_cpus": given.num_cpus, "num_gpus": default if given.num_gpus is None else given.num_gpus}


def parse_resources(given: Sequence[str]) -> dict[str, Resources]:
    """Read `policy=4,1`: four CPUs and a GPU for every policy stage.

    Raises:
        BadInput: a text is not of that form, or names no stage.
    """
    found: dict[str, Resources] = {}
    for text in given:
        match = RESOURCE.fullmatch(text)
        if match is None:
            raise BadInput(f"--resource {quoted(text)} is not of the form STAGE=CPUS or STAGE=CPUS,GPUS")
        check_known("stage", [match[1]], STAGES, f"--resource {quoted(text)}")
        cpus, gpus = float(match[2]), None if match[3] is None else float(match[3])
        if not 0 < cpus <= MOST_RESOURCE or (gpus or 0) > MOST_RESOURCE:
            raise BadInput(f"--resource {quoted(text)}: the CPUs are more than 0 and at most {MOST_RESOURCE:,}")
        found[match[1]] = Resources(num_cpus=cpus, num_gpus=gpus)
    return found


def threads_of(resources: dict[str, float]) -> int:
    """Processor threads of a stage that has these resources."""
    return max(1, math.floor(resources["num_cpus"]))
