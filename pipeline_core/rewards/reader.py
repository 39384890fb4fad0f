"""Loads reward artifacts for a running stage, with the plugins that made them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline_core.plugin.types import RewardFn, SpecSource
from pipeline_core.rewards.load import load_reward
from pipeline_core.rewards.truncation import cut_texts


@dataclass(frozen=True)
class RewardArtifacts:
    """`RewardReader` based on a registry of plugins."""

    specs: SpecSource

    def open(
        self, folder: Path, device: str, *, remember: bool = False, skip: bool = False, shared: bool = False
    ) -> RewardFn:
        """Function of an artifact, see `load_reward`."""
        return load_reward(folder, device, self.specs, remember=remember, skip=skip, shared=shared)

    def cut(self, folder: Path, prompts: Sequence[str], completions: Sequence[str]) -> list[int] | None:
        """Indices of the texts that the reward truncates, see `cut_texts`."""
        return cut_texts(folder, self.specs, prompts, completions)
