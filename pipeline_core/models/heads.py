"""The backbone and the linear head of a model, where it is one after the other and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel


def backbone_and_head(model: PreTrainedModel) -> tuple[nn.Module, nn.Linear] | None:
    """The part that makes hidden states and the linear head; None where the model does more than one after the other.

    Asked once for every model, by one short row: no list of architectures knows all that scale or cap their logits.
    """
    if model not in _parts:
        _parts[model] = _find_parts(model)
    return _parts[model]


_parts: WeakKeyDictionary[PreTrainedModel, tuple[nn.Module, nn.Linear] | None] = WeakKeyDictionary()


def _find_parts(model: Any) -> tuple[nn.Module, nn.Linear] | None:
    from torch import nn

    plain = model.get_base_model() if hasattr(model, "peft_config") else model
    head, backbone = plain.get_output_embeddings(), getattr(plain, plain.base_model_prefix, None)
    if type(head) is not nn.Linear or backbone is None:  # an adapter or a quantised matrix is no plain head
        return None
    return (backbone, head) if _is_all(plain, backbone, head) else None


def _is_all(plain: Any, backbone: Any, head: nn.Linear) -> bool:
    """Whether the logits are the head's very output, and its input what the backbone answers."""
    try:
        return _gives_all(plain, backbone, head)
    except Exception:  # a backbone may take nothing but what its model hands it
        return False


def _gives_all(plain: Any, backbone: Any, head: nn.Linear) -> bool:
    import torch

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
