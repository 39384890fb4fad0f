"""How a figure is held against a limit."""

from __future__ import annotations

NOISE = 1e-9
"""What rounding may add to a figure that lies on its limit."""


def keeps(value: float, bound: float, *, is_ceiling: bool) -> bool:
    """Whether a figure is no higher than a ceiling, or no lower than a floor."""
    beyond = value - bound if is_ceiling else bound - value
    return beyond <= NOISE * max(1.0, abs(bound))
