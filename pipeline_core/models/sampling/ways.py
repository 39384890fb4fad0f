"""Choice of a model's sampling method: the first whose log-probabilities equal those of the rows alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pipeline_core.errors import BadInput
from pipeline_core.models.lengths import SHORT, check_rows
from pipeline_core.models.probing import logps_alone, random_ids, remembered, right_at, runs_like, vocabulary_of
from pipeline_core.models.sampling.decoding import (
    DrawnCompletions,
    SampleRequest,
    SamplingSettings,
    StopConditions,
    alone,
    in_step,
    padded,
)

if TYPE_CHECKING:
    from transformers import PreTrainedModel

NEW = 3
"""Tokens that a probe draws."""
SIZES = (2, 3)
"""Samples of a probe's two prompts. The first row ends early, and four rows are left. With as many rows as prompts, a
state that cannot select rows would pass.
"""


class SamplingMethod(Enum):
    """Method of drawing completions, the preferred first."""

    PADDED = "prompts padded on the left, run once for all their samples"
    CACHED = "prompts of one length together, run once a sample"
    WHOLE = "prompts of one length together, every row run again for every token"
    ALONE = "one row at a time, run again for every token"


DRAW: dict[SamplingMethod, Callable[..., DrawnCompletions]] = {
    SamplingMethod.PADDED: padded,
    SamplingMethod.CACHED: partial(in_step, cached=True),
    SamplingMethod.WHOLE: partial(in_step, cached=False),
    SamplingMethod.ALONE: alone,
}


def check_sampling(model: PreTrainedModel, prompt_tokens: int, new_tokens: int, name: str = "") -> None:
    """Refuse a prompt whose completion the model cannot give.

    Raises:
        BadInput: more tokens than positions, or a row in which the model would change its position embeddings, so that
            the tokens drawn first would be read differently later; names the prompt.
    """
    lengths = check_rows(model, prompt_tokens + new_tokens, name)
    if lengths.kind(prompt_tokens) != lengths.kind(prompt_tokens + new_tokens):
        raise BadInput(
            f"{name and f'{name}: '}a prompt of {prompt_tokens} tokens with {new_tokens} new ones crosses the "
            f"{lengths.border} tokens at which the model changes its position embeddings: lower `max_prompt_tokens` or "
            "`max_new_tokens`"
        )


def way_of(model: PreTrainedModel, longest: int) -> SamplingMethod:
    """First method that is right for rows of up to `longest` tokens, prompt and completion together."""
    return next((way for way in SamplingMethod if _can(model, way, longest)), SamplingMethod.ALONE)


def group_of(model: PreTrainedModel, way: SamplingMethod, tokens: int) -> int:
    """Group number of a prompt's length; prompts share a batch only within a group."""
    return check_rows(model, tokens).kind(tokens) if way is SamplingMethod.PADDED else tokens


def _can(model: PreTrainedModel, way: SamplingMethod, longest: int) -> bool:
    if way is SamplingMethod.ALONE:
        return True
    ids = _with_padding(model, 9)
    short = [ids[:3], ids[3:9]] if way is SamplingMethod.PADDED else [ids[:4], ids[4:8]]
    if not remembered(model, way, lambda: _tried(model, way, short, SIZES)):
        return False
    if longest <= SHORT + NEW or way is SamplingMethod.WHOLE:
        return True
    ids = _with_padding(model, longest - NEW)
    prompts = [ids, ids[:-3]] if way is SamplingMethod.PADDED else [ids]  # the shorter one is padded, and compared
    return right_at(model, way, (longest,), lambda: _tried(model, way, prompts, [1] * len(prompts), looked_at=1))


def _with_padding(model: PreTrainedModel, length: int) -> list[int]:
    """Random ids with the padding token among them: RoBERTa and its relatives skip it when they count positions, and
    cannot in a step after a cache.
    """
    ids = random_ids(model, length)
    padding = getattr(model.config.get_text_config(), "pad_token_id", None)
    if padding is not None and 0 <= padding < vocabulary_of(model):
        ids[1] = padding
    return ids


def _tried(
    model: PreTrainedModel,
    way: SamplingMethod,
    prompts: Sequence[list[int]],
    sizes: Sequence[int],
    looked_at: int | None = None,
) -> bool:
    """True if drawn tokens have the log-probabilities of their rows alone although the first row ends early. Compares
    the last `looked_at` rows, or all rows.
    """
    settings = SamplingSettings(max_new_tokens=NEW)
    rows = sum(sizes)
    uniform_BT = torch.linspace(0.1, 0.9, rows * NEW, dtype=torch.float64).view(rows, NEW)

    def stopped(tokens_RT: Tensor, row_R: Tensor) -> Tensor:
        return (row_R == 0) & (rows > 1 and tokens_RT.shape[1] == 1)

    no_tokens = torch.zeros(0, dtype=torch.long, device=model.device)
    endings = StopConditions(no_tokens, stopped, random_ids(model, 1)[0])
    asked = SampleRequest(prompts, sizes, uniform_BT, settings, endings)
    drawn: DrawnCompletions = []
    compared = slice(-(looked_at or rows), None)

    def found() -> Tensor:
        drawn[:] = DRAW[way](model, asked)  # `wanted` reads them: `matches` calls `found` first
        return torch.cat([logps for _, logps in drawn[compared]])

    def wanted() -> Tensor:
        each = zip(asked.rows[compared], drawn[compared], strict=True)
        return torch.cat([logps_alone(model, [*row, *tokens], first=len(row)) for row, (tokens, _) in each])

    return runs_like(model, found, wanted)
