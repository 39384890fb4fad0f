"""How stages are carried out: processes, devices, retries."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

HEAVY = frozenset({"reward", "policy", "evaluate"})
"""Stages worth a GPU worker: those that a `runner.deployment` makes elsewhere."""


class ExecutionSettings(BaseModel):
    """How stages are carried out. Nothing here changes a result's identity."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)

    concurrency: int = Field(1, ge=1, le=256)
    """Stages that may run at the same time; processor threads are divided among them."""
    launch: Literal["subprocess", "in_process"] = "subprocess"
    """One process per stage, or the caller's process (tests and notebooks)."""
    device: str = Field("auto", pattern=r"^(auto|cpu|cuda|cuda:\d+|mps)$")
    """`auto`, `cpu`, `cuda`, `cuda:N` or `mps`."""
    threads: int | None = Field(None, ge=1)
    """Processor threads of one stage; cores divided by `concurrency` when not given."""
    deployment: str | None = None
    """A Prefect deployment of the generic stage (`stage/gpu`) to which rewards, policies and evaluations are sent."""
    retries: int = Field(0, ge=0, le=10)
    """How often a failed stage is tried again; it goes on from its last checkpoint."""
    checkpoint_seconds: float = Field(60.0, gt=0)
    """Seconds between checkpoints of a training; more where saving one takes long."""
