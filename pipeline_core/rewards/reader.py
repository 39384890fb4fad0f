"""Opens reward artifacts with the plugins that made them: what a running stage reads rewards by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline_core.rewards.load import load_reward
from pipeline_core.rewards.truncation import cut_texts

if TYPE_CHECKING:
    from pipeline_core.plugin.types import RewardFn, SpecSource


@dataclass(frozen=True)
class RewardArtifacts:
    """A `RewardReader` over a registry of plugins."""

    specs: SpecSource

    def open(self, folder: Path, device: str, *, remember: bool = False, skip: bool = False) -> RewardFn:
        """The function of an artifact, see `load_reward`."""
        return load_reward(folder, device, self.specs, remember=remember, skip=skip)

    def cut(self, folder: Path, prompts: Sequence[str], completions: Sequence[str]) -> list[int] | None:
        """Numbers of the texts that it cannot read in full, see `cut_texts`."""
        return cut_texts(folder, self.specs, prompts, completions)
