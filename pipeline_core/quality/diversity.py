"""Vendi scores of a set and of a human set, on subsamples of equal size.

A Vendi score grows with the number of texts, so both subsamples have the same size. They are embedded in one call, so
that inverse document frequencies are the same for both.
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
"""Smallest number of rows for which a Vendi score is computed."""


@dataclass(frozen=True)
class DrawnTexts:
    """Rows to subsample: their texts, the subsampler, and row numbers by domain."""

    texts: RowTexts
    subsamples: Subsamples
    by_domain: Mapping[str, NDArray[np.integer]]

    def rows(self, domain: str | None) -> NDArray[np.integer]:
        """Row numbers of a domain; all row numbers if `domain` is None."""
        return np.arange(len(self.texts)) if domain is None else self.by_domain.get(domain, np.zeros(0, np.int64))

    def drawn(self, domain: str | None, size: int, number: int) -> list[str]:
        """Texts of a subsample. Prompt and completions of a row are joined into one text."""
        return ["\n".join(self.texts[int(row)]) for row in self.subsamples.draw(self.rows(domain), size, number)]


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
