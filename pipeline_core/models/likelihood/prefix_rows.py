"""Token sequences that begin alike as rows of trees: what several share is run through the model once.

A row holds the tokens of a tree in depth-first order. A token attends to those on its own path alone, and its position
is its depth, so that the model answers as it would to every path by itself.
Shape suffixes: B rows, T tokens.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from pipeline_core.models.tokens.prompts import pad


@dataclass(frozen=True)
class Item:
    """A completion to score after a prompt; both have at least one token."""

    index: int
    prompt: tuple[int, ...]
    completion: tuple[int, ...]

    @property
    def run(self) -> tuple[int, ...]:
        """What goes through the model: all but the last token, which is only asked for."""
        return self.prompt + self.completion[:-1]


@dataclass
class Row:
    """A tree: ids, depths, for every token the place after its last descendant, and the items with their places."""

    ids: list[int] = field(default_factory=list)
    depths: list[int] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    items: list[tuple[Item, list[int]]] = field(default_factory=list)
    """Each with the places whose next token is one of its completion."""
    path: list[int] = field(default_factory=list)
    """Places of the tokens of the item added last."""
    branched: bool = False

    def __len__(self) -> int:
        return len(self.ids)

    def add(self, item: Item, run: tuple[int, ...], shared: int) -> None:
        """Add an item whose first `shared` tokens are those of the item added last."""
        self.branched |= shared < len(self.path) and shared < len(run)
        self._close(shared)
        for depth in range(shared, len(run)):
            self.path.append(len(self.ids))
            self.ids.append(run[depth])
            self.depths.append(depth)
            self.ends.append(0)
        self.items.append((item, self.path[len(item.prompt) - 1 : len(run)]))

    def _close(self, depth: int) -> None:
        for place in self.path[depth:]:
            self.ends[place] = len(self.ids)
        del self.path[depth:]

    def closed(self) -> Row:
        """The row, to which nothing is added any more."""
        self._close(0)
        return self


def rows_of(items: Iterable[Item], limit: int, pairs_per_token: float) -> Iterator[Row]:
    """Rows of at most `limit` tokens (or of one item) in which neighbours in the order of their prompts share tokens.

    An item joins the current row if the prefix tokens saved cost more than the longer attention: running a token costs
    as much as `pairs_per_token` products of a query and a key. With 0 every item has a row of its own.
    """
    row = Row()
    last: tuple[int, ...] = ()
    for item in sorted(items, key=lambda item: (item.prompt, item.completion, item.index)):
        run = item.run
        shared = _common(last, run) if pairs_per_token else 0
        if len(row) and not _joins(len(row), len(run), shared, limit, pairs_per_token):
            yield row.closed()
            row, shared = Row(), 0
        row.add(item, run, shared)
        last = run
    if len(row):
        yield row.closed()


def _joins(held: int, length: int, shared: int, limit: int, pairs_per_token: float) -> bool:
    longer = held + length - shared
    return longer <= limit and shared * pairs_per_token >= longer**2 - held**2 - length**2 and shared > 0


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    """Length of the common beginning."""
    for place, (left, right) in enumerate(zip(one, other, strict=False)):
        if left != right:
            return place
    return min(len(one), len(other))


def batches_of(rows: Iterable[Row], tokens: int) -> Iterator[list[Row]]:
    """Rows of similar length while they hold at most `tokens` with their padding; a longer one comes alone."""
    batch: list[Row] = []
    for row in sorted(rows, key=lambda row: (len(row), row.items[0][0].index)):
        if batch and (len(batch) + 1) * len(row) > tokens:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


def tensors_of(batch: Sequence[Row], pad_id: int, dtype: torch.dtype) -> dict[str, Tensor]:
    """What a model takes for the rows: `input_ids` and, where a row branches, `position_ids` and a mask (B, 1, T, T).

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
