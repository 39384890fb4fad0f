"""Text to token ids: where a prompt ends and its completion begins, the same for training, sampling and scoring."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

from pipeline_core.errors import BadInput

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedTokenizerBase


LETTER, NEWLINE = "x", "\n"
"""Stand for the text before a completion where a tokenizer must be kept from seeing the beginning of a text: a letter
before white space (which would join other white space), else a newline (for letters would join)."""


def border(prompt: str, completion: str) -> str:
    """`completion` as it follows `prompt`: one leading space when neither side has white space at the border."""
    needs_space = prompt and completion and not prompt[-1].isspace() and not completion[0].isspace()
    return f" {completion}" if needs_space else completion


def encode_prompt(tokenizer: PreTrainedTokenizerBase, prompt: str, max_length: int) -> list[int]:
    """Ids of `prompt`, at least one and at most `max_length`, too long ones cut from the left.

    The tokenizer's start token, if it uses one, stays in front; an empty prompt is the start (or end) token alone.
    """
    start = _start(tokenizer)
    ids = _ids(tokenizer, prompt)
    room = max_length - len(start)
    kept = ids[max(len(ids) - room, 0) :] if room > 0 else []
    return (start + kept) or [_any_start(tokenizer)]


def encode_pair(
    tokenizer: PreTrainedTokenizerBase, prompt: str, completion: str, max_length: int, eos: bool = True
) -> tuple[list[int], list[int]]:
    """Ids of a prompt and of its completion, tokenised apart, together at most `max_length`.

    The completion is tokenised as the middle of a text: tokenizers in Llama 2's way put a space before a beginning,
    which would stand as a token of its own between the two.
    With `eos` the completion ends in the end token. The completion goes before the prompt when room is short: the
    prompt is cut from the left down to one token, and only then the completion from the right.
    """
    if max_length < 2:
        raise BadInput(f"max_length must leave room for a prompt and a completion, got {max_length}")
    encode = _encode_after if prompt else _ids
    completion_ids = encode(tokenizer, border(prompt, completion))
    if eos and tokenizer.eos_token_id is not None:
        completion_ids = [*completion_ids, tokenizer.eos_token_id]
    completion_ids = completion_ids[: max_length - 1]
    return encode_prompt(tokenizer, prompt, max_length - len(completion_ids)), completion_ids


def cut_prompts(tokenizer: PreTrainedTokenizerBase, prompts: Sequence[str], max_length: int) -> int:
    """How many prompts have more ids than `encode_prompt` leaves of them."""
    ids_of = _ids_of_each(tokenizer, {(prompt, False) for prompt in prompts})
    start = len(_start(tokenizer))
    return sum(start + len(ids_of[prompt, False]) > max_length for prompt in prompts)


@dataclass(frozen=True)
class EncodedPair:
    """Ids of a prompt and its completion, and whether one of them was cut to make them fit."""

    prompt: tuple[int, ...]
    completion: tuple[int, ...]
    is_cut: bool


def encode_pairs(
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    completions: Sequence[str],
    max_length: int,
    eos: bool = True,
) -> list[EncodedPair]:
    """`encode_pair` of many; the tokenizer is asked once for every different text, all in one call."""
    after = [(border(*pair), bool(pair[0])) for pair in zip(prompts, completions, strict=True)]
    ids_of = _ids_of_each(tokenizer, {(prompt, False) for prompt in prompts} | set(after))
    start, end = _start(tokenizer), [tokenizer.eos_token_id] if eos and tokenizer.eos_token_id is not None else []
    whole = {prompt: tuple(start + ids_of[prompt, False] or [_any_start(tokenizer)]) for prompt in set(prompts)}
    found: list[EncodedPair] = []
    for prompt, completion, follows in zip(prompts, completions, after, strict=True):
        ids = tuple(ids_of[follows] + end)
        if max(len(whole[prompt]) + len(ids), 2) <= max_length:
            found.append(EncodedPair(whole[prompt], ids, is_cut=False))
        else:
            kept = encode_pair(tokenizer, prompt, completion, max_length, eos)
            found.append(EncodedPair(tuple(kept[0]), tuple(kept[1]), is_cut=True))
    return found


def _ids_of_each(tokenizer: PreTrainedTokenizerBase, texts: set[tuple[str, bool]]) -> dict[tuple[str, bool], list[int]]:
    """Ids of every text, by text and whether it stands after other text."""
    marks = _marks_beginnings(tokenizer)
    simple = sorted(key for key in texts if not (key[1] and marks))
    ids = tokenizer([text for text, _ in simple], add_special_tokens=False).input_ids if simple else []
    found = dict(zip(simple, ids, strict=True))
    return found | {key: _encode_after(tokenizer, key[0]) for key in texts if key not in found}


def decode_completion(tokenizer: PreTrainedTokenizerBase, prompt: str, ids: Sequence[int]) -> str:
    """Text of sampled ids as a row would hold it: the inverse of `encode_pair`'s space at the border."""
    text = _decode_after(tokenizer, list(ids)) if prompt else _text(tokenizer, list(ids))
    return text[1:] if text.startswith(" ") and prompt and not prompt[-1].isspace() else text


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


def _encode_after(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """Ids of `text` as they follow other text."""
    return _ids_after(tokenizer, text) if _marks_beginnings(tokenizer) else _ids(tokenizer, text)


def _decode_after(tokenizer: PreTrainedTokenizerBase, ids: list[int]) -> str:
    """Text of `ids` as it follows other text: decoders in Llama 2's way drop a space at a beginning."""
    if _marks_beginnings(tokenizer):
        before = _ids(tokenizer, LETTER)
        start, both = _text(tokenizer, before), _text(tokenizer, before + ids)
        if both.startswith(start):
            return both[len(start) :]
    return _text(tokenizer, ids)


@lru_cache(maxsize=8)
def _marks_beginnings(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether a text has other ids at a beginning than after other text."""
    return any(_ids_after(tokenizer, probe) != _ids(tokenizer, probe) for probe in ("a", " a"))


def _ids_after(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    anchor = LETTER if text[:1].isspace() else NEWLINE
    before, both = _ids(tokenizer, anchor), _ids(tokenizer, anchor + text)
    return both[len(before) :] if both[: len(before)] == before else _ids(tokenizer, text)


def _ids(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    ids: list[int] = tokenizer(text, add_special_tokens=False).input_ids
    return ids


def _text(tokenizer: PreTrainedTokenizerBase, ids: list[int]) -> str:
    return str(tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))


def _start(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    empty = tokenizer("").input_ids
    return [tokenizer.bos_token_id] if empty and empty[0] == tokenizer.bos_token_id else []


def _any_start(tokenizer: PreTrainedTokenizerBase) -> int:
    for token in (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id):
        if token is not None:
            return int(token)
    raise BadInput("an empty prompt needs a start, end or padding token and the tokenizer has none")
