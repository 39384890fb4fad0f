"""Texts as rows of length 1, whose products are cosine similarities."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline_core.data.words import WORD
from pipeline_core.models import model_sources
from pipeline_core.quality.settings import MINILM, MINILM_PACKAGE, NEEDED_BY, TFIDF, QualitySettings

if TYPE_CHECKING:
    from pipeline_core.stats.vendi import Features

Embedder = Callable[[Sequence[str]], "Features"]
"""All texts to be compared, N, to (N, D) rows of length 1, dense or sparse."""
NGRAMS = 2
NO_WORD = ""
"""Stands for a text without any word, so that all of these are alike."""


def embedding_of(settings: QualitySettings, device: str) -> Embedder:
    """The embedding that the settings name.

    Raises:
        BadInput: it names an encoder that is not at hand.
    """
    if settings.embedding == TFIDF:
        return tfidf
    from pipeline_core.models.sentences import SentenceEncoder

    return SentenceEncoder(_folder(settings), device)


def _folder(settings: QualitySettings) -> Path:
    if settings.embedding == MINILM:
        return model_sources.package_folder(MINILM_PACKAGE)
    return model_sources.model_folder(settings.embedding, settings.revision, NEEDED_BY)


def tfidf(texts: Sequence[str]) -> Features:
    """Counts of word n-grams times log(N / texts with it) + 1, of length 1.

    Nothing is smoothed: a set given twice has the same weights.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    return TfidfVectorizer(analyzer=_grams, smooth_idf=False).fit_transform(texts)


def _grams(text: str) -> list[str]:
    words = WORD.findall(text.lower())
    spans = (range(len(words) - length + 1) for length in range(1, NGRAMS + 1))
    return [" ".join(words[at : at + length]) for length, span in enumerate(spans, 1) for at in span] or [NO_WORD]
