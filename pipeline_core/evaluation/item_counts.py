"""How many items a suite's figures rest on, and how many others were left out, cut or clipped.

They are metrics `<suite>/items/<what>`, which a report tells below the suite's name: nothing is dropped in silence.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline_core.plugin.types import Metrics

ITEMS = "/items/"
TRAINING = "training"
"""Stands for the suite where the rows are those of a training."""
MEASURED, LEFT_OUT = "measured", "left_out_"
DROPPED_PREFIXES = (LEFT_OUT, "cut", "clipped", "blank", "control_tokens")
"""How names of counts begin that tell of something lost."""


def item_counts(suite: str, measured: int, left_out: Mapping[str, int] | None = None, **others: int) -> Metrics:
    """Metrics of the items measured, of those left out by reason (`no_target`), and of what `others` name.

    By custom `cut` are items whose text was longer than there was room for, `clipped_by_<scorer>` texts whose score was
    brought back to its range.
    """
    why = {f"{LEFT_OUT}{reason}": count for reason, count in (left_out or {}).items()}
    counts = {MEASURED: measured} | why | others
    return {f"{suite}{ITEMS}{name}": float(count) for name, count in counts.items()}


def counts_in(metrics: Mapping[str, float]) -> dict[str, int]:
    """The counts among an evaluation's metrics, by what they count."""
    return {name.split(ITEMS, 1)[1]: int(value) for name, value in metrics.items() if ITEMS in name}
