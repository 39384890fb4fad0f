"""Comparison of a figure with a limit."""

from __future__ import annotations

NOISE = 1e-9
"""Tolerance for rounding, relative to the bound (absolute below 1)."""


def keeps(value: float, bound: float, *, is_ceiling: bool) -> bool:
    """True if a figure is no higher than a ceiling, or no lower than a floor, up to rounding."""
    beyond = value - bound if is_ceiling else bound - value
    return beyond <= NOISE * max(1.0, abs(bound))
