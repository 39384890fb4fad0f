"""Data of a sweep's report: the content of its `report.json`."""

# ruff: noqa: RUF012 - pydantic copies defaults
from __future__ import annotations

from typing import Literal

from pipeline_core.report.figures.cells import MeasureRow, ReportPart

Standing = Literal["front", "open", "beaten", "unmeasured"]
"""Place in the trade-off of two measures.

`front`: no other setting has better values. `open`: another one has, but by no clear difference. `beaten`: another one
has, and is clearly better on a measure. `unmeasured`: a figure is missing.
"""
IN_WORDS: dict[Standing, str] = {
    "front": "on the front",
    "open": "not clearly behind it",
    "beaten": "behind it",
    "unmeasured": "not measured",
}


class SweptAxis(ReportPart):
    """A key of the configuration and the values that the sweep gave it, as texts."""

    path: str
    values: list[str]


class SweepPoint(ReportPart):
    """A point of the grid and how its run ended; links are absent where nobody has made a page."""

    number: int
    values: dict[str, str]
    status: str
    failure: str = ""
    run_id: str = ""
    report: str = ""
    """Path of the run's report, relative to the folder of the sweep's report where it lies in the same home."""
    tracking: str = ""
    prefect: str = ""
    seconds: float = 0.0


class Candidate(ReportPart):
    """A model at a setting, over all of its seeds."""

    label: str
    model: str
    """Label of the policy, or `base`."""
    values: dict[str, str]
    """Values of the axes, without the seeds; an axis that does not reach the model is absent."""
    seeds: list[int] = []
    points: list[int] = []
    """Numbers of the points that measured it."""
    standing: Standing = "unmeasured"
    behind: list[str] = []
    """Labels of settings with better values on both measures; only the clearly better ones if `beaten`."""
    alike: list[str] = []
    """For the front: labels of others whose difference to it is clear on neither measure."""


class SweepReport(ReportPart):
    """The whole report."""

    name: str
    sweep_id: str
    description: str = ""
    created: str = ""
    command: str = ""
    engine: str = ""
    """Place where the points were run, in words."""
    axes: list[SweptAxis]
    points: list[SweepPoint]
    candidates: list[Candidate] = []
    bias: str = ""
    """Title of the first measure of the trade-off; empty if nothing was measured."""
    capability: str = ""
    """Title of the second."""
    rows: list[MeasureRow] = []
    """Headline measures of every candidate, by its label."""
    stage_runs: dict[str, int] = {}
    """Numbers of stage runs: `planned` over all points, `distinct`, and `stored` in the store before the sweep."""
    versions: dict[str, str] = {}
    notes: list[str] = []

    def row(self, title: str) -> MeasureRow:
        """Row of a measure."""
        return next(row for row in self.rows if row.title == title)

    @property
    def placed(self) -> list[Candidate]:
        """Candidates that have both values of the trade-off."""
        return [one for one in self.candidates if one.standing != "unmeasured"]

    @property
    def failed(self) -> list[SweepPoint]:
        """Points that did not complete."""
        return [point for point in self.points if point.status != "completed"]
