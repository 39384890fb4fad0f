"""Embeddings of texts as unit-length rows; their dot products are cosine similarities."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from pipeline_core.data.words import WORD
from pipeline_core.models import model_sources
from pipeline_core.quality.settings import MINILM, MINILM_PACKAGE, NEEDED_BY, TFIDF, QualitySettings
from pipeline_core.stats.vendi import Features

Embedder = Callable[[Sequence[str]], Features]
"""Maps N texts to unit-length rows (N, D), dense or sparse. All texts of a comparison go into one call."""
NGRAMS = 2
NO_WORD = ""
"""Feature of a text without words, so that all such texts are equal."""


def embedding_of(settings: QualitySettings, device: str) -> Embedder:
    """Embedding that the settings name.

    Raises:
        BadInput: the encoder is not available.
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
    """TF-IDF of word n-grams: count times (log(N / document frequency) + 1), scaled to unit length.

    The document frequencies are not smoothed, so a set given twice has the same weights.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    # With a callable, scikit-learn's own token pattern, which drops one-letter words, is not used.
    return TfidfVectorizer(analyzer=_grams, smooth_idf=False).fit_transform(texts)


def _grams(text: str) -> list[str]:
    words = WORD.findall(text.lower())
    spans = (range(len(words) - length + 1) for length in range(1, NGRAMS + 1))
    return [" ".join(words[at : at + length]) for length, span in enumerate(spans, 1) for at in span] or [NO_WORD]
