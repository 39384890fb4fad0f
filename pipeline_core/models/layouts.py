"""Ways to run prompts and completions through a model; each is tested once against every row run alone.

Hybrid and recurrent models keep a state. Padding on the left changes it, or it cannot be copied to several completions.
Their rows are padded on the right, where a causal model never looks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from enum import Enum
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional

from pipeline_core.models.collation import Completions, collate, joint_states, separate_states, shared_states
from pipeline_core.models.lengths import SHORT, check_rows
from pipeline_core.models.probing import (
    backbone_and_head,
    in_float32,
    logits_from,
    logps_alone,
    random_ids,
    remembered,
    right_at,
    runs_like,
    states_of,
)

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class BatchLayout(Enum):
    """Arrangement of rows in a batch."""

    SHARED = "prompts run once, their keys and values repeated"
    LEFT = "prompts padded on the left"
    RIGHT = "rows padded on the right"
    EQUAL = "rows of one length together"
    ALONE = "one row at a time"


JOINT = (BatchLayout.LEFT, BatchLayout.RIGHT, BatchLayout.EQUAL, BatchLayout.ALONE)
"""Layouts that run prompt and completion in one pass, the preferred first."""
UNSHIFTED = JOINT[1:]
"""Layouts in which every row begins at the first place of the batch."""
SHIFT = 3
"""Padding tokens before the long row of a probe; they reveal a window or chunk counted from the row's beginning."""


def layout_of(model: PreTrainedModel, longest: int, ways: Sequence[BatchLayout] = JOINT) -> BatchLayout:
    """First layout of `ways` that is right for rows of up to `longest` tokens; raises the errors of `check_rows`."""
    check_rows(model, longest)
    return next((way for way in ways if can(model, way, longest)), BatchLayout.ALONE)


def can(model: PreTrainedModel, way: BatchLayout, longest: int) -> bool:
    """True if the model gives rows in this layout the log-probabilities that it gives each row alone."""
    if not remembered(model, way, lambda: _tried(model, way, _batch(model, way))):
        return False
    if way is BatchLayout.SHARED and not remembered(model, "gradients", lambda: _carries_gradients(model)):
        return False
    if longest <= SHORT or way in UNSHIFTED:  # `check_rows` has tested that later tokens change nothing
        return True
    return right_at(model, way, (longest,), lambda: _tried(model, way, _long_batch(model, longest)))


def layouts(model: PreTrainedModel, batch: Completions) -> tuple[BatchLayout, list[list[int]]]:
    """Layout of a batch, and the groups of rows that run together if the batch is split."""
    longest = max(batch.row_lengths, default=0)
    lengths = check_rows(model, longest)
    # Shorter rows also contain their last token, and a prompt that runs first is a row of its own.
    kinds = {lengths.kind(row + extra) for row in batch.row_lengths for extra in (0, int(row < longest))}
    # A prompt's cached keys are rotated for its own length; rows beyond the border would read them wrongly.
    is_one_kind = kinds | {lengths.kind(length) for length in batch.prompt_lengths} == {0}
    if batch.shares_prompts and is_one_kind and can(model, BatchLayout.SHARED, longest):
        return BatchLayout.SHARED, []
    ways = JOINT if len(kinds) == 1 else UNSHIFTED  # a batch padded on the left runs whole, whatever kinds are in it
    way = layout_of(model, longest, ways)
    return way, [] if way is BatchLayout.LEFT else groups(batch.row_lengths, way, lengths.kind)


def groups(row_lengths: Sequence[int], way: BatchLayout, kind: Callable[[int], int]) -> list[list[int]]:
    """Groups of rows that may share a batch."""
    by_key: dict[Any, list[int]] = {}
    for row, length in enumerate(row_lengths):
        key = {BatchLayout.RIGHT: kind(length), BatchLayout.EQUAL: length}.get(
            way, row if way is BatchLayout.ALONE else 0
        )
        by_key.setdefault(key, []).append(row)
    return list(by_key.values())


def states_in(model: PreTrainedModel, way: BatchLayout, batch: Completions, parts: Sequence[Sequence[int]]) -> Tensor:
    """States (B, T, .) that predict the completion tokens; `parts`: rows that run together if the batch is split."""
    if way is BatchLayout.SHARED:
        if (backbone_head := backbone_and_head(model)) is None:
            raise ValueError("the prompt's states are shared only under a plain head")
        return shared_states(backbone_head[0], batch)
    run = states_of(model)
    return joint_states(run, batch) if way is BatchLayout.LEFT else separate_states(run, batch, parts)


