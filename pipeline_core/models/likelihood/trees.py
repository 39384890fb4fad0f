"""Token sequences with common prefixes as rows of trees: a shared prefix runs through the model once.

A row holds the tokens of a tree in depth-first order. A token attends only to tokens on its own path, and its position
is its depth, so that the model answers as for every path alone.

Models that keep a state, count positions from a mask, or attend to a window of places in a row do not support trees,
some of them only in long rows. A short tree is tried once. The longest rows of a call are tried before any row is run.
Shape suffixes: B rows, T tokens.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pipeline_core.models.lengths import positions_of
from pipeline_core.models.probing import logits_at, random_ids, remembered, right_at, runs_like
from pipeline_core.models.tokens.prompts import pad

if TYPE_CHECKING:
    from transformers import PreTrainedModel

PAIRS_PER_HIDDEN = 3.0
"""Query-key products that take as long as running one token, per hidden unit. By operations it is six (12 H^2 against 2
H in a layer); attention reaches half of a matrix product's speed."""
LEAST = 32
"""Shortest row limit in tokens at which trees are still tried."""


@dataclass(frozen=True)
class TokenPair:
    """A completion to score after a prompt; both have at least one token."""

    index: int
    prompt: tuple[int, ...]
    completion: tuple[int, ...]

    @property
    def run(self) -> tuple[int, ...]:
        """Tokens that run through the model: all but the last token, which is only predicted."""
        return self.prompt + self.completion[:-1]


@dataclass
class TreeRow:
    """Tree of tokens: ids, depths, `ends` (place after each token's last descendant), and items with their places."""

    ids: list[int] = field(default_factory=list)
    depths: list[int] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    items: list[tuple[TokenPair, list[int]]] = field(default_factory=list)
    """Items, each with the places that predict its completion's tokens."""
    path: list[int] = field(default_factory=list)
    """Places of the tokens of the item added last."""
    branched: bool = False

    def __len__(self) -> int:
        return len(self.ids)

    def add(self, item: TokenPair, run: tuple[int, ...], shared: int) -> None:
        """Add an item whose first `shared` tokens are those of the item added last."""
        self.branched |= shared < len(self.path) and shared < len(run)
        self.close(shared)
        for depth in range(shared, len(run)):
            self.path.append(len(self.ids))
            self.ids.append(run[depth])
            self.depths.append(depth)
            self.ends.append(0)
        self.items.append((item, self.path[len(item.prompt) - 1 : len(run)]))

    def close(self, depth: int = 0) -> TreeRow:
        """End the last item's tokens from this depth on, so that no descendant follows; returns the row."""
        for place in self.path[depth:]:
            self.ends[place] = len(self.ids)
        del self.path[depth:]
        return self


def pack_rows(items: Iterable[TokenPair], limit: int, pairs_per_token: float) -> Iterator[TreeRow]:
    """Rows of at most `limit` tokens (or of one item); neighbours in the order of their prompts share tokens.

    An item joins the current row if the prefix tokens saved cost more than the longer attention: running a token costs
    as much as `pairs_per_token` products of a query and a key. With 0 every item has a row of its own.
    """
    row = TreeRow()
    last: tuple[int, ...] = ()
    for item in sorted(items, key=lambda item: (item.prompt, item.completion, item.index)):
        run = item.run
        shared = _common(last, run) if pairs_per_token else 0
        if len(row) and not _joins(len(row), len(run), shared, limit, pairs_per_token):
            yield row.close()
            row, shared = TreeRow(), 0
        row.add(item, run, shared)
        last = run
    if len(row):
        yield row.close()


def _joins(held: int, length: int, shared: int, limit: int, pairs_per_token: float) -> bool:
    # Attention costs the square of a row: what the joint row costs beyond two rows is weighed against what it saves.
    longer = held + length - shared
    return longer <= limit and shared * pairs_per_token >= longer**2 - held**2 - length**2 and shared > 0


def _common(first: Sequence[int], second: Sequence[int]) -> int:
    """Length of the common prefix."""
    differing = (place for place, (left, right) in enumerate(zip(first, second, strict=False)) if left != right)
    return next(differing, min(len(first), len(second)))


