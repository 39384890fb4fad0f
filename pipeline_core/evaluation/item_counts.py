"""Counts of items behind a suite's figures, and of items left out, cut or clipped.

The counts are metrics `<suite>/items/<count>`. A report lists them below the suite's name; no item is lost silently.
"""

from __future__ import annotations

from collections.abc import Mapping

from pipeline_core.plugin.types import Metrics

ITEMS = "/items/"
TRAINING = "training"
"""Takes the suite's place in the names of counts of training rows."""
MEASURED, LEFT_OUT = "measured", "left_out_"
DROPPED_PREFIXES = (LEFT_OUT, "cut", "clipped", "blank", "control_tokens")
"""Prefixes of counts of items dropped, cut or clipped."""


def item_counts(suite: str, measured: int, left_out: Mapping[str, int] | None = None, **others: int) -> Metrics:
    """Metrics: counts of the items measured, of those left out by reason (`no_target`), and of the `others` by name.

    By convention, `cut` counts items whose text was longer than the limit, and `clipped_by_<scorer>` texts whose score
    was clipped to its range.
    """
    by_reason = {f"{LEFT_OUT}{reason}": count for reason, count in (left_out or {}).items()}
    counts = {MEASURED: measured} | by_reason | others
    return {f"{suite}{ITEMS}{name}": float(count) for name, count in counts.items()}


def counts_in(metrics: Mapping[str, float]) -> dict[str, int]:
    """Item counts among an evaluation's metrics, by name."""
    return {name.split(ITEMS, 1)[1]: int(value) for name, value in metrics.items() if ITEMS in name}
