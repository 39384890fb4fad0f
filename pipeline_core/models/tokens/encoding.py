"""Prompts and completions as the token ids that an encoder or a classifier reads, unpadded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from pipeline_core.models.tokens.control import controls_of
from pipeline_core.models.tokens.joining import joined
from pipeline_core.models.tokens.segments import framed_segments
from pipeline_core.models.tokens.templates import as_rendered

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Reads = Literal["pair", "joined", "completion", "rendered"]
"""How a text is written: two segments, one text, the completion alone, or one text that a chat template rendered."""
Encoded = dict[str, list[Any]]


def encode(
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    completions: Sequence[str],
    max_length: int,
    reads: Reads,
) -> Encoded:
    """Token ids of N texts, unpadded; what is too long loses its beginning, the longer segment first.

    Names of control tokens in a text are text, but for the tokenizer's own start at the beginning and its end token at
    the end, which are not put there twice.
    """
    if not prompts:  # tokenizers refuse a batch of nothing
        return {"input_ids": []}
    segments = _segments(tokenizer, prompts, completions, reads)
    columns = [list(map(str, texts)) for texts in zip(*segments, strict=True)]
    encoded = tokenizer(*columns, truncation="longest_first", max_length=max_length)
    controls = controls_of(tokenizer)
    for row, texts in enumerate(segments):
        if any(map(controls.named_in, texts)):
            for name, values in framed_segments(tokenizer, texts, max_length).items():
                encoded[name][row] = values
    # No text at all still needs a position to pool.
    empty = [row for row, ids in enumerate(encoded["input_ids"]) if not ids]
    for name, rows in encoded.items():
        for row in empty:
            rows[row] = [{"input_ids": tokenizer.pad_token_id, "attention_mask": 1}.get(name, 0)]
    return dict(encoded)


def _segments(
    tokenizer: PreTrainedTokenizerBase, prompts: Sequence[str], completions: Sequence[str], reads: Reads
) -> list[tuple[str, ...]]:
    """What is read of every prompt and completion: two texts or one."""
    single, double = (tokenizer.num_special_tokens_to_add(pair=pair) for pair in (False, True))
    if reads == "pair" and double > single:
        return list(zip(prompts, completions, strict=True))
    if reads == "completion":
        return [(completion,) for completion in completions]
    # A tokenizer that puts nothing between two segments would glue their words together.
    texts = [joined(*pair) for pair in zip(prompts, completions, strict=True)]
    return [(text,) for text in (as_rendered(texts) if reads == "rendered" else texts)]


def cut_rows(
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    completions: Sequence[str],
    encoded: Encoded,
    max_length: int,
    reads: Reads,
) -> list[int]:
    """Which of the encoded texts were longer than `max_length` and lost their beginning."""
    full = [row for row, ids in enumerate(encoded["input_ids"]) if len(ids) == max_length]
    some_prompts, some_completions = ([texts[row] for row in full] for texts in (prompts, completions))
    longer = encode(tokenizer, some_prompts, some_completions, max_length + 1, reads)["input_ids"]
    return [row for row, ids in zip(full, longer, strict=True) if len(ids) > max_length]
