"""Tests whether a model is causal, and from which row length on it computes positions differently.

Phi-3's longrope turns to other rotations for every token of a pass once one is beyond
`original_max_position_embeddings`, so that a short row beside a long one is answered as if it were long.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pipeline_core.errors import BadInput
from pipeline_core.models.positions import check_positions
from pipeline_core.models.probing import logps_alone, matches, random_ids, remembered

if TYPE_CHECKING:
    from transformers import PreTrainedModel

SHORT = 9
"""Tokens of the row whose answers longer rows must begin with."""


@dataclass
class Lengths:
    """Row lengths in tokens that may share a batch.

    `tried`: length of the longest row that was tested. `border`: the model computes positions differently for longer
    rows. `steady`: it does so in the same way for all of them; otherwise rows beyond the border share a batch only with
    rows of equal length.
    """

    tried: int = 0
    border: float = math.inf
    steady: bool = True

    def kind(self, tokens: int) -> int:
        """A number for rows that may share a pass: 0 up to the border."""
        return 0 if tokens <= self.border else 1 if self.steady else tokens


def check_rows(model: PreTrainedModel, tokens: int, name: str = "") -> Lengths:
    """What the model does with rows of up to `tokens` tokens; tried once, and again for longer ones.

    Raises:
        BadInput: more tokens than the model has positions for; a model that is not causal, that does not take rows of
            this length, or whose answers depend on what it ran before.
    """
    check_positions(model, tokens, name=name)
    lengths = remembered(model, "lengths", Lengths)
    if tokens > lengths.tried:
        if not lengths.tried:
            _check_causal(model)
        if tokens > SHORT:
            _try(model, lengths, tokens)
        lengths.tried = max(tokens, SHORT)
    return lengths


def _check_causal(model: PreTrainedModel) -> None:
    called = type(model).__name__
    whole = partial(_first, model, SHORT)
    try:
        if matches(model, lambda: whole()[:4], lambda: logps_alone(model, random_ids(model, SHORT)[:5])):
            return
        is_steady = matches(model, whole, whole)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:
        raise BadInput(f"the model ({called}) does not run on a plain text: {_words(error)}") from error
    if not is_steady:
        raise BadInput(f"the model ({called}) answers the same text differently each time, so nothing can be trusted")
    raise BadInput(
        f"the model ({called}) is not causal: its answer for a token changes with the tokens after it, so it gives no "
        "log-probability of a text"
    )


def _try(model: PreTrainedModel, lengths: Lengths, tokens: int) -> None:
    short, whole = partial(_first, model, SHORT), partial(_first, model, tokens)
    try:
        if matches(model, whole, short):
            return
        is_steady = matches(model, whole, whole)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:
        raise BadInput(f"the model does not take rows of {tokens} tokens: {_words(error)}") from error
    if not is_steady:
        raise BadInput(f"the model answers a text of {tokens} tokens differently each time: lower the limit of tokens")
    if lengths.border == math.inf:
        low, high = max(lengths.tried, SHORT), tokens
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if matches(model, partial(_first, model, middle), short) else (low, middle)
        lengths.border = low
    border = int(lengths.border)
    just = partial(_after, model, SHORT, border + 1)
    lengths.steady &= matches(model, partial(_after, model, SHORT, tokens), just)
    if not matches(model, partial(_after, model, tokens, border + 1), just):
        raise BadInput(
            f"rows of {tokens} tokens: beyond {border} tokens the model's answers depend on which rows it has seen "
            "before (its position embeddings grow as it runs): lower the limit of tokens of a text or prompt "
            "(`max_length`, `max_prompt_tokens`), or `max_new_tokens`"
        )


def _after(model: PreTrainedModel, earlier: int, tokens: int) -> Tensor:
    """`_first`, after a row of `earlier` tokens; a short row resets position embeddings that have grown."""
    _first(model, earlier)
    return _first(model, tokens)


def _first(model: PreTrainedModel, tokens: int) -> Tensor:
    """Log-probabilities of the first tokens of a row in which `tokens` go through the model."""
    return logps_alone(model, random_ids(model, tokens + 1), last=SHORT)


def _words(error: Exception) -> str:
    """What an error says, in short."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:150]}"
