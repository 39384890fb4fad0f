"""How long a text a model takes: by its configuration, and by the tables in which it looks positions up."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from pipeline_core.errors import BadInput
from pipeline_core.models.probing import remembered

if TYPE_CHECKING:
    from transformers import PreTrainedModel

NAMES = (
    "max_position_embeddings",
    "n_positions",
    "max_seq_len",
    "max_sequence_length",
    "max_target_positions",
    "n_ctx",
)
"""How configurations call the longest text; the first that is there counts."""
PROBE = 3
"""Tokens of the text whose look-ups are watched."""


def check_positions(model: PreTrainedModel, tokens: int, limit: float = math.inf, name: str = "") -> None:
    """Refuse texts of more tokens than the model has positions for, or than `limit`; `name` is that of the longest.

    Raises:
        BadInput: where learned positions would end in an index error, and others in answers nobody has tested.
    """
    if tokens > (most := min(positions_of(model), limit)):
        raise BadInput(
            f"{name and f'{name}: '}texts of {tokens} tokens exceed the model's {most} positions: lower the limit "
            "of tokens of a text or prompt (`max_length`, `max_prompt_tokens`), or `max_new_tokens`"
        )


def positions_of(model: PreTrainedModel) -> float:
    """Most tokens a text may have for the model: what its configuration names, or fewer where a table is shorter.

    RoBERTa's table of 514 positions serves 512 tokens. Infinite where nothing sets a limit.
    """
    return min(_declared(model), remembered(model, "position tables", lambda: _shortest_table(model)))


def _declared(model: PreTrainedModel) -> float:
    config = model.config.get_text_config()
    values = (getattr(config, name, None) for name in NAMES)
    return next((value for value in values if isinstance(value, int) and value > 0), math.inf)


def _shortest_table(model: Any) -> float:
    """Tokens that the shortest table of positions serves; found by its look-ups, which rise by one from a token to the
    next while the tokens are all the same. Padding would have no position.
    """
    token = next(id_ for id_ in (3, 4) if id_ != getattr(model.config, "pad_token_id", None))
    with _look_ups() as seen:
        try:
            with torch.no_grad():
                model(input_ids=torch.full((1, PROBE), token, device=model.device))
        except Exception:  # a model that does not run is told when it is used
            return math.inf
    rising = [(rows, index[0]) for rows, index in seen if index == list(range(index[0], index[0] + PROBE))]
    return min([rows - first for rows, first in rising], default=math.inf)


@contextmanager
def _look_ups() -> Iterator[list[tuple[int, list[int]]]]:
    """Rows of every table that is looked up in, and the places of a probe's tokens."""
    seen: list[tuple[int, list[int]]] = []

    class Watch(TorchFunctionMode):
        def __torch_function__(self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if func is torch.nn.functional.embedding:
                given = dict(zip(("input", "weight"), args, strict=False)) | (kwargs or {})
                index: Tensor = given["input"]
                if index.numel() == PROBE:
                    seen.append((len(given["weight"]), index.flatten().tolist()))
            return func(*args, **(kwargs or {}))

    with Watch():
        yield seen
