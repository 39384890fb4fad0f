"""Token-by-token sampling of completions, in the ways that models allow.

`padded`: prompts of different length in one batch, each run once for all its samples; a finished row leaves the batch.
`in_step`: rows of one length that stay together to the end, with a cache in unchanged row order, or without a cache.
`alone`: one row after another.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pipeline_core.models.collation import positions
from pipeline_core.models.probing import accepted, uncached
from pipeline_core.models.sampling.drawing import draw_tokens
from pipeline_core.models.tokens.prompts import pad

if TYPE_CHECKING:
    from transformers import PreTrainedModel

DrawnCompletions = list[tuple[list[int], Tensor]]
"""Tokens and log-probabilities of each row."""


@dataclass(frozen=True)
class SamplingSettings:
    """Settings of sampling. Temperature 0 takes the most probable token; text ends before any of the `stop` strings.

    No end token is drawn before `min_new_tokens` other tokens.
    """

    max_new_tokens: int = 32
    temperature: float = 1.0
    top_p: float = 1.0
    stop: tuple[str, ...] = ()
    top_k: int | None = None
    min_new_tokens: int = 0


@dataclass(frozen=True)
class StopConditions:
    """End of a completion. `tokens` (E,): ids that end it. `pad_id`: id that fills rows.

    `stopped`: function that finds stop texts in tokens (R, T) of the rows (R,).
    """

    tokens: Tensor
    stopped: Callable[[Tensor, Tensor], Tensor]
    pad_id: int


@dataclass(frozen=True)
class SampleRequest:
    """Request for `sizes` completions of each prompt. `uniform_BT`: a random number in [0, 1) for each token."""

    prompt_ids: Sequence[Sequence[int]]
    sizes: Sequence[int]
    uniform_BT: Tensor
    settings: SamplingSettings
    endings: StopConditions

    @property
    def rows(self) -> list[Sequence[int]]:
        """Prompt of each row, B in all."""
        return [ids for ids, size in zip(self.prompt_ids, self.sizes, strict=True) for _ in range(size)]


class DrawnTokens:
    """Drawn tokens (B, T), -1 where no token is drawn yet, and their log-probabilities."""

    def __init__(self, asked: SampleRequest, logits: Tensor) -> None:
        self._settings, self._endings = asked.settings, asked.endings
        self._uniform_BT = asked.uniform_BT.to(logits.device)
        self._tokens_BT = torch.full(self._uniform_BT.shape, -1, device=logits.device)
        kind = torch.promote_types(logits.dtype, torch.float32)
        self._logps_BT = torch.zeros(self._uniform_BT.shape, device=logits.device, dtype=kind)

    def draw(self, logits_RV: Tensor, row_R: Tensor, step: int) -> tuple[Tensor, Tensor]:
        """Draw the next token of the rows `row_R`; returns the tokens (R,), and True (R,) for rows that go on."""
        settings, endings = self._settings, self._endings
        token_R, self._logps_BT[row_R, step] = draw_tokens(
            logits_RV,
            self._uniform_BT[row_R, step],
            settings.temperature,
            settings.top_p,
            top_k=settings.top_k,
            banned=endings.tokens if step < settings.min_new_tokens else None,
        )
        self._tokens_BT[row_R, step] = token_R
        going_R = ~torch.isin(token_R, endings.tokens) & ~endings.stopped(self._tokens_BT[row_R, : step + 1], row_R)
        return token_R, going_R

    def rows(self) -> DrawnCompletions:
        """Drawn tokens and log-probabilities of each row."""
        lengths = (self._tokens_BT >= 0).sum(1).tolist()
        return [
            (tokens[:length], logps[:length])
            for tokens, logps, length in zip(self._tokens_BT.tolist(), self._logps_BT.cpu(), lengths, strict=True)
        ]


@torch.no_grad()
def padded(model: PreTrainedModel, asked: SampleRequest) -> DrawnCompletions:
    """Draw all rows in one batch; a finished row leaves the batch."""
    device = model.device
    ids, mask = (part.to(device) for part in pad(asked.prompt_ids, asked.endings.pad_id, "left"))
    position = positions(mask)
    # Logits of every place of a prompt would take more memory than its states.
    out: Any = model(input_ids=ids, attention_mask=mask.long(), position_ids=position, use_cache=True, logits_to_keep=1)
    cache = out.past_key_values
    owner_B = torch.arange(len(asked.sizes)).repeat_interleave(torch.tensor(asked.sizes)).to(device)
    cache.batch_select_indices(owner_B)
    logits, mask, position = out.logits[:, -1][owner_B], mask[owner_B], position[:, -1:][owner_B]
    draws = DrawnTokens(asked, logits)
    row = torch.arange(len(owner_B), device=device)
    for step in range(asked.settings.max_new_tokens):
        token, going = draws.draw(logits, row, step)
        if step + 1 == asked.settings.max_new_tokens or not going.any():
            break
        if not going.all():
            keep = going.nonzero().squeeze(1)
            cache.batch_select_indices(keep)
            row, token, mask, position = row[keep], token[keep], mask[keep], position[keep]
        mask, position = torch.cat([mask, mask.new_ones(len(mask), 1)], 1), position + 1
        out = model(
            input_ids=token[:, None],
            attention_mask=mask.long(),
            position_ids=position,
            past_key_values=cache,
            use_cache=True,
        )
        logits = out.logits[:, -1]
    return draws.rows()


@torch.no_grad()
def in_step(model: PreTrainedModel, asked: SampleRequest, *, cached: bool) -> DrawnCompletions:
    """Draw rows whose prompts have one length; a finished row stays, and its further tokens are dropped.

    Without a cache every token runs its whole row again.
    """
    rows = asked.rows
    ids = torch.tensor(rows, device=model.device)
    row = torch.arange(len(rows), device=model.device)
    given, state = ids, dict[str, Any]()
    draws: DrawnTokens | None = None
    for step in range(asked.settings.max_new_tokens):
        out: Any = model(input_ids=given, **({"use_cache": True} if cached else uncached(model)), **state)
        logits = out.logits[:, -1]
        draws = draws or DrawnTokens(asked, logits)
        token, going = draws.draw(logits[row], row, step)
        row = row[going]
        if not len(row):
            break
        following = torch.zeros(len(rows), dtype=token.dtype, device=token.device)
        following[row] = token[going]
        ids = torch.cat([ids, following[:, None]], 1)
        given, state = (following[:, None], _state(model, out)) if cached else (ids, {})
    return draws.rows() if draws else [([], torch.zeros(0)) for _ in rows]


def _state(model: PreTrainedModel, out: Any) -> dict[str, Any]:
    """State for the next forward pass: outputs that the model also takes as inputs, such as keys and values."""
    state = {name: out[name] for name in accepted(model, *out.keys()) if name not in ("logits", "loss")}
    if not state:
        raise ValueError("the model hands nothing on")  # the probe takes any error for a no
    return state


def alone(model: PreTrainedModel, asked: SampleRequest) -> DrawnCompletions:
    """Draw one row after another, each without a cache."""
    drawn: DrawnCompletions = []
    for row, ids in enumerate(asked.rows):
        ends = replace(asked.endings, stopped=partial(_of_row, asked.endings, row))
        request = SampleRequest([ids], [1], asked.uniform_BT[row : row + 1], asked.settings, ends)
        drawn += in_step(model, request, cached=False)
    return drawn


def _of_row(endings: StopConditions, row: int, tokens_RT: Tensor, row_R: Tensor) -> Tensor:
    """`stopped` for a request of one row, which is row `row` of the whole request."""
    return endings.stopped(tokens_RT, row_R + row)
