"""Forward passes in float64 without changing the model: each weight is converted where it is used.

A float64 copy of a large model may not fit into memory. At most `KEPT` bytes of converted weights are kept for the next
pass.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

NARROW = frozenset({torch.float16, torch.bfloat16, torch.float32})
KEPT = 2_000_000_000  # a quarter of a billion weights
CASTS = frozenset({torch.Tensor.float, torch.Tensor.half, torch.Tensor.bfloat16})


class DoublePrecisionMode(TorchFunctionMode):
    """Mode in which new tensors and casts are float64, and one float64 argument makes all arguments float64.

    `complete`: every linear layer so far has run in float64.
    """

    def __init__(self) -> None:
        super().__init__()
        self.complete = True
        self._kept: dict[int, Tensor] = {}
        self._room = KEPT

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run one function with converted arguments."""
        # Models cast states to the dtype of an input or a weight: told float64, they stay in it.
        if func is torch.Tensor.dtype.__get__:  # type: ignore[attr-defined]
            return _wide(func(*args))
        if func in CASTS:
            func = torch.Tensor.double
        args, kwargs = _each(_wide, args), _each(_wide, kwargs or {})
        if any(value.dtype is torch.float64 for value in _tensors((args, kwargs))):
            kept = 1 if _writes(func) else 0  # what is written to must stay the caller's tensor
            args = (*args[:kept], *_each(self._doubled, args[kept:]))
            kwargs = {name: value if name == "out" else _each(self._doubled, value) for name, value in kwargs.items()}
        elif func is torch.nn.functional.linear:
            self.complete = False
        result = func(*args, **kwargs)
        # Ids are integers, so no argument is float64; rows that were looked up are fewer than the table's.
        return self._doubled(result) if func is torch.nn.functional.embedding else result

    def _doubled(self, value: Any) -> Any:
        if not _is(value, *NARROW):
            return value
        if (kept := self._kept.get(id(value))) is not None:
            return kept
        made = value.double()
        # Only parameters: the model holds them, so that no other tensor gets their id.
        if isinstance(value, torch.nn.Parameter) and made.nbytes <= self._room:
            self._kept[id(value)] = made
            self._room -= made.nbytes
        return made


@contextmanager
def in_float64(model: Any) -> Iterator[DoublePrecisionMode]:
    """Run the model's passes in float64, even where its code casts to float32.

    Experts run one by one, because the kernel for all of them has no float64. Tables that a pass computes and keeps are
    converted to float32 afterwards.
    """
    plain = model.get_base_model() if hasattr(model, "peft_config") else model
    default, known = torch.get_default_dtype(), {(id(store), name) for store, name in _double_tables(plain)}
    try:
        torch.set_default_dtype(torch.float64)
        with _experts_one_by_one(plain), DoublePrecisionMode() as mode:
            yield mode
    finally:
        torch.set_default_dtype(default)
        for store, name in list(_double_tables(plain)):
            if (id(store), name) not in known:
                store[name] = store[name].float()


@contextmanager
def _experts_one_by_one(plain: Any) -> Iterator[None]:
    if not getattr(plain, "_can_set_experts_implementation", bool)():  # `bool()` is False, where the method is missing
        yield
        return
    before = plain.get_experts_implementation()
    try:
        plain.set_experts_implementation("eager")
        yield
    finally:
        plain.set_experts_implementation(before)


def _double_tables(plain: Any) -> Iterator[tuple[dict[str, Any], str]]:
    """Float64 tensors of modules besides parameters: the dictionary that stores each, and its name."""
    for module in plain.modules():
        for store in (module._buffers, vars(module)):
            yield from ((store, name) for name, value in store.items() if _is(value, torch.float64))


def _is(value: Any, *kinds: torch.dtype) -> bool:
    return isinstance(value, Tensor) and value.dtype in kinds


def _wide(value: Any) -> Any:
    """float64 for a narrower floating type; any other value unchanged."""
    return torch.float64 if isinstance(value, torch.dtype) and value in NARROW else value


def _each(change: Any, value: Any) -> Any:
    """Apply `change` to the value, or to every value in plain tuples, lists and dictionaries."""
    if type(value) in (tuple, list):
        return type(value)(_each(change, item) for item in value)
    return {name: _each(change, item) for name, item in value.items()} if type(value) is dict else change(value)


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif type(value) in (tuple, list, dict):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _tensors(item)


def _writes(func: Any) -> bool:
    """True if a function writes into its first argument."""
    name = getattr(func, "__name__", "")
    return name in ("__setitem__", "__set__") or (name.endswith("_") and not name.endswith("__"))
