"""Whether a model answers rows of trees as it answers their paths, and how much sharing a beginning is worth to it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import torch

from pipeline_core.loops.prefix_rows import Item, rows_of, tensors_of
from pipeline_core.modeling import positions_of

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

PAIRS_PER_HIDDEN = 3.0
"""Products of a query and a key that take as long as running one token, by hidden unit. The weights of a layer count
six (12 H^2 against 2 H); attention reaches half of a matrix product's speed."""
AGREES = 0.1
"""Share of the change that other positions and neighbours would make, below which two answers are the same."""

_taken: WeakKeyDictionary[PreTrainedModel, bool] = WeakKeyDictionary()


def pairs_per_token(model: PreTrainedModel, longest: int) -> float:
    """`rows_of`'s exchange rate; 0 where the model takes no trees, or where one of `longest` tokens is cut by a window.

    Asked once for every model, by a short row: no list of architectures knows all that read masks or positions their
    own way. What attends to a window of tokens alone does so in its layers, where a row's tree would cut it elsewhere.
    """
    if longest > _window(model):
        return 0.0
    if model not in _taken:
        _taken[model] = _takes_trees(model)
    return PAIRS_PER_HIDDEN * _config(model).hidden_size if _taken[model] else 0.0


def row_limit(model: PreTrainedModel, tokens: int) -> int:
    """Tokens of the longest tree: `tokens`, or fewer where the model has fewer positions or a narrower window."""
    return int(min(tokens, positions_of(model), _window(model)))


def _config(model: PreTrainedModel) -> Any:
    return model.config.get_text_config()


def _window(model: PreTrainedModel) -> float:
    names = ("sliding_window", "attention_chunk_size")
    return min([getattr(_config(model), name, None) or math.inf for name in names])


def _takes_trees(model: PreTrainedModel) -> bool:
    """Whether a tree gives the logits of its paths, and not those of its tokens one after the other."""
    if not hasattr(_config(model), "hidden_size"):
        return False
    a, b, c, d, e, f = (index % model.get_output_embeddings().weight.shape[0] for index in range(5, 11))
    items = [Item(0, (a, b), (c, d, e)), Item(1, (a, b), (e, f, c))]
    (tree,) = rows_of(items, 64, math.inf)
    apart = list(rows_of(items, 64, 0))
    try:
        found, flat = _last_logits(model, tree), _last_logits(model, tree, as_chain=True)
        wanted = torch.stack([_last_logits(model, row)[0] for row in apart])
    except (RuntimeError, ValueError, TypeError, IndexError):
        return False
    return bool((found - wanted).abs().max() <= AGREES * (flat - wanted).abs().max())


def _last_logits(model: PreTrainedModel, row: Any, as_chain: bool = False) -> Tensor:
    """Logits (items, V) at the last place of every item of a row."""
    given = tensors_of([row], 0, model.dtype)
    given = {name: given[name].to(model.device) for name in (["input_ids"] if as_chain else given)}
    logits_TV = model(**given, use_cache=False).logits[0]
    return logits_TV[[places[-1] for _, places in row.items]].float()
