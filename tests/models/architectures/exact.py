"""The plain pass that everything is compared with, and arithmetic in which nothing is rounded to float32."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

LIMIT = 2e-5
"""Nats by which a token may differ in float32."""


def token_logps(model: Any, prompt: Sequence[int], completion: Sequence[int]) -> Tensor:
    """Log-probability of every token of a completion: one sequence, no padding, no mask, no cache."""
    ids = torch.tensor([[*prompt, *completion]])
    logits = model(input_ids=ids[:, :-1], use_cache=False).logits[0, len(prompt) - 1 :]
    return logits.double().log_softmax(-1).gather(-1, ids[0, len(prompt) :, None])[:, 0]


def distance(found: Tensor, plain: Callable[[Any], Tensor], model: Any) -> float:
    """How far the numbers `found` of a model are from those of `plain(model)`, at most.

    A plain pass in float32 rounds, too, and with large weights by more than `LIMIT`. So numbers that are farther from
    it than that are compared with a pass in float64 as well, and the nearer one counts.
    """
    with torch.no_grad():
        off = (found - plain(model)).abs()
        if off.max() > LIMIT and next(model.parameters()).dtype is torch.float32:
            with in_double():
                off = torch.minimum(off, (found - plain(doubled(copy.deepcopy(model)))).abs())
    return off.max().item()


class _InDouble(TorchFunctionMode):
    """Casts to float32 inside a model become casts to float64."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.Tensor.float:
            func = torch.Tensor.double
        if any(value is torch.float32 for value in args):
            args = tuple(map(_double, args))
        if kwargs and kwargs.get("dtype") is torch.float32:
            kwargs["dtype"] = torch.float64
        return func(*args, **(kwargs or {}))


def _double(value: Any) -> Any:
    return torch.float64 if value is torch.float32 else value


@contextmanager
def in_double():
    """Everything in float64, also what a model computes in float32 whatever its weights are."""
    kept = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with _InDouble():
            yield
    finally:
        torch.set_default_dtype(kept)


def doubled(model: Any) -> Any:
    """The model in float64; experts are run one by one, for the kernel of all at once takes no float64."""
    if hasattr(model, "set_experts_implementation"):
        model.set_experts_implementation("eager")
    return model.double()
