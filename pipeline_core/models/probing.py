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
from operator import le
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from pipeline_core.models.doubling import in_float64

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
StatesFunction = Callable[..., Tensor]
"""Runs ids (B, T) and gives hidden states (B, T, H), or logits (B, T, V) of a model without a plain head."""

_known: WeakKeyDictionary[Any, dict[Hashable, Any]] = WeakKeyDictionary()


def remembered(model: PreTrainedModel, key: Hashable, find: Callable[[], Found]) -> Found:
    """What `find` said of the model when it was first asked for `key`."""
    known = _known.setdefault(model, {})
    if key not in known:
        known[key] = find()
    found: Found = known[key]
    return found


def right_at(model: PreTrainedModel, key: Hashable, size: tuple[int, ...], trial: Callable[[], bool]) -> bool:
    """What `trial` says of rows of this size, in one or several numbers.

    It is not asked again for sizes up to one that was right, nor for sizes from one on that was wrong.
    """
    known: tuple[list[tuple[int, ...]], list[tuple[int, ...]]] = remembered(model, (key, "sizes"), lambda: ([], []))
    right, wrong = known
    if any(all(map(le, size, one)) for one in right):
        return True
    if any(all(map(le, one, size)) for one in wrong):
        return False
    is_right = trial()
    (right if is_right else wrong).append(size)
    return is_right


def without_adapters(model: Any) -> Any:
    """The model under its adapters."""
    return model.get_base_model() if hasattr(model, "peft_config") else model


def backbone_and_head(model: PreTrainedModel) -> tuple[nn.Module, nn.Linear] | None:
    """The part that makes hidden states and the linear head; None where the model does more than one after the other.

    Asked once for every model, by one short row: no list of architectures knows all that scale or cap their logits.
    """
    return remembered(model, "backbone and head", lambda: _backbone_and_head(without_adapters(model)))


def _backbone_and_head(plain: Any) -> tuple[nn.Module, nn.Linear] | None:
    head, backbone = plain.get_output_embeddings(), getattr(plain, plain.base_model_prefix, None)
    if type(head) is not nn.Linear or backbone is None:  # an adapter or a quantised matrix is no plain head
        return None
    try:
        return (backbone, head) if _is_all(plain, backbone, head) else None
    except Exception:  # a backbone may take nothing but what its model hands it
        return None


def _is_all(plain: Any, backbone: Any, head: nn.Linear) -> bool:
    """Whether the logits are the head's very output, and its input what the backbone answers."""
    calls: list[tuple[Any, Any]] = []
    handle = head.register_forward_hook(lambda _, given, out: calls.append((given[0], out)))
    ids = torch.arange(4, device=plain.device)[None] % len(head.weight)
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
    """Those of the names that the model's forward pass has a parameter for."""
    return set(names) & set(inspect.signature(without_adapters(model).forward).parameters)


def uncached(model: Any) -> dict[str, bool]:
    """What switches the cache of a forward pass off."""
    return dict.fromkeys(accepted(model, "use_cache"), False)


def states_of(model: PreTrainedModel) -> StatesFunction:
    """The model's hidden states, where a plain head makes logits of them, or else its logits."""
    if parts := backbone_and_head(model):
        backbone = parts[0]
        return lambda **given: backbone(**{"use_cache": False} | given).last_hidden_state
    return lambda **given: model(**uncached(model) | given).logits


def logits_from(model: PreTrainedModel, states: Tensor) -> Tensor:
    """Logits (..., V) of what `states_of` gives (..., H), or that itself where it is logits."""
    parts = backbone_and_head(model)
    return nn.functional.linear(states, parts[1].weight, parts[1].bias) if parts else states


def vocabulary_of(model: Any) -> int:
    """Tokens that the model tells apart."""
    head = without_adapters(model).get_output_embeddings()
    return int(model.config.get_text_config().vocab_size if head is None else head.weight.shape[0])


def random_ids(model: PreTrainedModel, length: int) -> list[int]:
    """Ordinary token ids, the same at every call; ids that the configuration names, as of images, are left out."""
    special = _named_ids(model.config) | _named_ids(model.config.get_text_config())
    ordinary = [token for token in range(min(vocabulary_of(model), 1000)) if token not in special] or [0]
    return random.Random(0).choices(ordinary, k=length)


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
    return logits_from(model, states_of(model)(**given)[0, list(places)])
