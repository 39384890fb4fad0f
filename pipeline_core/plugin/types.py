"""What stages hand to each other: metrics, and rewards as functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    import torch

Metrics = dict[str, float]
"""Scalars a stage reports. Names are a contract: `loss`, `worst_group/loss`, `group/<name>/loss` (`/weight`, `/rows`,
`/reward`), `validation/loss` (`/group_mean/loss`, `/worst_group/loss`, `/group/<name>/loss`), `kl`, `reward/mean`.

`perf/...` depends on the machine and is never part of an artifact.
"""

RewardFn = Callable[[Sequence[str], Sequence[str]], "torch.Tensor"]
"""Prompts and completions, N each, to an (N,) float32 tensor; larger is better."""

Scale = Literal["unit", "logit"]
"""What raw scores of a reward mean: `unit` ones lie between 0 and 1, but for the errors of a fit; a `logit` is the
logarithm of the odds."""


class SpecSource(Protocol):
    """Specs by stage and name: what of the registry those need that are given artifacts and not plugins."""

    def get(self, stage: str, name: str, where: str = "") -> Any:
        """The spec called `name`. Raises `UnknownName`."""

    def specs(self, stage: str | None = None) -> list[Any]:
        """All specs of a stage."""


class RewardReader(Protocol):
    """Opens reward artifacts with the plugins that made them."""

    @property
    def specs(self) -> SpecSource:
        """The plugins."""

    def open(self, folder: Path, device: str, *, remember: bool = False, skip: bool = False) -> RewardFn:
        """The function of an artifact; see `pipeline_core.rewards.load.load_reward`."""

    def cut(self, folder: Path, prompts: Sequence[str], completions: Sequence[str]) -> list[int] | None:
        """Numbers of the texts that it cannot read in full; None where it does not say."""
