"""Base model source `checkpoint`: copies a causal language model from a local folder or the hub."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from pipeline_core.models.published import PublishedModelConfig
from pipeline_core.plugin.context import Inputs, StageContext
from pipeline_core.plugin.hooks import hookimpl
from pipeline_core.plugin.specs import BaseModelSource
from pipeline_core.plugin.types import Metrics


class CheckpointConfig(PublishedModelConfig):
    """Causal language model from a local folder or from the Hugging Face hub."""

    shares_work: ClassVar[bool] = False
    stage: ClassVar[str] = "base"

    name: Literal["checkpoint"] = "checkpoint"
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Number format of the stored weights; `auto` keeps that of the checkpoint."""


def run(config: CheckpointConfig, inputs: Inputs, out: Path, context: StageContext) -> Metrics:  # noqa: ARG001
    """Copy the model and its tokenizer into `out`."""
    from pipeline_core.models.foreign import load_complete, write_base

    if not context.is_main:
        return {}
    return write_base(*load_complete(config.folder(), config.dtype), out)


@hookimpl
def register_base_models() -> list[BaseModelSource]:
    """Register `checkpoint`."""
    return [BaseModelSource(CheckpointConfig, run, sources=CheckpointConfig.sources)]
