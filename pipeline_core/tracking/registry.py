"""Registry of models beside the runs, in some backends: versions of models that passed their gate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
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


@dataclass(frozen=True)
class Held:
    """Runs and folders that the registry names."""

    runs: Mapping[str, str] = field(default_factory=dict)
    """Ids of runs whose version has an alias, with the version and the alias in words."""
    folders: frozenset[str] = frozenset()
    """Folders of this machine that are the source of such a version."""
    versions: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Versions without an alias, in words, by run id: they are deleted with their run."""


class ModelRegistry(Protocol):
    """Registry with one version per artifact, however often it passes its gate. Methods raise on failure."""

    def register(self, wanted: NewVersion, run_id: str) -> ModelVersion:
        """Find the version with exactly these files, or create it for the run; move the alias to it."""

    def artifact_uri(self, run_id: str) -> str:
        """Address of a run's artifacts."""
