"""A registry of models beside the runs, which some backends have: versions of models that passed their gate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True)
class NewVersion:
    """What is to be registered: the folder of an artifact and what is said of it."""

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
    """By which the version with the alias is loaded."""
    in_store: bool
    """Whether its files are those in the store."""
    is_new: bool
    """Whether it was made now."""


class ModelRegistry(Protocol):
    """One version for an artifact, however often it passes its gate. What a method cannot do it raises."""

    def register(self, wanted: NewVersion, run_id: str) -> ModelVersion:
        """Find the version that has these very files, or make one that belongs to the run; move the alias to it."""

    def artifact_uri(self, run_id: str) -> str:
        """Where a run's artifacts are."""
