"""Small forward passes that show what a model can do, and the pass they are compared with: a sequence by itself.

No list of architectures and no name in a configuration tells which models read a mask, a position or a cache as others
do. Each way of running a model is tried once with random tokens, and used where it gives what the sequence gives alone:
no padding, no neighbours, no cache. Trials are in float64: rounding to float32 moves the log-probabilities of a deep
model by 1e-5 and more, which is as much as a wrong mask or state may do in a model with small weights.
"""

from __future__ import annotations

import inspect
import random
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from pipeline_core.models.doubling import in_float64
from pipeline_core.models.heads import backbone_and_head

if TYPE_CHECKING:
    from transformers import PreTrainedModel

TOLERANCE = 1e-6
"""Nats by which log-probabilities of a token may differ in float64: models keep tables that were made in float32."""
DOUBLE_TOLERANCE = 1e-10
"""The same for a model whose weights are float64."""
SINGLE_TOLERANCE = 1e-4
"""The same in float32, where the model does not run in float64, as some kernels do not."""
HALF_TOLERANCE = 0.1
"""The same where there is no memory for float32 either."""
Found = TypeVar("Found")

_known: WeakKeyDictionary[Any, dict[Hashable, Any]] = WeakKeyDictionary()


def remembered(model: PreTrainedModel, key: Hashable, find: Callable[[], Found]) -> Found:
    """What `find` said of the model when it was first asked for `key`."""
    known = _known.setdefault(model, {})
    if key not in known:
        known[key] = find()
    found: Found = known[key]
    return found


def plain(model: Any) -> Any:
    """The model under its adapters."""
    return model.get_base_model() if hasattr(model, "peft_config") else model


def accepted(model: Any, *names: str) -> set[str]:
    """Those of the names that the model's forward pass has a parameter for."""
    return set(names) & set(inspect.signature(plain(model).forward).parameters)


def uncached(model: Any) -> dict[str, bool]:
    """What switches the cache of a forward pass off."""
    return dict.fromkeys(accepted(model, "use_cache"), False)


def vocabulary_of(model: Any) -> int:
    """Tokens that the model tells apart."""
    head = plain(model).get_output_embeddings()
    return int(model.config.get_text_config().vocab_size if head is None else head.weight.shape[0])


def random_ids(model: PreTrainedModel, length: int, seed: int = 0) -> list[int]:
    """Ordinary token ids, the same for a seed; ids that the configuration names, as of images, are left out."""
    special = _named_ids(model.config) | _named_ids(model.config.get_text_config())
    ordinary = [token for token in range(min(vocabulary_of(model), 1000)) if token not in special] or [0]
    return random.Random(seed).choices(ordinary, k=length)


def _named_ids(config: Any) -> set[int]:
    values = [value for name, value in vars(config).items() if name.endswith(("token_id", "token_index"))]
    return {one for value in values for one in (value if isinstance(value, list) else [value]) if isinstance(one, int)}


@contextmanager
def in_float32(model: Any) -> Iterator[float]:
    """The model's weights in float32 (or float64) while probing, without autocast; gives the tolerance it allows.

    Weights in half precision come back as they were. Where there is no memory for float32 they stay as they are.
    """
    halves = {torch.bfloat16, torch.float16}
    kept = [(tensor, tensor.data) for tensor in (*model.parameters(), *model.buffers()) if tensor.dtype in halves]
    tolerance = SINGLE_TOLERANCE
    try:
        with torch.no_grad():
            for tensor, data in kept:
                tensor.data = data.float()
    except torch.OutOfMemoryError:
        tolerance = HALF_TOLERANCE
        _put_back(kept)
    try:
        with torch.autocast(model.device.type, enabled=False):
            yield tolerance
    finally:
        _put_back(kept)


def _put_back(kept: Sequence[tuple[Tensor, Tensor]]) -> None:
    for tensor, data in kept:
        tensor.data = data


def matches(model: PreTrainedModel, way: Callable[[], Tensor], wanted: Callable[[], Tensor]) -> bool:
    """Whether a way of running the model gives the log-probabilities wanted, but for rounding."""
    precise = _in_float64(model, way, wanted)
    if precise is not None:
        return agree(*precise, DOUBLE_TOLERANCE if model.dtype is torch.float64 else TOLERANCE)
    with in_float32(model) as tolerance:
        return agree(way(), wanted(), tolerance)


def _in_float64(
    model: PreTrainedModel, way: Callable[[], Tensor], wanted: Callable[[], Tensor]
) -> tuple[Tensor, Tensor] | None:
    """Both results; None for a model that does not run in float64."""
    try:
        with torch.autocast(model.device.type, enabled=False), in_float64(model) as passes:
            found = way(), wanted()
    except Exception:  # an architecture's code or a kernel may raise anything
        return None
    return found if passes.complete else None


def runs_like(model: PreTrainedModel, way: Callable[[], Tensor], wanted: Callable[[], Tensor]) -> bool:
    """`matches`, and False for a way that the model's code refuses, whatever error it raises."""
    try:
        return matches(model, way, wanted)
    except torch.OutOfMemoryError:
        raise
    except Exception:  # an architecture's code may raise anything where it meets what it does not know
        return False


def agree(found: Tensor, wanted: Tensor, tolerance: float) -> bool:
    """Whether two sets of log-probabilities are the same but for rounding."""
    if found.shape != wanted.shape:
        return False
    return torch.allclose(found.double(), wanted.double().to(found.device), atol=tolerance, rtol=0, equal_nan=True)


@torch.no_grad()
def logps_alone(model: PreTrainedModel, ids: Sequence[int], first: int = 1, last: int | None = None) -> Tensor:
    """Log-probabilities in float64 of `ids[first:last]`, each after all before it: one sequence and nothing else.

    The last of all `ids` is only asked for and does not go through the model.
    """
    last = len(ids) if last is None else last
    given = torch.tensor([ids[:-1]], device=model.device)
    logits_TV = logits_at(model, {"input_ids": given}, list(range(first - 1, last - 1)))
    target_T = torch.tensor(ids[first:last], device=model.device)
    return logits_TV.double().log_softmax(-1).gather(-1, target_T[:, None])[:, 0]


def logits_at(model: PreTrainedModel, given: dict[str, Tensor], places: Sequence[int]) -> Tensor:
    """Logits (places, V) of the first row."""
    parts = backbone_and_head(model)
    if parts is None:
        logits: Tensor = model(**given, **uncached(model)).logits[0, list(places)]
        return logits
    backbone, head = parts
    hidden = backbone(**given, use_cache=False).last_hidden_state[0, list(places)]
    return torch.nn.functional.linear(hidden, head.weight, head.bias)
