"""Settings of stages that start from a published model: a folder, or a hub id with its commit."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field, model_validator

from pipeline_core.files.atomic import user_path
from pipeline_core.models import model_sources
from pipeline_core.models.footprint import ModelShape, shape_of_folder
from pipeline_core.plugin.specs import PluginConfig


class PublishedModelConfig(PluginConfig):
    """Configuration of a stage that starts from a published model."""

    stage: ClassVar[str]
    """Stage whose plugin is configured; messages name it."""

    model: str = Field(min_length=1)
    """A folder (`/...`, `./...`, `~/...`) or a hub id (`microsoft/phi-2`)."""
    revision: str | None = None
    """Commit of a hub id. Default: the newest at first use, recorded and kept. Unused for a folder."""

    @model_validator(mode="after")
    def _pinned(self) -> PublishedModelConfig:
        model_sources.check_pinned(self.model, self.revision, "model")
        return self

    def needs_hub(self) -> list[str]:
        """Hub id of the model; empty for a folder."""
        return model_sources.needs_hub(self.model)

    def identity(self) -> dict[str, Any]:
        """The configuration without the path of a local folder, whose files are digested instead."""
        local = {"model": model_sources.LOCAL, "revision": None} if model_sources.is_local(self.model) else {}
        return super().identity() | local

    def folder(self) -> Path:
        """Folder of the model, downloaded from the hub if needed. Raises the errors of `model_sources.model_folder`."""
        return model_sources.model_folder(self.model, self.revision, f"{self.stage}.name={self.name}")

    def shape(self) -> ModelShape | None:
        """Size of a local model; None for one of the hub, which may not be here yet."""
        return shape_of_folder(user_path(self.model)) if model_sources.is_local(self.model) else None

    def sources(self) -> Mapping[str, str]:
        """Digest of a local folder, or the recorded commit of an unpinned hub id."""
        return model_sources.model_source(self.model, self.revision, f"{self.stage}.name={self.name}")
