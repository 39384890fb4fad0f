"""Row lengths that a model supports: its positions, causality, and the length beyond which its answers change.

Phi-3's longrope uses other rotations for every token of a pass once one token is beyond
`original_max_position_embeddings`: a short row beside a long one gets the answers of a long row.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from pipeline_core.errors import BadInput
from pipeline_core.models.probing import logps_alone, matches, random_ids, remembered

if TYPE_CHECKING:
    from transformers import PreTrainedModel

SHORT = 9
"""Tokens of the short row; longer rows must give its tokens the same answers."""
MAX_POSITIONS = (
    "max_position_embeddings",
    "n_positions",
    "max_seq_len",
    "max_sequence_length",
    "max_target_positions",
    "n_ctx",
)
"""Configuration names for the maximum text length; the first that is present counts."""
PROBE = 3
"""Tokens of the probe whose table look-ups are recorded."""


@dataclass
class RowLengths:
    """Row lengths in tokens that may share a batch.

    `tried`: length of the longest row that was tested. `border`: beyond this length the model computes positions
    differently. `steady`: equally so for all longer rows; otherwise these share a batch only with rows of equal length.
    """

    tried: int = 0
    border: float = math.inf
    steady: bool = True

    def kind(self, tokens: int) -> int:
        """Group number of a row length; rows of one group may share a pass. 0 up to the border."""
        return 0 if tokens <= self.border else 1 if self.steady else tokens


def check_rows(model: PreTrainedModel, tokens: int, name: str = "") -> RowLengths:
    """Row lengths that may share a batch, tested for up to `tokens` tokens. The result is kept until longer rows come.

    Raises:
        BadInput: more tokens than the model has positions; a model that is not causal, does not take rows of this
            length, or gives answers that depend on earlier passes.
    """
    check_positions(model, tokens, name=name)
    lengths = remembered(model, "lengths", RowLengths)
    if tokens > lengths.tried:
        if not lengths.tried:
            _check_causal(model)
        if tokens > SHORT:
            _try(model, lengths, tokens)
        lengths.tried = max(tokens, SHORT)
    return lengths


def check_positions(model: PreTrainedModel, tokens: int, limit: float = math.inf, name: str = "") -> None:
    """Refuse texts with more tokens than the model's positions or `limit`; `name`: name of the longest text.

    Raises:
        BadInput: learned positions would end in an index error, other positions in untested answers.
    """
    if tokens > (most := min(positions_of(model), limit)):
        raise BadInput(
            f"{name and f'{name}: '}texts of {tokens} tokens exceed the model's {most} positions: lower the limit "
            "of tokens of a text or prompt (`max_length`, `max_prompt_tokens`), or `max_new_tokens`"
        )


def positions_of(model: PreTrainedModel) -> float:
    """Maximum number of tokens of a text: the value in the configuration, or less if a position table is shorter.

    RoBERTa's table of 514 positions serves 512 tokens. Infinite without a limit.
    """
    return min(_declared(model), remembered(model, "position tables", lambda: _shortest_table(model)))


def _declared(model: PreTrainedModel) -> float:
    config = model.config.get_text_config()
    values = (getattr(config, name, None) for name in MAX_POSITIONS)
    return next((value for value in values if isinstance(value, int) and value > 0), math.inf)


def _shortest_table(model: Any) -> float:
    """Number of tokens that the shortest position table serves. Its look-ups, unlike others, rise by one per token
    while all tokens are equal. The probe is not the padding token, which has no position.
    """
    token = next(id_ for id_ in (3, 4) if id_ != getattr(model.config, "pad_token_id", None))
    with _LookUps() as look_ups:
        try:
            with torch.no_grad():
                model(input_ids=torch.full((1, PROBE), token, device=model.device))
        except Exception:  # a model that does not run is reported when it is used
            return math.inf
    rising = [(rows, index[0]) for rows, index in look_ups.seen if index == list(range(index[0], index[0] + PROBE))]
    return min([rows - first for rows, first in rising], default=math.inf)


class _LookUps(TorchFunctionMode):
    """Records look-ups of the probe's tokens: number of rows of the table, and the places looked up."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[int, list[int]]] = []

    def __torch_function__(self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.nn.functional.embedding:
            given = dict(zip(("input", "weight"), args, strict=False)) | (kwargs or {})
            index: Tensor = given["input"]
            if index.numel() == PROBE:
                self.seen.append((len(given["weight"]), index.flatten().tolist()))
        return func(*args, **(kwargs or {}))


def _check_causal(model: PreTrainedModel) -> None:
    called = f"the model ({type(model).__name__})"
    whole = partial(_first, model, SHORT)
    is_causal = _matches_steadily(
        model,
        lambda: whole()[:4],
        lambda: logps_alone(model, random_ids(model, SHORT)[:5]),
        whole,
        f"{called} does not run on a plain text",
        f"{called} answers the same text differently each time, so nothing can be trusted",
    )
    if not is_causal:
        raise BadInput(
            f"{called} is not causal: its answer for a token changes with the tokens after it, so it gives no "
            "log-probability of a text"
        )


def _matches_steadily(
    model: PreTrainedModel,
    found: Callable[[], Tensor],
    wanted: Callable[[], Tensor],
    whole: Callable[[], Tensor],
    does_not_run: str,
    is_unsteady: str,
) -> bool:
    """Result of `matches`. Raises `BadInput` if the model does not run, or if `whole` differs from itself."""
    try:
        if matches(model, found, wanted):
            return True
        is_steady = matches(model, whole, whole)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:
        raise BadInput(f"{does_not_run}: {type(error).__name__}: {' '.join(str(error).split())[:150]}") from error
    if not is_steady:
        raise BadInput(is_unsteady)
    return False


def _try(model: PreTrainedModel, lengths: RowLengths, tokens: int) -> None:
    short, whole = partial(_first, model, SHORT), partial(_first, model, tokens)
    does_not_run = f"the model does not take rows of {tokens} tokens"
    is_unsteady = f"the model answers a text of {tokens} tokens differently each time: lower the limit of tokens"
    if _matches_steadily(model, whole, short, whole, does_not_run, is_unsteady):
        return
    if lengths.border == math.inf:
        low, high = max(lengths.tried, SHORT), tokens
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if matches(model, partial(_first, model, middle), short) else (low, middle)
        lengths.border = low
    border = int(lengths.border)
    just = partial(_after, model, SHORT, border + 1)
    # Longrope changes once; rotations that grow with the row (dynamic NTK) differ for every length.
    lengths.steady &= matches(model, partial(_after, model, SHORT, tokens), just)
    if not matches(model, partial(_after, model, tokens, border + 1), just):
        raise BadInput(
            f"rows of {tokens} tokens: beyond {border} tokens the model's answers depend on which rows it has seen "
            "before (its position embeddings grow as it runs): lower the limit of tokens of a text or prompt "
            "(`max_length`, `max_prompt_tokens`), or `max_new_tokens`"
        )


def _after(model: PreTrainedModel, earlier: int, tokens: int) -> Tensor:
    """`_first` after a row of `earlier` tokens; a short row resets position embeddings that have grown."""
    _first(model, earlier)
    return _first(model, tokens)


def _first(model: PreTrainedModel, tokens: int) -> Tensor:
    """Log-probabilities of a row's first tokens; `tokens` tokens of the row run through the model."""
    return logps_alone(model, random_ids(model, tokens + 1), last=SHORT)
