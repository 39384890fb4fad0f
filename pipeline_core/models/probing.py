"""Small forward passes that test what a model supports, and their reference: a sequence that runs alone.

No list of architectures and no configuration tells how a model reads a mask, a position or a cache. Each way of running
a model is tried once with random tokens, and used if it gives the results of the sequence alone: no padding, no
neighbours, no cache. Trials are in float64: rounding to float32 moves the log-probabilities of a deep model by 1e-5 and
more, which is as much as a wrong mask or state may do in a model with small weights.
"""

from __future__ import annotations

import inspect
import random
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from operator import le
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from pipeline_core.models.doubling import in_float64

if TYPE_CHECKING:
    from transformers import PreTrainedModel

TOLERANCE = 1e-6
"""Tolerance in nats for a token's log-probability in float64: models keep tables that were computed in float32."""
DOUBLE_TOLERANCE = 1e-10
"""Tolerance in nats for a model with float64 weights."""
SINGLE_TOLERANCE = 1e-4
"""Tolerance in nats in float32, for models that do not run in float64 (some kernels do not)."""
HALF_TOLERANCE = 0.1
"""Tolerance in nats if memory is too small for float32 as well."""
Found = TypeVar("Found")
StatesFunction = Callable[..., Tensor]
"""Function from ids (B, T) to hidden states (B, T, H), or to logits (B, T, V) for a model without a plain head."""

# Weak: results must not keep a model's memory.
_known: WeakKeyDictionary[Any, dict[Hashable, Any]] = WeakKeyDictionary()


def remembered(model: PreTrainedModel, key: Hashable, find: Callable[[], Found]) -> Found:
    """Result of `find`, computed once for each model and `key`."""
    known = _known.setdefault(model, {})
    if key not in known:
        known[key] = find()
    result: Found = known[key]
    return result


def right_at(model: PreTrainedModel, key: Hashable, size: tuple[int, ...], trial: Callable[[], bool]) -> bool:
    """Result of `trial` for rows of this size, which is one or several numbers.

    Results are reused: True for sizes up to a passed size, False for sizes from a failed size on.
    """
    known: tuple[list[tuple[int, ...]], list[tuple[int, ...]]] = remembered(model, (key, "sizes"), lambda: ([], []))
    right, wrong = known
    if any(all(map(le, size, passed)) for passed in right):
        return True
    if any(all(map(le, failed, size)) for failed in wrong):
        return False
    is_right = trial()
    (right if is_right else wrong).append(size)
    return is_right


def without_adapters(model: Any) -> Any:
    """Base model under the adapters, or the model itself if it has none."""
    return model.get_base_model() if hasattr(model, "peft_config") else model


def backbone_and_head(model: PreTrainedModel) -> tuple[nn.Module, nn.Linear] | None:
    """Backbone that makes hidden states, and linear head; None if the model does more than run one after the other.

    Tested once for each model, with one short row: no list of architectures covers all models that scale or cap logits.
    """
    return remembered(model, "backbone and head", lambda: _backbone_and_head(without_adapters(model)))


def _backbone_and_head(plain: Any) -> tuple[nn.Module, nn.Linear] | None:
    head, backbone = plain.get_output_embeddings(), getattr(plain, plain.base_model_prefix, None)
    if type(head) is not nn.Linear or backbone is None:  # an adapter or a quantised matrix is no plain head
        return None
    try:
        return (backbone, head) if _is_all(plain, backbone, head) else None
    except Exception:  # a backbone may need arguments that only its model gives
        return None


def _is_all(plain: Any, backbone: Any, head: nn.Linear) -> bool:
    """True if the logits are the head's output, and the head's input is the backbone's output."""
    calls: list[tuple[Any, Any]] = []
    handle = head.register_forward_hook(lambda _, given, out: calls.append((given[0], out)))
    ids = torch.arange(4, device=plain.device)[None] % len(head.weight)  # a head may have fewer rows than four
    try:
        with torch.no_grad(), torch.autocast(plain.device.type, enabled=False):
            logits = plain(input_ids=ids, use_cache=False).logits
            hidden = getattr(backbone(input_ids=ids, use_cache=False), "last_hidden_state", None)
    finally:
        handle.remove()
    if len(calls) != 1 or hidden is None:
        return False
    ((given, out),) = calls
    same = given.shape == hidden.shape and torch.allclose(given.to(hidden), hidden, rtol=1e-2)
    return same and torch.equal(logits.float(), out.float())


def accepted(model: Any, *names: str) -> set[str]:
    """Names that are parameters of the model's forward pass."""
    return set(names) & set(inspect.signature(without_adapters(model).forward).parameters)


def uncached(model: Any) -> dict[str, bool]:
    """Arguments that switch the cache of a forward pass off."""
    return dict.fromkeys(accepted(model, "use_cache"), False)