def _batch(model: PreTrainedModel, way: BatchLayout) -> Completions:
    """Probe of two prompts of different length, one with two completions; for `EQUAL`, rows of one length.

    Padding is an ordinary token: the padding token's embedding may be zero, which leaves a state unchanged.
    """
    *ids, pad_id = random_ids(model, 16)
    if way is BatchLayout.EQUAL:
        return collate([ids[:3], ids[7:11]], [ids[3:7], ids[11:14]], pad_id, model.device)
    return collate([ids[:2], ids[2:7]], [ids[7:11], ids[11:12], ids[12:15]], pad_id, model.device, [2, 1])


def _long_batch(model: PreTrainedModel, longest: int) -> Completions:
    """Probe of one long prompt with a completion, padded on the left; `longest` tokens are run."""
    *ids, pad_id = random_ids(model, longest + 2)
    batch = collate([ids[:-4]], [ids[-4:]], pad_id, model.device)
    pad = functional.pad
    return replace(
        batch,
        prompt_ids_PT=pad(batch.prompt_ids_PT, (SHIFT, 0), value=pad_id),
        prompt_mask_PT=pad(batch.prompt_mask_PT, (SHIFT, 0), value=False),
    )


def _tried(model: PreTrainedModel, way: BatchLayout, batch: Completions) -> bool:
    if way is BatchLayout.ALONE:
        return True

    def wanted() -> Tensor:
        rows = [(batch.row(row).tolist(), length) for row, length in enumerate(batch.prompt_lengths)]
        return torch.cat([logps_alone(model, ids, first=length) for ids, length in rows])

    with torch.no_grad():
        return runs_like(model, lambda: _logps(model, way, batch), wanted)


def _logps(model: PreTrainedModel, way: BatchLayout, batch: Completions) -> Tensor:
    """Log-probabilities (N,) of all completion tokens of a batch in one layout."""
    states_BTX = states_in(model, way, batch, [range(len(batch.lengths))])
    states_NX = states_BTX.flatten(0, 1)[batch.places_N]
    target_N = batch.ids_BT.flatten()[batch.places_N]
    return logits_from(model, states_NX).double().log_softmax(-1).gather(-1, target_N[:, None])[:, 0]


def _carries_gradients(model: PreTrainedModel) -> bool:
    """True if a prompt that runs once gets the same gradient from its completions as in a pass with each."""
    batch = _batch(model, BatchLayout.SHARED)
    with in_float32(model):
        try:
            # Rows padded on the right are the reference: a causal model never looks at what is behind it.
            shared, wanted = (_prompt_gradient(model, way, batch) for way in (BatchLayout.SHARED, BatchLayout.RIGHT))
        except Exception:  # an architecture's code may raise anything
            return False
    return bool((shared - wanted).abs().max() <= 1e-3 * wanted.abs().max())


# Whoever asks first may run without gradients, such as the pass of a frozen reference.
@torch.inference_mode(False)
@torch.enable_grad()
def _prompt_gradient(model: Any, way: BatchLayout, batch: Completions) -> Tensor:
    """Gradient of the summed log-probabilities with respect to the embeddings of prompt tokens, one row per token."""
    taken: list[Tensor] = []

    def take(_module: Any, _given: Any, out: Tensor) -> Tensor:
        # A leaf in place of the output, which has no gradient where embeddings are frozen (as under adapters).
        taken.append(out.detach().requires_grad_(True))
        return taken[-1]

    handle = model.get_input_embeddings().register_forward_hook(take)
    try:
        loss = _logps(model, way, batch).sum()
    finally:
        handle.remove()
    gradient = torch.autograd.grad(loss, taken[:1])[0]  # of the first pass: with `SHARED` the second embeds completions
    if way is BatchLayout.SHARED:
        return gradient[batch.prompt_mask_PT]
    sums = gradient.new_zeros(batch.prompt_ids_PT.shape + gradient.shape[-1:])
    for row, length in enumerate(batch.prompt_lengths):
        sums[batch.owner_B[row], sums.shape[1] - length :] += gradient[row, :length]
    return sums[batch.prompt_mask_PT]
