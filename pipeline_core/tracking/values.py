"""Finite metrics and flat parameters, for all tracking backends."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
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


def flatten(value: Any, prefix: str = "") -> dict[str, str]:
    """Nested mappings and lists as `policy.0.beta: 0.1`, plain lists as one text, without empty ones and None."""
    if value is None:
        return {}
    if isinstance(value, Mapping):
        return _merged((f"{prefix}.{key}" if prefix else str(key), item) for key, item in value.items())
    if isinstance(value, (list, tuple)) and any(isinstance(item, (Mapping, list, tuple)) for item in value):
        return _merged((f"{prefix}.{index}", item) for index, item in enumerate(value))
    if isinstance(value, (list, tuple)):
        return {prefix: ", ".join(map(_text, value))} if value else {}
    return {prefix: _text(value)}


def _merged(items: Iterator[tuple[str, Any]]) -> dict[str, str]:
    return {name: text for prefix, item in items for name, text in flatten(item, prefix).items()}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