def states_of(model: PreTrainedModel) -> StatesFunction:
    """Function for the model's hidden states if a plain head makes the logits, else for its logits."""
    if parts := backbone_and_head(model):
        backbone = parts[0]
        return lambda **given: backbone(**{"use_cache": False} | given).last_hidden_state
    return lambda **given: model(**uncached(model) | given).logits


def logits_from(model: PreTrainedModel, states: Tensor) -> Tensor:
    """Logits (..., V) from the output of `states_of`: hidden states (..., H), or logits, which stay as they are."""
    parts = backbone_and_head(model)
    return nn.functional.linear(states, parts[1].weight, parts[1].bias) if parts else states


def vocabulary_of(model: Any) -> int:
    """Number of tokens that the model has logits for."""
    head = without_adapters(model).get_output_embeddings()
    return int(model.config.get_text_config().vocab_size if head is None else head.weight.shape[0])


def random_ids(model: PreTrainedModel, length: int) -> list[int]:
    """Pseudo-random token ids, equal at every call, without ids that the configuration names (as of images)."""
    special = _named_ids(model.config) | _named_ids(model.config.get_text_config())
    ordinary = [token for token in range(min(vocabulary_of(model), 1000)) if token not in special] or [0]
    return random.Random(0).choices(ordinary, k=length)  # leaves torch's generators as they are


def _named_ids(config: Any) -> set[int]:
    values = [value for name, value in vars(config).items() if name.endswith(("token_id", "token_index"))]
    return {id_ for value in values for id_ in (value if isinstance(value, list) else [value]) if isinstance(id_, int)}


@contextmanager
def in_float32(model: Any) -> Iterator[float]:
    """Convert half-precision weights to float32 while probing, without autocast; yields the tolerance.

    Weights in half precision are restored afterwards. If memory is too small for float32, they are not converted.
    """
    halves = {torch.bfloat16, torch.float16}
    kept = [(tensor, tensor.data) for tensor in (*model.parameters(), *model.buffers()) if tensor.dtype in halves]
    tolerance = SINGLE_TOLERANCE
    try:
        with torch.no_grad():
            for tensor, data in kept:
                tensor.data = data.float()  # parameters stay the same objects for optimisers and ties
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
    """True if a way of running the model gives the log-probabilities of `wanted`, up to rounding."""
    precise = _in_float64(model, way, wanted)
    if precise is not None:
        return agree(*precise, DOUBLE_TOLERANCE if model.dtype is torch.float64 else TOLERANCE)
    with in_float32(model) as tolerance:
        return agree(way(), wanted(), tolerance)


def _in_float64(
    model: PreTrainedModel, way: Callable[[], Tensor], wanted: Callable[[], Tensor]
) -> tuple[Tensor, Tensor] | None:
    """Results of both in float64; None for a model that does not run in float64."""
    try:
        with torch.autocast(model.device.type, enabled=False), in_float64(model) as passes:
            results = way(), wanted()
    except Exception:  # an architecture's code or a kernel may raise anything
        return None
    return results if passes.complete else None


def runs_like(model: PreTrainedModel, way: Callable[[], Tensor], wanted: Callable[[], Tensor]) -> bool:
    """Result of `matches`; False if the model's code raises any error but lack of memory."""
    try:
        return matches(model, way, wanted)
    except torch.OutOfMemoryError:
        raise
    except Exception:  # an architecture's code may raise anything for unsupported inputs
        return False


def agree(found: Tensor, wanted: Tensor, tolerance: float) -> bool:
    """True if two sets of log-probabilities differ by at most `tolerance` nats."""
    if found.shape != wanted.shape:
        return False
    return torch.allclose(found.double(), wanted.double().to(found.device), atol=tolerance, rtol=0, equal_nan=True)


@torch.no_grad()
def logps_alone(model: PreTrainedModel, ids: Sequence[int], first: int = 1, last: int | None = None) -> Tensor:
    """Log-probabilities in float64 of `ids[first:last]`, each after all ids before it; the sequence runs alone.

    The last of all `ids` is only predicted and does not run through the model.
    """
    last = len(ids) if last is None else last
    given = torch.tensor([ids[:-1]], device=model.device)
    logits_TV = logits_at(model, {"input_ids": given}, list(range(first - 1, last - 1)))
    target_T = torch.tensor(ids[first:last], device=model.device)
    return logits_TV.double().log_softmax(-1).gather(-1, target_T[:, None])[:, 0]


def logits_at(model: PreTrainedModel, given: dict[str, Tensor], places: Sequence[int]) -> Tensor:
    """Logits (places, V) of the first row at `places`."""
    return logits_from(model, states_of(model)(**given)[0, list(places)])
