"""Log-likelihood of texts of any length: every token is predicted once, after as much context as fits.

A text is read in windows of at most `window` tokens. The first window is predicted from its beginning; each further
window predicts `stride` tokens after the `window - stride` tokens before them. A stride near the window is fast, but
leaves the first tokens of a window little context; a small stride gives all tokens their context.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from pipeline_core.models.likelihood.scoring import score_tokens
from pipeline_core.models.tokens.frames import without_start, written_start
from pipeline_core.models.tokens.prompts import encode_pairs

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

TEXTS_AT_ONCE = 32
"""Texts tokenised and scored together. Memory grows with them, not with the corpus."""
NO_LIMIT = 10**9  # windows bound a text, so `encode_pairs` must not cut it


@dataclass(frozen=True)
class TextLogp:
    """Log-probability of a text in nats, and its predicted tokens, words (split at white space) and UTF-8 bytes."""

    logp: float
    tokens: int
    words: int
    bytes: int

    @property
    def mean_logp(self) -> float:
        """Log-probability per token; NaN if no token is predicted."""
        return self.logp / self.tokens if self.tokens else math.nan


def score_texts(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Iterable[str],
    *,
    window: int = 1024,
    stride: int = 512,
    given_words: int = 0,
    tokens_per_batch: int = 2048,
    names: Sequence[str] = (),
) -> Iterator[TextLogp]:
    """Log-likelihood of each text; the first `given_words` words are context and are not predicted.

    Without given words the first token is predicted after the start (or end) token. `texts` may be a stream; errors use
    `names`.
    """
    start = written_start(tokenizer)
    source, known = (without_start(text, start) for text in texts), iter(names)
    while chunk := list(islice(source, TEXTS_AT_ONCE)):
        called = list(islice(known, TEXTS_AT_ONCE))
        parts = [_parted(text, given_words) for text in chunk]
        encoded = encode_pairs(tokenizer, [head for head, _ in parts], [tail for _, tail in parts], NO_LIMIT, eos=False)
        windows = [token_windows(pair.prompt, pair.completion, window, stride) for pair in encoded]
        flat = [pair_of_ids for own_windows in windows for pair_of_ids in own_windows]
        pad_id = int(tokenizer.pad_token_id or 0)
        of_window = [name for name, own_windows in zip(called, windows, strict=False) for _ in own_windows]
        scored = score_tokens(model, flat, pad_id=pad_id, tokens_per_batch=tokens_per_batch, names=of_window)
        logps = iter(scored.logps.tolist())
        for (_, tail), pair, own_windows in zip(parts, encoded, windows, strict=True):
            logp = math.fsum(next(logps) for _ in own_windows)
            yield TextLogp(logp, len(pair.completion), len(tail.split()), len(tail.encode()))


def _parted(text: str, words: int) -> tuple[str, str]:
    """Given words, and the rest of the text."""
    parts = text.split(" ", words)
    return " ".join(parts[:words]), " ".join(parts[words:])


def token_windows(
    prompt: Sequence[int], completion: Sequence[int], window: int, stride: int
) -> list[tuple[Sequence[int], Sequence[int]]]:
    """Pairs (context, predicted ids), each of at most `window` ids; every id of `completion` is predicted once."""
    ids = [*prompt, *completion]
    pairs: list[tuple[Sequence[int], Sequence[int]]] = []
    done = len(prompt)
    while done < len(ids):
        end = min(max(window, done + 1) if not pairs else done + stride, len(ids))  # given words may fill the window
        pairs.append((ids[max(end - window, 0) : done], ids[done:end]))
        done = end
    return pairs
