"""A causal language model from a local folder or the hub, as a plain folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from pipeline_core.models import sources as model_sources
from pipeline_core.plugin.context import Inputs, StageContext
from pipeline_core.plugin.hooks import hookimpl
from pipeline_core.plugin.specs import BaseModelSource, PluginConfig
from pipeline_core.plugin.types import Metrics

NEEDED_BY = "base.name=checkpoint"


class CheckpointConfig(PluginConfig):
    """A causal language model from a local folder or from the Hugging Face hub."""

    name: Literal["checkpoint"] = "checkpoint"
    model: str = Field(min_length=1)
    """A folder (`/...`, `./...`, `~/...`) or a hub id (`microsoft/phi-2`)."""
    revision: str | None = None
    """Commit of a hub id; the newest at first use, recorded and kept, when not given. Unused for a folder."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Number format of the stored weights; the checkpoint's own with `auto`."""

    @model_validator(mode="after")
    def _pinned(self) -> CheckpointConfig:
        model_sources.check_pinned(self.model, self.revision, "model")
        return self

    def needs_hub(self) -> list[str]:
        """The hub id of the model."""
        return model_sources.needs_hub(self.model)

    def identity(self) -> dict[str, Any]:
        """The configuration without the path of a local folder, whose files are digested instead."""
        local = {"model": model_sources.LOCAL, "revision": None} if model_sources.is_local(self.model) else {}
        return super().identity() | local


def sources(config: CheckpointConfig) -> Mapping[str, str]:
    """Digest of a local folder, or the commit of a hub id that names none."""
    return model_sources.model_source(config.model, config.revision, NEEDED_BY)


def run(config: CheckpointConfig, inputs: Inputs, out: Path, context: StageContext) -> Metrics:  # noqa: ARG001
    """Copy the model and its tokenizer into `out`."""
    from pipeline_core.models.foreign import load_complete, write_base

    if not context.is_main:
        return {}
    folder = model_sources.model_folder(config.model, config.revision, NEEDED_BY)
    return write_base(*load_complete(folder, config.dtype), out)


@hookimpl
def register_base_models() -> list[BaseModelSource]:
    """Register `checkpoint`."""
    return [BaseModelSource(CheckpointConfig, run, sources=sources)]
