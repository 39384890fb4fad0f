"""Vendi scores of a set and of a human set, on subsamples of equal size.

A Vendi score grows with the number of texts, so both subsamples have the same size. They are embedded in one call, so
that inverse document frequencies are the same for both.

Shape suffix: N rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline_core.data.texts import RowTexts, digests_of, occurrence_of
from pipeline_core.quality.embeddings import Embedder
from pipeline_core.quality.model import Diversity, SubsampleRange
from pipeline_core.quality.settings import QualitySettings
from pipeline_core.stats.vendi import vendi_score

FEWEST = 2
"""Smallest number of rows for which a Vendi score is computed."""


class DrawnTexts:
    """Texts of rows, and seeded subsamples that do not depend on row order: the rows with the smallest hash of their
    digest and, to tell equal rows apart, their occurrence number. `by_domain`: row numbers of each domain.
    """

    def __init__(self, texts: RowTexts, by_domain: Mapping[str, NDArray[np.integer]], seed: int) -> None:
        self.by_domain = by_domain
        self._texts, self._seed = texts, seed
        digests_N = digests_of(texts, len(texts))
        self._keys_N = _mixed(digests_N + _mixed(occurrence_of(digests_N).astype(np.uint64)))

    def rows(self, domain: str | None) -> NDArray[np.integer]:
        """Row numbers of a domain; all row numbers if `domain` is None."""
        return np.arange(len(self._texts)) if domain is None else self.by_domain.get(domain, np.zeros(0, np.int64))

    def drawn(self, domain: str | None, size: int, number: int) -> list[str]:
        """Texts of subsample `number`, of `size` rows. Prompt and completions of a row are joined into one text."""
        salt = np.random.default_rng([self._seed, number]).integers(0, 2**64, dtype=np.uint64)
        rows = self.rows(domain)
        drawn = rows[np.argsort(_mixed(self._keys_N[rows] ^ salt), kind="stable")[:size]]
        return ["\n".join(self._texts[int(row)]) for row in drawn]


def diversity(
    own: DrawnTexts, human: DrawnTexts | None, domain: str | None, embed: Embedder, settings: QualitySettings
) -> Diversity | None:
    """Vendi scores of a domain, or of all rows if `domain` is None. Returns None for fewer than two rows.

    With fewer than two human rows of the domain, only the set itself is scored.
    """
    available = len(own.rows(domain))
    others = len(human.rows(domain)) if human else 0
    compared = human if others >= FEWEST else None
    size = min(settings.sample, available, *([others] if compared else []))
    if size < FEWEST:
        return None
    # If a subsample contains all rows, every further subsample is identical.
    same = size == available and (compared is None or size == others)
    numbers = range(1 if same else settings.subsamples)
    scores = [_scores(own, compared, domain, size, number, embed) for number in numbers]
    vendi, human_vendi, relative = (_spread(column) for column in zip(*scores, strict=True))
    assert vendi
    return Diversity(n=size, vendi=vendi, human=human_vendi, relative=relative)


def _scores(
    own: DrawnTexts, human: DrawnTexts | None, domain: str | None, size: int, number: int, embed: Embedder
) -> tuple[float, float | None, float | None]:
    texts = own.drawn(domain, size, number)
    if human is None:
        return vendi_score(embed(texts)), None, None
    features = embed(texts + human.drawn(domain, size, number))
    own_score, human_score = vendi_score(features[:size]), vendi_score(features[size:])
    return own_score, human_score, own_score / human_score


def _spread(values: Sequence[float | None]) -> SubsampleRange | None:
    known = [value for value in values if value is not None]
    return SubsampleRange(mean=float(np.mean(known)), low=min(known), high=max(known)) if known else None


def _mixed(numbers_N: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Finaliser of splitmix64, a bijective hash: distinct numbers stay distinct, in pseudo-random order."""
    mixed = numbers_N + np.uint64(0x9E3779B97F4A7C15)  # uint64 wraps around, as the hash needs
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))
