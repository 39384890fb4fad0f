"""Text to token ids: where a prompt ends and its completion begins, the same for training, sampling and scoring.

A `str` is the text of a row: the name of a control token in it (`<|im_end|>`, `</s>`) is plain text, but for the start
that the tokenizer itself puts before texts, written at the beginning, and the end token at the end. In a `Template`
control tokens are meant.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pipeline_core.errors import BadInput
from pipeline_core.models.tokens.control import controls_of
from pipeline_core.models.tokens.frames import encode_text, without_start, written_start
from pipeline_core.models.tokens.ids import Ids, drops_spaces, first_text, ids_of, text_after, text_of
from pipeline_core.models.tokens.joining import border, joined
from pipeline_core.models.tokens.sides import Border, cut_from_the_left, fitted
from pipeline_core.models.tokens.templates import Template, as_rendered, filled, rendered

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedTokenizerBase

__all__ = [
    "EncodedPair", "Ids", "Template", "as_rendered", "border", "controls_of", "cut_prompts", "decode_completion",
    "encode_pair", "encode_pairs", "encode_prompt", "encode_text", "filled", "joined", "pad", "rendered",
    "without_start", "written_start",
]  # fmt: skip


@dataclass(frozen=True)
class EncodedPair:
    """Ids of a prompt and its completion, and which of them were cut to make them fit."""

    prompt: tuple[int, ...]
    completion: tuple[int, ...]
    cut_prompt: bool = False
    cut_completion: bool = False

    @property
    def is_cut(self) -> bool:
        """Whether either was."""
        return self.cut_prompt or self.cut_completion


def encode_prompt(tokenizer: PreTrainedTokenizerBase, prompt: str, max_length: int) -> Ids:
    """Ids of `prompt`, at least one and at most `max_length`, too long ones cut from the left.

    What the tokenizer puts before a text stays in front, once; an empty prompt is that alone, or one start (or end)
    token. Spaces at the end are left to the completion, whose first word holds them.
    """
    border_ = Border(tokenizer)
    piece = border_.sides(prompt, "").prompt
    return cut_from_the_left(*border_.whole(piece, ids_of(tokenizer, piece.source)), max_length)


def encode_pair(
    tokenizer: PreTrainedTokenizerBase, prompt: str, completion: str, max_length: int, eos: bool = True
) -> tuple[Ids, Ids]:
    """Ids of a prompt and of its completion: `encode_pairs` of one."""
    (pair,) = encode_pairs(tokenizer, [prompt], [completion], max_length, eos)
    return list(pair.prompt), list(pair.completion)


def encode_pairs(
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    completions: Sequence[str],
    max_length: int,
    eos: bool = True,
) -> list[EncodedPair]:
    """Ids of prompts and of their completions, tokenised apart, each pair together at most `max_length`.

    The completion is tokenised as the middle of a text: tokenizers in Llama 2's way put a space before a beginning,
    which would stand as a token of its own between the two. Spaces at the end of a prompt are the completion's, for
    most tokenizers write a space and the word after it as one token.

    With `eos` the completion ends in the end token, once. Where room is short the prompt is cut from the left, down to
    its start and one token, and only then the completion from the right. A cut completion has no end token: its text
    goes on, and a model would learn to stop in the middle of it.

    The tokenizer is asked once for every different text, all in one call.
    """
    if max_length < 2:
        raise BadInput(f"max_length must leave room for a prompt and a completion, got {max_length}")
    border_ = Border(tokenizer)
    sides = [border_.sides(*pair) for pair in zip(prompts, completions, strict=True)]
    ids_of_each = border_.ids_of_each(piece for one in sides for piece in (one.prompt, one.completion))
    end = [] if tokenizer.eos_token_id is None else [int(tokenizer.eos_token_id)]
    pairs = []
    for one in sides:
        start, prompt = border_.whole(one.prompt, ids_of_each[one.prompt])
        own_end = end if eos or one.ends else []
        prompt, completion, *cut = fitted(start, prompt, ids_of_each[one.completion], own_end, max_length)
        pairs.append(EncodedPair(tuple(prompt), tuple(completion), *cut))
    return pairs


def cut_prompts(tokenizer: PreTrainedTokenizerBase, prompts: Sequence[str], max_length: int) -> int:
    """How many prompts have more ids than `encode_prompt` leaves of them."""
    border_ = Border(tokenizer)
    pieces = [border_.sides(prompt, "").prompt for prompt in prompts]
    ids_of_each = border_.ids_of_each(pieces)
    return sum(sum(map(len, border_.whole(piece, ids_of_each[piece]))) > max_length for piece in pieces)


def decode_completion(tokenizer: PreTrainedTokenizerBase, prompt: str, ids: Sequence[int]) -> str:
    """Text of sampled ids as a row would hold it: the inverse of the spaces that `encode_pair` puts at the border."""
    border_ = Border(tokenizer)
    head = border_.sides(prompt, "").prompt.source
    if not head and not prompt:
        return first_text(tokenizer, ids)
    text = text_after(tokenizer, ids) if head else text_of(tokenizer, ids)
    if drops_spaces(tokenizer):
        return text.removeprefix(" ") if head else text
    if spaces := len(prompt) - len(prompt.rstrip(" ")):
        return text[min(spaces, len(text) - len(text.lstrip(" "))) :]
    is_border = head and text.startswith(" ") and border_.follow(head, text[1:]) == text
    return text[1:] if is_border else text


def pad(rows: Sequence[Sequence[int]], value: int, side: Literal["left", "right"] = "right") -> tuple[Tensor, Tensor]:
    """Rows of different length as ids (B, T) and a mask (B, T) that is True where there is a token."""
    import torch

    width = max((len(row) for row in rows), default=0)
    ids, mask = torch.full((len(rows), width), value), torch.zeros(len(rows), width, dtype=torch.bool)
    for index, row in enumerate(rows):
        span = slice(0, len(row)) if side == "right" else slice(width - len(row), width)
        ids[index, span] = torch.tensor(row, dtype=torch.long)
        mask[index, span] = True
    return ids, mask
