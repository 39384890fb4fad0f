"""Figures on the card of an exported folder: a row per headline measure of its evaluations."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel

from pipeline_core.errors import ArtifactChanged
from pipeline_core.evaluation.measures import MEASURES_FILE
from pipeline_core.plugin.figures import GroupSummary
from pipeline_core.report.figures.cells import BetterDirection, Figure
from pipeline_core.report.render import wording
from pipeline_core.store.artifacts import Manifest


class CardFigure(BaseModel):
    """A figure as in an evaluation's file: null if undefined."""

    value: float | None = None
    low: float | None = None
    high: float | None = None
    n: int | None = None

    def told(self, unit: str) -> str:
        """`12.3 [11.0, 13.5] %`, or a dash if undefined."""
        if self.value is None:
            return wording.UNDEFINED
        figure = Figure(value=self.value, low=self.low, high=self.high)
        return f"{wording.figure(figure, unit)} {unit}".rstrip()


class WorstGroup(CardFigure):
    """Group with the worst figure."""

    name: str


class RecordedMeasure(CardFigure):
    """A measure of an evaluation. Without groups or without a better direction it has no worst group."""

    unit: str = ""
    better: BetterDirection = "neither"
    headline: bool = True
    worst_group: WorstGroup | None = None


class CardRow(BaseModel):
    """Line of the card's table, ready to print."""

    suite: str
    measure: str
    value: str
    items: str
    worst: str


class CardEvaluation(BaseModel):
    """An evaluation: its plugin (`suite`), its settings, and its measures by name."""

    suite: str
    settings: dict[str, Any]
    measures: dict[str, RecordedMeasure]

    @classmethod
    def read(cls, manifest: Manifest, folder: Path) -> CardEvaluation:
        """Read the measures of an evaluation; if its plugin wrote no file of measures, its metrics.

        Raises:
            ArtifactChanged: when the file cannot be read as measures.
        """
        file = folder / MEASURES_FILE
        try:
            entries = (
                json.loads(file.read_text(encoding="utf-8"))
                if file.exists()
                else {name: {"value": value} for name, value in manifest.metrics.items()}
            )
            return cls(suite=manifest.plugin, settings=manifest.config, measures=entries)
        except ValueError:  # invalid JSON, or JSON that is no measures
            raise ArtifactChanged(
                f"{file} holds no measures; remove {folder} and run its stage again to measure anew"
            ) from None


def rows_of(evaluations: Sequence[CardEvaluation], *, details: bool) -> Iterator[CardRow]:
    """Rows of headline measures, with `details` of all. A suite that occurs twice is named with differing settings."""
    for one in evaluations:
        # A suite may have measured a model twice, such as with 30 rows and with all.
        others = [other.settings for other in evaluations if other.suite == one.suite]
        suite = " ".join([one.suite, *([f"({_differing(one.settings, others)})"] if len(others) > 1 else [])])
        for name, measure in one.measures.items():
            if measure.headline or details:
                yield CardRow(
                    suite=suite,
                    measure=f"{wording.measure(name)} {wording.ARROWS[measure.better]}".rstrip(),
                    value=measure.told(measure.unit),
                    items=f"{measure.n:,}" if measure.n is not None else wording.UNDEFINED,
                    worst=_worst(measure),
                )


def beside(metrics: Mapping[str, float], evaluations: Sequence[CardEvaluation]) -> dict[str, float]:
    """Metrics that belong to no measure: counts of items."""
    measures = {name for evaluation in evaluations for name in evaluation.measures}
    # As `write_evaluation` names the metrics of a measure.
    parts = {"", *(f"/{part}" for part in get_args(GroupSummary)), "/undefined_groups"}
    return {
        name: value for name, value in metrics.items() if not any(name == m + part for m in measures for part in parts)
    }


def _worst(measure: RecordedMeasure) -> str:
    worst = measure.worst_group
    if worst is None:
        return ""
    count = f" (n = {worst.n:,})" if worst.n is not None else ""
    return f"{wording.plain(worst.name)}: {worst.told(measure.unit)}{count}"


def _differing(settings: Mapping[str, Any], others: Sequence[Mapping[str, Any]]) -> str:
    """The settings by which evaluations of one suite differ, as JSON."""
    names = [name for name in settings if any(other.get(name) != settings[name] for other in others)]
    return ", ".join(f"{name} {json.dumps(settings[name], ensure_ascii=False)}" for name in names)
