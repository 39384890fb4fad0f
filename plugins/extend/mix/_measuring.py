"""The quality of what was taken, as a whole and part by part."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

from pipeline_core.quality.model import Quality
from pipeline_core.quality.report import measure_quality
from pipeline_core.quality.settings import QualitySettings
from plugins.extend.mix._removal import Removal
from plugins.extend.mix._taking import Chosen

if TYPE_CHECKING:
    from datasets import Dataset


def measure_mix(
    name: str,
    parts: Mapping[str, Dataset],
    chosen: Chosen,
    removal: Removal,
    settings: QualitySettings,
    human: Dataset | None,
    *,
    similarity: float,
    seed: int,
    device: str,
) -> Quality:
    """Measure the rows taken of all parts together, and of every part that gave some; with what was offered."""
    taken = {label: rows.select(chosen[label]) for label, rows in parts.items() if len(chosen[label])}
    measured = partial(measure_quality, similarity=similarity, seed=seed, device=device)
    whole = measured(name, taken, settings, human, removal.repeats(chosen))
    by_part = {
        label: measured(label, {label: rows}, settings, human, removal.repeats({label: chosen[label]}))
        for label, rows in taken.items()
    }
    return whole.model_copy(update={"offered": removal.offered(), "parts": by_part})
