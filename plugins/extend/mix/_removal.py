"""Rows that a mix leaves out: those like evaluation items, and those equal to or like a row before them.

Shape suffix: N rows of all parts, in their order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline_core.data.duplicates.distinct import KEPT, resembled
from pipeline_core.data.duplicates.sketches import sketch
from pipeline_core.data.texts import RowTexts, digests_of, occurrence_of
from pipeline_core.quality.contamination import contaminated
from pipeline_core.quality.items import EvaluationItems
from pipeline_core.quality.model import OfferedRows, Overlap
from pipeline_core.quality.report import RepeatShares

if TYPE_CHECKING:
    from datasets import Dataset

REASONS = ("kept", "contaminated", "duplicate", "near_duplicate")
"""By their numbers."""


@dataclass(frozen=True)
class RemovedRows:
    """Why each row is left out (a number of `REASONS`, 0: it is kept), and what was found in evaluation sets."""

    labels: tuple[str, ...]
    starts: NDArray[np.int64]
    reason_N: NDArray[np.uint8]
    overlaps: tuple[Overlap, ...]
    checked: bool
    """Whether there were evaluation sets to compare with."""

    def of(self, label: str) -> NDArray[np.uint8]:
        """Reasons for the rows of one part."""
        part = self.labels.index(label)
        return self.reason_N[self.starts[part] : self.starts[part + 1]]

    def counts(self, label: str) -> dict[str, int]:
        """Rows of a part by reason, those kept left out."""
        return {reason: int((self.of(label) == number).sum()) for number, reason in enumerate(REASONS) if number}

    def repeats(self, chosen: Mapping[str, NDArray[np.integer]]) -> RepeatShares:
        """Shares among some rows of some parts; rows that are kept have none."""
        reason = np.concatenate([self.of(label)[rows] for label, rows in chosen.items()])
        contaminated, duplicate, near = (float((reason == number).mean()) for number in (1, 2, 3))
        return RepeatShares(duplicate, duplicate + near, contaminated if self.checked else None)

    def offered(self) -> OfferedRows:
        """What all rows were like before any was removed."""
        repeats = self.repeats({label: np.arange(len(self.of(label))) for label in self.labels})
        return OfferedRows(
            rows=len(self.reason_N),
            duplicates=repeats.duplicates,
            near_duplicates=repeats.near_duplicates,
            contaminated=repeats.contaminated,
            contamination=self.overlaps,
        )


def find_removals(parts: Mapping[str, Dataset], items: Sequence[EvaluationItems], similarity: float) -> RemovedRows:
    """Compare all rows with the evaluation items and with the rows before them; earlier parts come first.

    Raises:
        BadInput: a part holds no preference rows, or a text is missing.
    """
    texts = RowTexts(parts)
    found_N, overlaps = contaminated(parts, items, similarity)
    reason_N = np.where(found_N, 1, 0).astype(np.uint8)
    repeated_N = occurrence_of(digests_of(texts, len(texts))) > 0
    reason_N[repeated_N & ~found_N] = 2
    alike_N = resembled(sketch(texts, len(texts), similarity), texts.__getitem__, np.flatnonzero(reason_N == 0))
    reason_N[alike_N != KEPT] = 3
    return RemovedRows(tuple(parts), texts.starts, reason_N, overlaps, checked=bool(items))
