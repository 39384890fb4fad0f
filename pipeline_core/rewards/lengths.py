"""Rewards of length alone, beside others in a policy of several rewards (`reward: {name: function, ...}`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def shortness(prompts: Sequence[str], completions: Sequence[str]) -> Tensor:  # noqa: ARG001 - a reward's arguments
    """Minus the hundreds of characters of every completion, (N,)."""
    import torch

    return torch.tensor([-len(completion) / 100 for completion in completions], dtype=torch.float32)
