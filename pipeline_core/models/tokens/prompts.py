"""Text to token ids: the border between prompt and completion, equal in training, sampling and scoring.

A `str` is the text of a row: the name of a control token in it (`<|im_end|>`, `</s>`) is plain text. Exceptions are the
tokenizer's own start, written at the beginning, and the end token at the end. In a `Template` names of control tokens
are control tokens.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pipeline_core.errors import BadInput
from pipeline_core.models.tokens.control import controls_of
from pipeline_core.models.tokens.frames import (
    encode_text,
    frame_of,
    names_of,
    stand_in,
    with_start,
    without_end,
    without_start,
    written_start,
)
from pipeline_core.models.tokens.ids import (
    Ids,
    drops_spaces,
    first_text,
    ids_after,
    ids_of,
    ids_of_all,
    marks_beginnings,
    text_after,
    text_of,
)
from pipeline_core.models.tokens.joining import border, joined
from pipeline_core.models.tokens.templates import (
    Template,
    TextSpan,
    as_rendered,
    filled,
    without_spaces_at_the_end,
)

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedTokenizerBase

__all__ = [
    "EncodedPair", "Template", "as_rendered", "border", "cut_prompts", "decode_completion", "encode_pairs",
    "encode_prompt", "encode_text", "filled", "joined", "pad",
]  # fmt: skip


@dataclass(frozen=True)
class EncodedPair:
    """Ids of a prompt and its completion, and flags of the parts that were cut to fit."""

    prompt: tuple[int, ...]
    completion: tuple[int, ...]
    cut_prompt: bool = False
    cut_completion: bool = False

    @property
    def is_cut(self) -> bool:
        """True if the prompt or the completion was cut."""
        return self.cut_prompt or self.cut_completion


@dataclass(frozen=True)
class TextPiece:
    """Text to tokenise. `follows`: it follows another text. `values`: spans of a template, None for a row's text."""

    text: str
    values: tuple[TextSpan, ...] | None = None
    follows: bool = False

    @classmethod
    def of(cls, text: str) -> TextPiece:
        """Piece for `text` at a beginning."""
        return cls(str(text), text.values if isinstance(text, Template) else None)

    @property
    def source(self) -> str:
        """Text as it was given."""
        return self.text if self.values is None else Template(self.text, self.values)


@dataclass(frozen=True)
class Sides:
    """Prompt without its start and trailing spaces; completion with these spaces. `ends`: the end token was written."""

    prompt: TextPiece
    completion: TextPiece
    ends: bool


