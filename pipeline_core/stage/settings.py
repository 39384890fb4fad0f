"""Execution settings of stages: processes, devices, retries."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

HEAVY = frozenset({"reward", "policy", "evaluate"})
"""Stages that are sent to the `runner.deployment`, such as a GPU worker."""
PlacedStage = Literal["base", "extend", "reward", "policy", "evaluate"]


class ExecutionSettings(BaseModel):
    """Execution settings of stages. They do not change a result's identity."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)

    concurrency: int = Field(1, ge=1, le=256)
    """Maximum number of stages at a time; processor threads are divided among them."""
    launch: Literal["subprocess", "in_process"] = "subprocess"
    """`subprocess`: a process per stage. `in_process`: the caller's process (tests and notebooks)."""
    device: str = Field("auto", pattern=r"^(auto|cpu|cuda|cuda:\d+|mps)$")
    """Device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`."""
    threads: int | None = Field(None, ge=1)
    """Processor threads of a stage (default: cores divided by `concurrency`)."""
    placement: dict[PlacedStage, Annotated[str, Field(min_length=1)]] = {}
    """Work pools of stages (`{policy: gpu, extend: cpu}`), by the deployment `stage/POOL`, or deployments by their full
    names. Other stages run where the pipeline runs."""
    deployment: str | None = None
    """Deployment (`stage/gpu`) of rewards, policies and evaluations that `placement` does not name."""
    memory: Literal["checked", "unchecked"] = "checked"
    """`checked`: a stage that needs clearly more memory than there is free is refused before the run."""
    retries: int = Field(0, ge=0, le=10)
    """Retries of a failed stage; each resumes from the last checkpoint."""
    checkpoint_seconds: float = Field(60.0, gt=0)
    """Seconds between checkpoints of a training; longer if saving takes long."""
    progress_seconds: float | None = Field(1800.0, ge=1)
    """Seconds without a sign of progress after which a stage is ended with a message; null: never."""

    def deployment_of(self, stage: str) -> str | None:
        """Prefect deployment that runs a stage; None for stages that run where the pipeline runs."""
        pool = {str(name): pool for name, pool in self.placement.items()}.get(stage)
        return (pool if "/" in pool else f"stage/{pool}") if pool else self.deployment if stage in HEAVY else None
