"""Registry of models beside the runs, in some backends: versions of models that passed their gate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True)
class NewVersion:
    """A version to register: the folder of an artifact, its description and tags."""

    name: str
    alias: str
    label: str
    digest: str
    folder: Path
    description: str
    tags: Mapping[str, str]


@dataclass(frozen=True)
class ModelVersion:
    """A version in the registry."""

    name: str
    number: str
    source: str
    uri: str
    """Address that loads the version with the alias."""
    in_store: bool
    """True if its files are those in the store, not a copy."""
    is_new: bool
    """True if this call created the version."""


class ModelRegistry(Protocol):
    """Registry with one version per artifact, however often it passes its gate. Methods raise on failure."""

    def register(self, wanted: NewVersion, run_id: str) -> ModelVersion:
        """Find the version with exactly these files, or create it for the run; move the alias to it."""

    def artifact_uri(self, run_id: str) -> str:
        """Address of a run's artifacts."""
