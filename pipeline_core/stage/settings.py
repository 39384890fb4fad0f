"""Execution settings of stages: processes, devices, retries."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

HEAVY = frozenset({"reward", "policy", "evaluate"})
"""Stages that are sent to the `runner.deployment`, such as a GPU worker."""


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
    deployment: str | None = None
    """Prefect deployment of the generic stage (`stage/gpu`) that runs rewards, policies and evaluations."""
    retries: int = Field(0, ge=0, le=10)
    """Retries of a failed stage; each resumes from the last checkpoint."""
    checkpoint_seconds: float = Field(60.0, gt=0)
    """Seconds between checkpoints of a training; longer if saving takes long."""
    progress_seconds: float | None = Field(1800.0, ge=1)
    """Seconds without a sign of progress after which a stage is ended with a message; null: never."""
