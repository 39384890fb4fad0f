"""Types passed between stages: metrics and reward functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    import torch

Metrics = dict[str, float]
"""Scalars reported by a stage. Fixed names: `loss`, `worst_group/loss`, `group/<name>/loss` (`/weight`, `/rows`,
`/reward`), `validation/loss` (`/group_mean/loss`, `/worst_group/loss`, `/group/<name>/loss`), `kl`, `reward/mean`.

`perf/...` depends on the machine and is never part of an artifact.
"""

RewardFn = Callable[[Sequence[str], Sequence[str]], "torch.Tensor"]
"""Maps N prompts and N completions to scores, an (N,) float32 tensor; larger is better."""

Scale = Literal["unit", "logit"]
"""Scale of a reward's raw scores: `unit` for probabilities, which errors of a fit may move out of [0, 1]; `logit` for
log-odds."""


class SpecSource(Protocol):
    """Interface of the registry for code that works with artifacts: specs by stage and name."""

    def get(self, stage: str, name: str, where: str = "") -> Any:
        """The spec `name` of a stage. Raises `UnknownName`."""

    def specs(self, stage: str | None = None) -> list[Any]:
        """All specs of a stage, or of all stages."""


class RewardReader(Protocol):
    """Opens reward artifacts with the plugins that made them."""

    @property
    def specs(self) -> SpecSource:
        """Registered plugins."""

    def open(
        self, folder: Path, device: str, *, remember: bool = False, skip: bool = False, shared: bool = False
    ) -> RewardFn:
        """Reward function of an artifact; see `pipeline_core.rewards.load.load_reward`."""

    def cut(self, folder: Path, prompts: Sequence[str], completions: Sequence[str]) -> list[int] | None:
        """Indices of the texts that the reward truncates; None if its plugin has no `cut`."""
