"""TF-IDF of word n-grams over a prompt and its completion, kept as plain numbers instead of a pickled vectoriser."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline_core.errors import BadInput

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

WORD = re.compile(r"\w+(?:['’-]\w+)*")
BORDER = "|"
"""Marks the words of a completion; no word contains it."""


@dataclass(frozen=True)
class WordFeatures:
    """F known n-grams in the order of their columns, and their inverse document frequencies."""

    ngrams: int
    terms: list[str]
    idf_F: NDArray[np.float64]

    @classmethod
    def learn(
        cls, prompts: Sequence[str], completions: Sequence[str], ngrams: int, min_count: int, max_features: int
    ) -> WordFeatures:
        """Features of the n-grams that occur in at least `min_count` texts, at most `max_features`, the most frequent.

        Raises:
            BadInput: no n-gram occurs often enough.
        """
        from sklearn.feature_extraction.text import TfidfVectorizer

        vectorizer = TfidfVectorizer(
            analyzer=lambda pair: grams(pair, ngrams), min_df=min_count, max_features=max_features
        )
        try:
            vectorizer.fit(list(zip(prompts, completions, strict=True)))
        except ValueError as error:
            raise BadInput(f"no word occurs in {min_count} of the {len(prompts)} texts; lower `min_count`") from error
        return cls(ngrams, vectorizer.get_feature_names_out().tolist(), vectorizer.idf_)

    def transform(self, prompts: Sequence[str], completions: Sequence[str]) -> csr_matrix:
        """Features (N, F): (1 + log count) * idf, scaled to length 1 for the prompt and for the completion n-grams."""
        from sklearn.preprocessing import normalize

        features = self._counter.transform(list(zip(prompts, completions, strict=True)))
        features.data = (1 + np.log(features.data)) * self.idf_F[features.indices]
        of_completion = self._of_completion[features.indices]
        halves = [features.copy(), features]
        for half, mask in zip(halves, (of_completion, ~of_completion), strict=True):
            half.data = half.data * mask
        return normalize(halves[0]) + normalize(halves[1])

    @cached_property
    def _counter(self) -> Any:
        from sklearn.feature_extraction.text import CountVectorizer

        columns = {term: column for column, term in enumerate(self.terms)}
        return CountVectorizer(analyzer=lambda pair: grams(pair, self.ngrams), vocabulary=columns, dtype=np.float64)

    @cached_property
    def _of_completion(self) -> NDArray[np.bool_]:
        return np.array([BORDER in term for term in self.terms])


def grams(pair: tuple[str, str], longest: int) -> list[str]:
    """Word n-grams of both texts in lower case; a completion's words are marked, also in n-grams across the border.

    `grams(("He is", "late."), 2)` is `["he", "is", "|late", "he is", "is |late"]`.
    """
    prompt, completion = pair
    words = [*WORD.findall(prompt.lower()), *(BORDER + word for word in WORD.findall(completion.lower()))]
    ngrams = list(words)
    for length in range(2, longest + 1):
        ngrams += [" ".join(words[start : start + length]) for start in range(len(words) - length + 1)]
    return ngrams
