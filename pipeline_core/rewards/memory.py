"""Cache of reward scores, keyed by a digest of the text, and a timer of reward calls."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from pipeline_core.plugin.types import RewardFn

if TYPE_CHECKING:
    from torch import Tensor

REMEMBERED = 100_000
"""Largest number of cached scores; they take some ten megabytes."""

PromptCompletion = tuple[str, str]
"""A prompt and its completion."""


class ScoreMemory:
    """Cache of the scores of at most `most` texts; the oldest are dropped first."""

    def __init__(self, most: int = REMEMBERED) -> None:
        self._most = most
        self._scores: dict[bytes, float] = {}

    def recall(self, pairs: Iterable[PromptCompletion]) -> dict[PromptCompletion, float]:
        """Cached scores of `pairs`; pairs that are not in the cache are left out."""
        cached = ((pair, self._scores.get(_digest(pair))) for pair in pairs)
        return {pair: score for pair, score in cached if score is not None}

    def keep(self, scores: Mapping[PromptCompletion, float]) -> None:
        """Add scores to the cache."""
        for pair, score in scores.items():
            self._scores[_digest(pair)] = score
            if len(self._scores) > self._most:
                del self._scores[next(iter(self._scores))]  # a dict keeps the order of insertion


def _digest(pair: PromptCompletion) -> bytes:
    prompt, completion = (text.encode("utf-8", "surrogatepass") for text in pair)  # a lone surrogate is a text too
    # without the length, ('a', 'bc') and ('ab', 'c') would be one key
    return hashlib.blake2b(len(prompt).to_bytes(8, "big") + prompt + completion, digest_size=16).digest()


class Timed:
    """Reward that counts its texts and measures their scoring time."""

    def __init__(self, reward: RewardFn) -> None:
        self._reward = reward
        self._texts, self._seconds = 0, 0.0

    def __call__(self, prompts: Sequence[str], completions: Sequence[str]) -> Tensor:
        """Scores of the wrapped reward, (N,)."""
        began = time.perf_counter()
        answer = self._reward(prompts, completions)
        self._seconds += time.perf_counter() - began
        self._texts += len(prompts)
        return answer

    def speed(self) -> dict[str, float]:
        """Metric `perf/reward_texts_per_second` since the last call; empty if nothing was scored."""
        texts, seconds, self._texts, self._seconds = self._texts, self._seconds, 0, 0.0
        return {"perf/reward_texts_per_second": texts / seconds} if texts and seconds else {}