class PromptBorder:
    """Border between a tokenizer's prompts and completions."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        self._start = frame_of(tokenizer).start
        self._names = names_of(tokenizer, self._start)
        self._controls = tuple(controls_of(tokenizer).id_of)

    def sides(self, prompt: str, completion: str) -> Sides:
        """Prompt and completion as pieces; see `encode_pairs`."""
        begun = without_start(prompt, self._names)
        head = without_spaces_at_the_end(begun)
        bare, ends = without_end(self._tokenizer, completion)
        text = begun[len(head) :] + self.follow(begun, bare)
        if text and not head:  # the completion begins the text, and may have the start written
            text = without_start(text, written_start(self._tokenizer))
        values = () if isinstance(completion, Template) else None
        return Sides(TextPiece.of(head), TextPiece(text, values, follows=bool(head)), ends)

    def follow(self, prompt: str, completion: str) -> str:
        """`border`, but without a space after a control token at the end of a template."""
        if isinstance(prompt, Template) and prompt.endswith(self._controls) and not prompt.ends_in_a_value:
            return completion
        return border(prompt, completion)

    def whole(self, prompt: TextPiece, ids: Ids) -> tuple[Ids, Ids]:
        """Ids before a prompt, and its own ids. Raises `BadInput` if an empty prompt has no token to begin with."""
        start = self._start
        if not start and not ids and not (start := stand_in(self._tokenizer)):
            raise BadInput("an empty prompt needs a start, end or padding token and the tokenizer has none")
        if prompt.values is None:
            return start, ids
        all_ids = with_start(start, ids)
        return start, all_ids[len(start) :]

    def ids_of_each(self, pieces: Iterable[TextPiece]) -> dict[TextPiece, Ids]:
        """Ids of each different piece."""
        marks = marks_beginnings(self._tokenizer)
        known = list(dict.fromkeys(pieces))
        simple = [piece for piece in known if not (piece.follows and marks)]
        batched = dict(zip(simple, ids_of_all(self._tokenizer, [piece.source for piece in simple]), strict=True))
        return batched | {piece: ids_after(self._tokenizer, piece.source) for piece in known if piece not in batched}


def encode_prompt(tokenizer: PreTrainedTokenizerBase, prompt: str, max_length: int) -> Ids:
    """Ids of `prompt`, at least one and at most `max_length`; longer prompts are cut from the left.

    The tokenizer's start stays in front, once. An empty prompt is this start alone, or one start (or end) token. Spaces
    at the end are left to the completion, whose first word holds them.
    """
    border_ = PromptBorder(tokenizer)
    piece = border_.sides(prompt, "").prompt
    return _cut_from_the_left(*border_.whole(piece, ids_of(tokenizer, piece.source)), max_length)


def encode_pairs(
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    completions: Sequence[str],
    max_length: int,
    eos: bool = True,
) -> list[EncodedPair]:
    """Ids of prompts and of their completions, tokenised separately, each pair together at most `max_length`.

    The completion is tokenised as the middle of a text: tokenizers like Llama 2's put a space before a beginning, which
    would be a token of its own between the two. Spaces at the end of a prompt go to the completion, since most
    tokenizers write a space and the word after it as one token.

    With `eos` the completion ends with the end token, once. If room is short, the prompt is cut from the left, down to
    its start and one token, and only then the completion from the right. A cut completion has no end token: its text
    goes on, and a model would learn to stop in the middle of it.

    Each different text is tokenised once.
    """
    if max_length < 2:
        raise BadInput(f"max_length must leave room for a prompt and a completion, got {max_length}")
    border_ = PromptBorder(tokenizer)
    sides = [border_.sides(*pair) for pair in zip(prompts, completions, strict=True)]
    ids_of_each = border_.ids_of_each(piece for side in sides for piece in (side.prompt, side.completion))
    end = [] if tokenizer.eos_token_id is None else [int(tokenizer.eos_token_id)]
    pairs = []
    for side in sides:
        start, prompt = border_.whole(side.prompt, ids_of_each[side.prompt])
        own_end = end if eos or side.ends else []
        prompt, completion, *cut = _fit(start, prompt, ids_of_each[side.completion], own_end, max_length)
        pairs.append(EncodedPair(tuple(prompt), tuple(completion), *cut))
    return pairs


def cut_prompts(tokenizer: PreTrainedTokenizerBase, prompts: Sequence[str], max_length: int) -> int:
    """Number of prompts that `encode_prompt` cuts."""
    border_ = PromptBorder(tokenizer)
    pieces = [border_.sides(prompt, "").prompt for prompt in prompts]
    ids_of_each = border_.ids_of_each(pieces)
    return sum(sum(map(len, border_.whole(piece, ids_of_each[piece]))) > max_length for piece in pieces)


def decode_completion(tokenizer: PreTrainedTokenizerBase, prompt: str, ids: Sequence[int]) -> str:
    """Text of sampled ids as a row would hold it: without the spaces that `encode_pairs` puts at the border."""
    border_ = PromptBorder(tokenizer)
    head = border_.sides(prompt, "").prompt.source
    if not head and not prompt:
        return first_text(tokenizer, ids)
    text = text_after(tokenizer, ids) if head else text_of(tokenizer, ids)
    if drops_spaces(tokenizer):
        return text.removeprefix(" ") if head else text  # decoders of such vocabularies put a space before every word
    if spaces := len(prompt) - len(prompt.rstrip(" ")):  # drawn with the completion; the prompt has them already
        return text[min(spaces, len(text) - len(text.lstrip(" "))) :]
    is_border = head and text.startswith(" ") and border_.follow(head, text[1:]) == text
    return text[1:] if is_border else text


def _fit(start: Ids, prompt: Ids, completion: Ids, end: Ids, max_length: int) -> tuple[Ids, Ids, bool, bool]:
    """Ids of prompt and completion within `max_length`, and a cut flag for each; see `encode_pairs`."""
    least = min(len(start) + bool(prompt), max_length - 1)  # one place is the completion's
    cut_completion = len(completion) + len(end) > max_length - least
    kept = completion[: max_length - least] if cut_completion else [*completion, *end]
    room = max_length - len(kept)
    return _cut_from_the_left(start, prompt, room), kept, len(start) + len(prompt) > room, cut_completion


def _cut_from_the_left(start: Sequence[int], ids: Sequence[int], room: int) -> Ids:
    """`start` and the last of `ids`, together at most `room` ids."""
    return [*start[:room], *ids[max(len(ids) - max(room - len(start), 0), 0) :]]


def pad(rows: Sequence[Sequence[int]], value: int, side: Literal["left", "right"] = "right") -> tuple[Tensor, Tensor]:
    """Rows of different length as ids (B, T), and a mask (B, T) that is True at tokens."""
    import torch

    width = max((len(row) for row in rows), default=0)
    ids, mask = torch.full((len(rows), width), value), torch.zeros(len(rows), width, dtype=torch.bool)
    for index, row in enumerate(rows):
        span = slice(0, len(row)) if side == "right" else slice(width - len(row), width)
        ids[index, span] = torch.tensor(row, dtype=torch.long)
        mask[index, span] = True
    return ids, mask
