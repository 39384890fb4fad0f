"""Token ids of prompts and completions for encoders and classifiers, unpadded; choice of the padding token."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from pipeline_core.errors import BadInput
from pipeline_core.models.tokens.control import controls_of
from pipeline_core.models.tokens.frames import PROBES, frame_of, names_of, without_end, without_start
from pipeline_core.models.tokens.ids import Ids, ids_of
from pipeline_core.models.tokens.joining import joined
from pipeline_core.models.tokens.templates import Template, as_rendered

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

EncodingForm = Literal["pair", "joined", "completion", "rendered"]
"""Form of a text: two segments, one text, the completion alone, or one text that a chat template rendered."""
EncodedColumns = dict[str, list[Any]]
TokenColumns = dict[str, list[int]]


def encode(
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    completions: Sequence[str],
    max_length: int,
    reads: EncodingForm,
) -> EncodedColumns:
    """Token ids of N texts, unpadded; texts that are too long lose their beginning, the longer segment first.

    Names of control tokens in a text are text. Exceptions are the tokenizer's own start at the beginning and its end
    token at the end, which are not added twice.
    """
    if not prompts:  # tokenizers refuse an empty batch
        return {"input_ids": []}
    segments = _segments(tokenizer, prompts, completions, reads)
    columns = [list(map(str, texts)) for texts in zip(*segments, strict=True)]
    encoded = tokenizer(*columns, truncation="longest_first", max_length=max_length)
    controls = controls_of(tokenizer)
    for row, texts in enumerate(segments):
        if any(map(controls.named_in, texts)):
            for name, values in framed_segments(tokenizer, texts, max_length).items():
                encoded[name][row] = values
    # An empty text still needs one position to pool.
    empty = [row for row, ids in enumerate(encoded["input_ids"]) if not ids]
    for name, rows in encoded.items():
        for row in empty:
            rows[row] = [{"input_ids": tokenizer.pad_token_id, "attention_mask": 1}.get(name, 0)]
    return dict(encoded)


def _segments(
    tokenizer: PreTrainedTokenizerBase, prompts: Sequence[str], completions: Sequence[str], reads: EncodingForm
) -> list[tuple[str, ...]]:
    """Texts to encode for each prompt and completion: two or one."""
    single, double = (tokenizer.num_special_tokens_to_add(pair=pair) for pair in (False, True))
    if reads == "pair" and double > single:
        return list(zip(prompts, completions, strict=True))
    if reads == "completion":
        return [(completion,) for completion in completions]
    # Without a separator between two segments a tokenizer would join their words.
    texts = [joined(*pair) for pair in zip(prompts, completions, strict=True)]
    return [(text,) for text in (as_rendered(texts) if reads == "rendered" else texts)]


def cut_rows(
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    completions: Sequence[str],
    encoded: EncodedColumns,
    max_length: int,
    reads: EncodingForm,
) -> list[int]:
    """Rows of the encoded texts that were longer than `max_length` and lost their beginning."""
    # Only a full row can have been cut; with room for one token more it grows if it was.
    full = [row for row, ids in enumerate(encoded["input_ids"]) if len(ids) == max_length]
    full_prompts, full_completions = ([texts[row] for row in full] for texts in (prompts, completions))
    longer = encode(tokenizer, full_prompts, full_completions, max_length + 1, reads)["input_ids"]
    return [row for row, ids in zip(full, longer, strict=True) if len(ids) > max_length]


def framed_segments(tokenizer: PreTrainedTokenizerBase, segments: Sequence[str], max_length: int) -> TokenColumns:
    """Columns of a tokenizer (`input_ids`, `attention_mask`, ...) for one text or a pair that name control tokens.

    At most `max_length` ids, framed as the tokenizer frames other texts. Segments that are too long lose their
    beginning, the longer segment first.
    """
    ids = _without_frame(tokenizer, segments)
    example, places = _example(tokenizer, len(segments))
    excess = sum(map(len, ids)) + len(example["input_ids"]) - sum(map(len, places)) - max_length
    for _ in range(max(excess, 0)):
        longer = max(range(len(ids)), key=lambda number: len(ids[number]))  # which one it is changes as ids are taken
        ids[longer] = ids[longer][1:]
    return {name: _filled(values, places, ids, name) for name, values in example.items()}


def _without_frame(tokenizer: PreTrainedTokenizerBase, segments: Sequence[str]) -> list[Ids]:
    """Ids of the segments without the tokenizer's start; a written end token is kept unless the tokenizer adds one."""
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


def _example(tokenizer: PreTrainedTokenizerBase, count: int) -> tuple[TokenColumns, list[range]]:
    """Columns of `count` equal segments, and the places of each segment in them."""
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
    """Column with each segment's values in place of the example's: its ids, or the example's value, repeated."""
    column: list[int] = []
    done = 0
    for place, own in zip(places, ids, strict=True):
        column += values[done : place.start]
        column += own if name == "input_ids" else [values[place.start]] * len(own)
        done = place.stop
    return [*column, *values[done:]]


def set_padding(tokenizer: PreTrainedTokenizerBase, known: float = math.inf) -> None:
    """Pad with the end token, else the unknown token, if there is no padding token with an id below `known`.

    `known`: number of tokens of the model. Without any such token the tokenizer has no padding token.
    """
    tokens = (tokenizer.pad_token, tokenizer.eos_token, tokenizer.unk_token)
    ids: list[Any] = [tokenizer.convert_tokens_to_ids(token) if token else None for token in tokens]
    chosen = next((token for token, id_ in zip(tokens, ids, strict=True) if id_ is not None and id_ < known), None)
    if chosen != tokenizer.pad_token:
        tokenizer.pad_token = chosen
