"""A prompt and its completion as the two texts that are tokenised apart."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline_core.models.tokens.control import controls_of
from pipeline_core.models.tokens.frames import (
    frame_of,
    names_of,
    start_of,
    with_start,
    without_end,
    without_start,
    written_start,
)
from pipeline_core.models.tokens.ids import Ids, ids_after, ids_of_all, marks_beginnings
from pipeline_core.models.tokens.joining import border
from pipeline_core.models.tokens.templates import Span, Template, without_spaces_at_the_end

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class Piece:
    """A text to tokenise and whether it follows another; `values` are a template's, None of a row's text."""

    text: str
    values: tuple[Span, ...] | None = None
    follows: bool = False

    @classmethod
    def of(cls, text: str) -> Piece:
        """`text` as a beginning."""
        return cls(str(text), text.values if isinstance(text, Template) else None)

    @property
    def source(self) -> str:
        """The text as it was given."""
        return self.text if self.values is None else Template(self.text, self.values)


@dataclass(frozen=True)
class Sides:
    """Prompt without its start and the spaces at its end, completion with these; `ends`: the end token was written."""

    prompt: Piece
    completion: Piece
    ends: bool


class Border:
    """How a tokenizer's prompts and completions meet."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        self.start = frame_of(tokenizer).start
        self._names = names_of(tokenizer, self.start)
        self._controls = tuple(controls_of(tokenizer).id_of)

    def sides(self, prompt: str, completion: str) -> Sides:
        """The two texts; see `tokens.encode_pairs`."""
        begun = without_start(prompt, self._names)
        head = without_spaces_at_the_end(begun)
        bare, ends = without_end(self._tokenizer, completion)
        text = begun[len(head) :] + self.follow(begun, bare)
        if text and not head:
            text = without_start(text, written_start(self._tokenizer))
        values = () if isinstance(completion, Template) else None
        return Sides(Piece.of(head), Piece(text, values, follows=bool(head)), ends)

    def follow(self, prompt: str, completion: str) -> str:
        """`border`, but that nothing is put after a control token that a template ends in."""
        if isinstance(prompt, Template) and prompt.endswith(self._controls) and not prompt.ends_in_a_value:
            return completion
        return border(prompt, completion)

    def start_of(self, is_empty: bool) -> Ids:
        """Ids before a prompt."""
        return self.start or (start_of(self._tokenizer, is_empty) if is_empty else [])

    def whole(self, prompt: Piece, ids: Ids) -> tuple[Ids, Ids]:
        """Ids before a prompt's, and its own."""
        start = self.start_of(is_empty=not ids)
        if prompt.values is None:
            return start, ids
        all_ids = with_start(start, ids)
        return start, all_ids[len(start) :]

    def ids_of_each(self, pieces: Iterable[Piece]) -> dict[Piece, Ids]:
        """Ids of every different text."""
        marks = marks_beginnings(self._tokenizer)
        known = list(dict.fromkeys(pieces))
        simple = [piece for piece in known if not (piece.follows and marks)]
        found = dict(zip(simple, ids_of_all(self._tokenizer, [piece.source for piece in simple]), strict=True))
        return found | {piece: ids_after(self._tokenizer, piece.source) for piece in known if piece not in found}


def fitted(start: Ids, prompt: Ids, completion: Ids, end: Ids, max_length: int) -> tuple[Ids, Ids, bool, bool]:
    """Ids of prompt and completion within `max_length`, and which of the two was cut; see `tokens.encode_pairs`."""
    least = min(len(start) + bool(prompt), max_length - 1)
    cut_completion = len(completion) + len(end) > max_length - least
    kept = completion[: max_length - least] if cut_completion else [*completion, *end]
    room = max_length - len(kept)
    return cut_from_the_left(start, prompt, room), kept, len(start) + len(prompt) > room, cut_completion


def cut_from_the_left(start: Sequence[int], ids: Sequence[int], room: int) -> Ids:
    """`start` and the last of `ids`, together at most `room`."""
    return [*start[:room], *ids[max(len(ids) - max(room - len(start), 0), 0) :]]
