"""Finite metrics, as every tracking backend accepts them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

NONFINITE = "nonfinite/"
"""Prefix of counts of NaN or infinite values: MLflow would draw infinity as 1.8e308, and JSON has neither."""


def finite(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Metrics as floats, without values that are no number; NaN and infinity become a count of 1 under `nonfinite/`."""
    named = ((name, number) for name, value in metrics.items() if (number := _number(value)) is not None)
    return dict((name, value) if math.isfinite(value) else (NONFINITE + name, 1.0) for name, value in named)


def _number(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return None
