"""Length balance of chosen and rejected completions, distribution of labels, and coverage of groups.

Shape suffix: N rows.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
from numpy.typing import NDArray

from pipeline_core.data.groups import NONE
from pipeline_core.quality.columns import RowColumns
from pipeline_core.quality.model import Coverage, CoverageCell, LabelSummary, LengthBalance

MOST_CELLS = 1000


def lengths_of(chosen_N: NDArray[np.int32], rejected_N: NDArray[np.int32]) -> LengthBalance:
    """Mean lengths, shares of longer completions, and the AUC of length as a predictor of the chosen completion."""
    return LengthBalance(
        chosen=float(chosen_N.mean()),
        rejected=float(rejected_N.mean()),
        chosen_longer=float((chosen_N > rejected_N).mean()),
        rejected_longer=float((chosen_N < rejected_N).mean()),
        auc=auc(chosen_N, rejected_N),
    )


def auc(positive_N: NDArray[np.integer], negative_N: NDArray[np.integer]) -> float:
    """Probability that a positive exceeds a negative; a tie counts 0.5 (Mann-Whitney U over the number of pairs)."""
    ordered = np.sort(negative_N)
    # their mean counts a tie as one half; sorting avoids all N^2 comparisons
    below, up_to = (np.searchsorted(ordered, positive_N, side) for side in ("left", "right"))
    return float((below + up_to).mean() / 2 / len(ordered))


def labels_of(label_N: NDArray[np.float64]) -> LabelSummary | None:
    """Summary of the labels; None if no row has a label."""
    known = label_N[~np.isnan(label_N)]
    if not len(known):
        return None
    return LabelSummary(labelled=len(known), mean=float(known.mean()), at_least_half=float((known >= 0.5).mean()))


def coverage_of(columns: RowColumns) -> Coverage:
    """Row counts by domain, group and template, sorted by count (largest first), then by name."""
    counts: Counter[tuple[str, str, str]] = columns.people
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    cells = (CoverageCell(domain=d, group=g, template=t, rows=rows) for (d, g, t), rows in ordered[:MOST_CELLS])
    return Coverage(
        groups=len({(domain, group) for domain, group, _ in counts if group != NONE}),
        templates=len({template for *_, template in counts if template != NONE}),
        combinations=len(counts),
        cells=tuple(cells),
    )
