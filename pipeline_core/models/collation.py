"""Prompts and completions as padded tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline_core.models.tokens.prompts import pad


@dataclass(frozen=True)
class Completions:
    """P prompts (padded on the left) and their completions (padded on the right, B rows, cohort after cohort).

    `owner_B` is every completion's prompt; `places_N` are the flat positions of real tokens in the (B, T) completions.
    `prompt_lengths` (B) and `lengths` (B) are the tokens of every row's prompt and completion, on the host.
    """

    prompt_ids_PT: Tensor
    prompt_mask_PT: Tensor
    ids_BT: Tensor
    mask_BT: Tensor
    owner_B: Tensor
    places_N: Tensor
    prompt_lengths: tuple[int, ...]
    lengths: tuple[int, ...]

    @property
    def row_lengths(self) -> list[int]:
        """Tokens of every row that go through a model: its prompt and all of its completion but the last."""
        return [prompt + length - 1 for prompt, length in zip(self.prompt_lengths, self.lengths, strict=True)]

    @property
    def shares_prompts(self) -> bool:
        """Whether some prompt has several completions."""
        return len(self.ids_BT) > len(self.prompt_ids_PT)


def collate(
    prompts: Sequence[Sequence[int]],
    completions: Sequence[Sequence[int]],
    pad_id: int,
    device: str | torch.device,
    sizes: Sequence[int] | None = None,
) -> Completions:
    """Tensors on `device` of P prompts and B completions, trimmed to the longest of each.

    Every prompt has as many completions as `sizes` lists, or all have equally many.
    """
    each = len(completions) // max(len(prompts), 1)
    size_P = torch.tensor(sizes if sizes is not None else [each] * len(prompts), dtype=torch.long)
    owner = torch.arange(len(prompts)).repeat_interleave(size_P)
    prompt_ids, prompt_mask = pad(prompts, pad_id, "left")
    ids, mask = pad(completions, pad_id, "right")
    places = mask.flatten().nonzero().squeeze(1)  # found on the CPU: on CUDA it would wait for the device

    def on_device(tensor: Tensor) -> Tensor:
        return tensor.to(device, non_blocking=True)

    return Completions(
        on_device(prompt_ids),
        on_device(prompt_mask),
        on_device(ids),
        on_device(mask),
        on_device(owner),
        on_device(places),
        tuple(len(prompts[place]) for place in owner.tolist()),
        tuple(map(len, completions)),
    )
