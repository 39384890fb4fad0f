"""Tests whether a model supports tree attention (several continuations of one prefix in one row), and when sharing the
prefix is faster.

Models that keep a state, count positions from a mask or attend to a window by the place in a row do not support it,
some of them only in long rows. A short tree is tried once. The longest rows of a call are tried before any row is run.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pipeline_core.models.likelihood.prefix_rows import Item, Row, rows_of, tensors_of
from pipeline_core.models.positions import positions_of
from pipeline_core.models.probing import logits_at, random_ids, remembered, runs_like

if TYPE_CHECKING:
    from transformers import PreTrainedModel

PAIRS_PER_HIDDEN = 3.0
"""Products of a query and a key that take as long as running one token, by hidden unit. The weights of a layer count
six (12 H^2 against 2 H); attention reaches half of a matrix product's speed."""
LEAST = 32
"""Tokens of the shortest limit at which trees are still worth trying."""


def tree_rows(model: PreTrainedModel, items: Sequence[Item], tokens: int) -> list[Row]:
    """Rows of at most `tokens` tokens (or of one item) that share what items begin with, where the model allows it.

    Where the longest rows fail their trial they are made shorter, down to the longest item.
    """
    limit = int(min(tokens, positions_of(model)))
    rate, longest = pairs_per_token(model), max((len(item.run) for item in items), default=0)
    while rate and limit >= max(longest, LEAST):
        rows = list(rows_of(items, limit, rate))
        if _holds(model, rows):
            return rows
        limit //= 2
    return list(rows_of(items, int(min(tokens, positions_of(model))), 0))


def pairs_per_token(model: PreTrainedModel) -> float:
    """`rows_of`'s exchange rate; 0 where the model takes no trees."""
    hidden = getattr(model.config.get_text_config(), "hidden_size", 0)
    return PAIRS_PER_HIDDEN * hidden if remembered(model, "trees", lambda: _takes_trees(model)) else 0.0


def _takes_trees(model: PreTrainedModel) -> bool:
    a, b, c, d, e, f = random_ids(model, 6)
    items = [Item(0, (a, b), (c, d, e)), Item(1, (a, b), (e, f, c))]
    (row,) = rows_of(items, 64, float("inf"))
    return _is_answered(model, row)


def _holds(model: PreTrainedModel, rows: Sequence[Row]) -> bool:
    """Tests the longest branched row and the row of the longest text; where both are right, shorter rows are too."""
    if not (branched := [row for row in rows if row.branched]):
        return True
    known = remembered(model, "trees held", lambda: dict[str, list[tuple[int, int]]](right=[], wrong=[]))
    for row in (max(branched, key=len), max(rows, key=lambda row: max(row.depths))):
        size = (len(row), max(row.depths))
        if any(size[0] <= right[0] and size[1] <= right[1] for right in known["right"]):
            continue
        if any(size[0] >= wrong[0] and size[1] >= wrong[1] for wrong in known["wrong"]):
            return False
        found = _is_answered(model, row)
        known["right" if found else "wrong"].append(size)
        if not found:
            return False
    return True


def _is_answered(model: PreTrainedModel, row: Row) -> bool:
    """Compares the log-probabilities after a row's last and its deepest token with those after their paths alone."""
    made = Row(random_ids(model, len(row)), row.depths, row.ends, branched=True)
    places = [len(row) - 1, max(range(len(row)), key=row.depths.__getitem__)]

    @torch.inference_mode()
    def found() -> Tensor:
        given = {name: tensor.to(model.device) for name, tensor in tensors_of([made], 0, model.dtype).items()}
        return logits_at(model, given, places).double().log_softmax(-1)

    @torch.inference_mode()
    def wanted() -> Tensor:
        paths = [[made.ids[other] for other in range(place + 1) if place < made.ends[other]] for place in places]
        ids = [torch.tensor([path], device=model.device) for path in paths]
        alone = [logits_at(model, {"input_ids": path}, [path.shape[1] - 1]) for path in ids]
        return torch.cat(alone).double().log_softmax(-1)

    return runs_like(model, found, wanted)
