"""Sums and exchange of values over the processes of one stage; a single process sends nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

import torch
from torch import Tensor
from torch import distributed as dist

T = TypeVar("T")


def world_size() -> int:
    """Number of processes that share the stage."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Number of this process, from 0."""
    return dist.get_rank() if world_size() > 1 else 0


def shard(items: Sequence[T]) -> list[T]:
    """Items of this process: every `world_size`-th, beginning at `rank`."""
    return list(items[rank() :: world_size()])


def all_reduce_sum(tensor: Tensor) -> Tensor:
    """Sum `tensor` over the processes in place and return it."""
    if world_size() > 1:
        dist.all_reduce(tensor)
    return tensor


def summed(values: Mapping[str, Tensor | float]) -> dict[str, Tensor]:
    """Sums of numbers and vectors over the processes, in one message; float64 on the CPU, in the given shapes."""
    tensors = {name: torch.as_tensor(value, dtype=torch.float64).cpu() for name, value in values.items()}
    flat = all_reduce_sum(torch.cat([tensor.flatten() for tensor in tensors.values()]))
    parts = flat.split([tensor.numel() for tensor in tensors.values()])
    return {name: part.view(tensors[name].shape) for name, part in zip(tensors, parts, strict=True)}


def all_reduce_gradients(parameters: Iterable[torch.nn.Parameter]) -> None:
    """Sum the gradients over the processes, in one message per dtype; a missing gradient counts as zero.

    Losses are divided by global counts before the backward pass, so the sum equals the gradient of a single process.
    """
    if world_size() == 1:
        return
    by_dtype: dict[torch.dtype, list[torch.nn.Parameter]] = {}
    for parameter in parameters:
        if parameter.grad is None:
            # Every process has to send tensors of equal sizes, in the same order.
            parameter.grad = torch.zeros_like(parameter)
        by_dtype.setdefault(parameter.grad.dtype, []).append(parameter)
    for group in by_dtype.values():
        gradients = [parameter.grad for parameter in group if parameter.grad is not None]
        flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
        dist.all_reduce(flat)
        sizes = [gradient.numel() for gradient in gradients]
        for gradient, part in zip(gradients, flat.split(sizes), strict=True):
            gradient.copy_(part.view_as(gradient))


def from_first(value: T) -> T:
    """The first process's `value`, in every process."""
    if world_size() == 1:
        return value
    box = [value]
    dist.broadcast_object_list(box, src=0, device=torch.device("cpu"))
    return box[0]


def gathered(value: T) -> list[T]:
    """Values of all processes, in rank order, in every process."""
    if world_size() == 1:
        return [value]
    everything: list[T] = [value] * world_size()
    dist.all_gather_object(everything, value)
    return everything
