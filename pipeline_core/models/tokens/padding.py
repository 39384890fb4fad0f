"""The padding token of a tokenizer."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def set_padding(tokenizer: PreTrainedTokenizerBase, known: float = math.inf) -> None:
    """Pad with the end token, else the unknown token, where there is no padding token with an id below `known`.

    `known` is the number of tokens that a model knows. Without any such token the tokenizer has no padding token.
    """
    tokens = (tokenizer.pad_token, tokenizer.eos_token, tokenizer.unk_token)
    ids: list[Any] = [tokenizer.convert_tokens_to_ids(token) if token else None for token in tokens]
    found = next((token for token, id_ in zip(tokens, ids, strict=True) if id_ is not None and id_ < known), None)
    if found != tokenizer.pad_token:
        tokenizer.pad_token = found
