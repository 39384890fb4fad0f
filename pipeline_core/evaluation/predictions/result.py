"""What judging a file of predictions gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

Figures = Mapping[str, float | int | None]


@dataclass(frozen=True)
class Judged:
    """Figures by the two names of their cell (category and condition, part and domain); None where undefined.

    `notes` are sentences about what was left out.
    """

    figures: dict[str, dict[str, Figures]]
    notes: list[str] = field(default_factory=list)
