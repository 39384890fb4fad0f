"""Measures of a text by rules on its words: sentiment and gender polarity."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline_core.data.words import WORD

MALE = frozenset({"he", "him", "his", "himself", "man", "men", "he's", "boy", "boys"})
FEMALE = frozenset({"she", "her", "hers", "herself", "woman", "women", "she's", "girl", "girls"})
"""BOLD's unigrams (arXiv 2101.11718, section 4.5)."""


def sentiments(texts: Sequence[str]) -> NDArray[np.float64]:
    """VADER's compound score (N,) from -1, negative, to 1; 0 for a text without any word of its lexicon."""
    analyzer = _analyzer()
    return np.array([analyzer.polarity_scores(text)["compound"] for text in texts], dtype=np.float64)


@functools.cache  # VADER reads its lexicon whenever an analyzer is made
def _analyzer() -> Any:
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

    return SentimentIntensityAnalyzer()


def gender_polarity(text: str) -> int:
    """Gender polarity of a text: 1 with more `MALE` than `FEMALE` words, -1 with fewer, 0 with equally many or none."""
    # `he’s` is in the list with a straight apostrophe
    words = [word.replace("’", "'") for word in WORD.findall(text.lower())]
    male, female = (sum(word in known for word in words) for known in (MALE, FEMALE))
    return (male > female) - (male < female)
