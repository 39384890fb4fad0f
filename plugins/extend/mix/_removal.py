"""Finds the rows that a mix removes: contaminated rows, duplicates and near-duplicates of earlier rows.

Shape suffix: N rows of all parts, in order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
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
"""Names of the reasons; the index is the number in `reason_N`."""


@dataclass(frozen=True)
class RemovedRows:
    """Reason for the removal of each row, as an index into `REASONS` (0: kept), and matches with evaluation sets."""

    labels: tuple[str, ...]
    starts: NDArray[np.int64]
    reason_N: NDArray[np.uint8]
    overlaps: tuple[Overlap, ...]
    checked: bool
    """True if rows were compared with evaluation sets."""

    def of(self, label: str) -> NDArray[np.uint8]:
        """Reason numbers of the rows of a part."""
        part = self.labels.index(label)
        return self.reason_N[self.starts[part] : self.starts[part + 1]]

    def counts(self, label: str) -> dict[str, int]:
        """Number of removed rows of a part, by reason."""
        return {reason: int((self.of(label) == number).sum()) for number, reason in enumerate(REASONS) if number}

    def repeats(self, chosen: Mapping[str, NDArray[np.integer]]) -> RepeatShares:
        """Fractions of contaminated, duplicate and near-duplicate rows among the selected rows (0 for kept rows)."""
        reason = np.concatenate([self.of(label)[rows] for label, rows in chosen.items()])
        contaminated, duplicate, near = (float((reason == number).mean()) for number in (1, 2, 3))
        # equal rows count as near-duplicates too, as in `repeats_in`; compared with nothing is not the share 0
        return RepeatShares(duplicate, duplicate + near, contaminated if self.checked else None)

    def offered(self) -> OfferedRows:
        """Counts and shares over all rows before removal."""
        repeats = self.repeats({label: np.arange(len(self.of(label))) for label in self.labels})
        return OfferedRows(rows=len(self.reason_N), **vars(replace(repeats, contamination=self.overlaps)))


def find_removals(parts: Mapping[str, Dataset], items: Sequence[EvaluationItems], similarity: float) -> RemovedRows:
    """Compare every row with the evaluation items and with all rows before it, in the order of the parts.

    Raises:
        BadInput: a part has other than preference rows, or a text is missing.
    """
    texts = RowTexts(parts)
    found_N, overlaps = contaminated(parts, items, similarity)
    reason_N = np.where(found_N, 1, 0).astype(np.uint8)
    repeated_N = occurrence_of(digests_of(texts, len(texts))) > 0
    reason_N[repeated_N & ~found_N] = 2  # one reason for each row, so that the counts add up
    # a removed row is no reason to drop a row that only resembles it
    alike_N = resembled(sketch(texts, len(texts), similarity), texts.__getitem__, np.flatnonzero(reason_N == 0))
    reason_N[alike_N != KEPT] = 3
    return RemovedRows(tuple(parts), texts.starts, reason_N, overlaps, checked=bool(items))
