"""Vendi scores of a set and of a human set of equal size, by subsamples.

A score grows with the number of texts, so sets are compared on equally many. One embedding sees both subsamples at
once: what weighs words by how rare they are weighs them alike for both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline_core.data.texts import RowTexts
from pipeline_core.quality.embeddings import Embedder
from pipeline_core.quality.model import Diversity, SubsampleRange
from pipeline_core.quality.settings import QualitySettings
from pipeline_core.quality.subsamples import Subsamples
from pipeline_core.stats.vendi import vendi_score

FEWEST = 2
"""Rows below which there is no diversity to speak of."""


@dataclass(frozen=True)
class DrawnTexts:
    """Rows to draw from: their texts, how they are drawn, and their numbers by domain."""

    texts: RowTexts
    subsamples: Subsamples
    by_domain: Mapping[str, NDArray[np.integer]]

    def rows(self, domain: str | None) -> NDArray[np.integer]:
        """Numbers of the rows of a domain, of all rows where it is None."""
        return np.arange(len(self.texts)) if domain is None else self.by_domain.get(domain, np.zeros(0, np.int64))

    def drawn(self, domain: str | None, size: int, number: int) -> list[str]:
        """Texts of a subsample; a row's prompt and completions are one text."""
        return ["\n".join(self.texts[int(row)]) for row in self.subsamples.draw(self.rows(domain), size, number)]


def diversity(
    own: DrawnTexts, human: DrawnTexts | None, domain: str | None, embed: Embedder, settings: QualitySettings
) -> Diversity | None:
    """Scores of a domain, of all rows where it is None; None for fewer than two rows.

    Without enough human rows of that domain the set is scored by itself.
    """
    available = len(own.rows(domain))
    others = len(human.rows(domain)) if human else 0
    compared = human if others >= FEWEST else None
    size = min(settings.sample, available, *([others] if compared else []))
    if size < FEWEST:
        return None
    # Where the subsample is all there is, the next one would be the same.
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
    one, other = vendi_score(features[:size]), vendi_score(features[size:])
    return one, other, one / other


def _spread(values: Sequence[float | None]) -> SubsampleRange | None:
    known = [value for value in values if value is not None]
    return SubsampleRange(mean=float(np.mean(known)), low=min(known), high=max(known)) if known else None
