"""Rewards that depend on length alone, for policies with several rewards (`reward: {name: function, ...}`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def shortness(prompts: Sequence[str], completions: Sequence[str]) -> Tensor:  # noqa: ARG001 - a reward's arguments
    """Negative length of each completion in hundreds of characters, (N,)."""
    import torch

    return torch.tensor([-len(completion) / 100 for completion in completions], dtype=torch.float32)
