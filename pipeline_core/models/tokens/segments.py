"""One or two segments of an encoder as ids in what its tokenizer puts around them, where they name control tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipeline_core.errors import BadInput
from pipeline_core.models.tokens.frames import PROBES, frame_of, names_of, without_end, without_start
from pipeline_core.models.tokens.ids import Ids, ids_of
from pipeline_core.models.tokens.templates import Template

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Columns = dict[str, list[int]]


def framed_segments(tokenizer: PreTrainedTokenizerBase, segments: Sequence[str], max_length: int) -> Columns:
    """The columns of a tokenizer (`input_ids`, `attention_mask`, ...) for one text or a pair, at most `max_length` ids.

    As the tokenizer makes them of other texts: too long segments lose their beginning, the longer one first.
    """
    ids = _without_frame(tokenizer, segments)
    example, places = _example(tokenizer, len(segments))
    excess = sum(map(len, ids)) + len(example["input_ids"]) - sum(map(len, places)) - max_length
    for _ in range(max(excess, 0)):
        longer = max(range(len(ids)), key=lambda number: len(ids[number]))
        ids[longer] = ids[longer][1:]
    return {name: _filled(values, places, ids, name) for name, values in example.items()}


def _without_frame(tokenizer: PreTrainedTokenizerBase, segments: Sequence[str]) -> list[Ids]:
    """Ids of the segments, without a start that the tokenizer puts before the first, and with one end at the end."""
    frame = frame_of(tokenizer)
    *others, last = segments
    last, ends = without_end(tokenizer, last)
    texts = [*others, last]
    texts[0] = without_start(str(texts[0]), names_of(tokenizer, frame.start))
    are_rendered = any(isinstance(text, Template) for text in segments)
    ids = [ids_of(tokenizer, Template(text) if are_rendered else text) for text in texts]
    if ends and tokenizer.eos_token_id not in frame.end:
        ids[-1].append(int(tokenizer.eos_token_id))
    return ids


def _example(tokenizer: PreTrainedTokenizerBase, count: int) -> tuple[Columns, list[range]]:
    """The columns of `count` equal segments, and the places that each of these takes."""
    for probe in PROBES:
        ids, columns = ids_of(tokenizer, probe), dict(tokenizer(*[probe] * count))
        framed, places = columns["input_ids"], list[range]()
        for place in range(len(framed) - len(ids) + 1) if ids else ():
            if framed[place : place + len(ids)] == ids and (not places or place >= places[-1].stop):
                places.append(range(place, place + len(ids)))
        if len(places) == count:
            return columns, places
    raise BadInput(f"none of the texts {', '.join(map(repr, PROBES))} is found again in what the tokenizer makes of it")


def _filled(values: Sequence[int], places: Sequence[range], ids: Sequence[Ids], name: str) -> list[int]:
    """A column with every segment's values, its ids or as often what the example has, in place of the example's."""
    found: list[int] = []
    done = 0
    for place, own in zip(places, ids, strict=True):
        found += values[done : place.start]
        found += own if name == "input_ids" else [values[place.start]] * len(own)
        done = place.stop
    return [*found, *values[done:]]