def batch_rows(rows: Iterable[TreeRow], tokens: int) -> Iterator[list[TreeRow]]:
    """Batches of rows of similar length with at most `tokens` tokens, padding included; a longer row comes alone."""
    batch: list[TreeRow] = []
    for row in sorted(rows, key=lambda row: (len(row), row.items[0][0].index)):
        if batch and (len(batch) + 1) * len(row) > tokens:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


def tensors_of(batch: Sequence[TreeRow], pad_id: int, dtype: torch.dtype) -> dict[str, Tensor]:
    """Model inputs for the rows: `input_ids` and, if a row branches, `position_ids` and a mask (B, 1, T, T).

    Rows are padded on the right, where causal attention never looks: without branches no mask is needed.
    """
    ids_BT, _ = pad([row.ids for row in batch], pad_id)
    if not any(row.branched for row in batch):
        return {"input_ids": ids_BT}
    depths_BT, _ = pad([row.depths for row in batch], 0)
    ends_BT, filled_BT = pad([row.ends for row in batch], 0)
    place_T = torch.arange(ids_BT.shape[1])
    ends_BT = torch.where(filled_BT, ends_BT, place_T + 1)
    seen_BTT = (place_T[:, None] >= place_T) & (place_T[:, None] < ends_BT[:, None, :])
    mask_B1TT = torch.zeros(seen_BTT.shape, dtype=dtype).masked_fill_(~seen_BTT, torch.finfo(dtype).min)[:, None]
    return {"input_ids": ids_BT, "position_ids": depths_BT, "attention_mask": mask_B1TT}


def tree_rows(model: PreTrainedModel, items: Sequence[TokenPair], tokens: int) -> list[TreeRow]:
    """Rows of at most `tokens` tokens (or of one item) that share common prefixes if the model allows it.

    If the longest rows fail their trial, the limit is halved, down to the longest item.
    """
    limit = int(min(tokens, positions_of(model)))
    rate, longest = pairs_per_token(model), max((len(item.run) for item in items), default=0)
    while rate and limit >= max(longest, LEAST):
        rows = list(pack_rows(items, limit, rate))
        if _holds(model, rows):
            return rows
        limit //= 2
    return list(pack_rows(items, int(min(tokens, positions_of(model))), 0))


def pairs_per_token(model: PreTrainedModel) -> float:
    """Exchange rate for `pack_rows`; 0 if the model does not support trees."""
    hidden = getattr(model.config.get_text_config(), "hidden_size", 0)
    return PAIRS_PER_HIDDEN * hidden if remembered(model, "trees", lambda: _takes_trees(model)) else 0.0


def _takes_trees(model: PreTrainedModel) -> bool:
    a, b, c, d, e, f = random_ids(model, 6)
    items = [TokenPair(0, (a, b), (c, d, e)), TokenPair(1, (a, b), (e, f, c))]
    (row,) = pack_rows(items, 64, float("inf"))  # at this rate both items join one row
    return _is_answered(model, row)


def _holds(model: PreTrainedModel, rows: Sequence[TreeRow]) -> bool:
    """Test the longest branched row and the row of the longest text; if both are right, shorter rows are too."""
    if not (branched := [row for row in rows if row.branched]):
        return True
    longest, deepest = max(branched, key=len), max(rows, key=lambda row: max(row.depths))
    return all(
        right_at(model, "long trees", (len(row), max(row.depths)), partial(_is_answered, model, row))
        for row in (longest, deepest)
    )


def _is_answered(model: PreTrainedModel, row: TreeRow) -> bool:
    """Compare the log-probabilities after a row's last and its deepest token with those after their paths alone."""
    probe = TreeRow(random_ids(model, len(row)), row.depths, row.ends, branched=True)
    # The last token has the most tokens of other paths before it, the deepest the longest path.
    places = [len(row) - 1, max(range(len(row)), key=row.depths.__getitem__)]

    @torch.inference_mode()
    def found() -> Tensor:
        given = {name: tensor.to(model.device) for name, tensor in tensors_of([probe], 0, model.dtype).items()}
        return logits_at(model, given, places).double().log_softmax(-1)

    @torch.inference_mode()
    def wanted() -> Tensor:
        paths = [[probe.ids[other] for other in range(place + 1) if place < probe.ends[other]] for place in places]
        ids = [torch.tensor([path], device=model.device) for path in paths]
        alone = [logits_at(model, {"input_ids": path}, [path.shape[1] - 1]) for path in ids]
        return torch.cat(alone).double().log_softmax(-1)

    return runs_like(model, found, wanted)
