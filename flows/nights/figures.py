"""Figures of recorded runs: from the report of a run, or from the copy that stays when the run is removed."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel, TypeAdapter

from flows.records import RunRecord, all_runs
from pipeline_core.errors import BadInput
from pipeline_core.files.atomic import replace_file
from pipeline_core.files.json_files import Damaged, read_as
from pipeline_core.gate.names import canonical, part_names
from pipeline_core.report.figures.cells import BetterDirection, Figure
from pipeline_core.store.places import Places

CHANGES = "changes.json"
"""File of a run's folder: its figures compared with earlier runs."""
log = logging.getLogger(__name__)


class PastFigure(BaseModel):
    """Figure of a model; `reason` says why it is undefined."""

    model: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    n: int = 0
    reason: str = ""

    @property
    def figure(self) -> Figure:
        """The figure in the report's form."""
        return Figure(value=self.value, low=self.low, high=self.high, n=self.n)


class PastRow(BaseModel):
    """Row of a report: a measure, or a summary of its groups."""

    title: str
    unit: str = ""
    better: BetterDirection = "neither"
    axis: str = ""
    part: str = ""
    headline: bool = True
    cells: list[PastFigure] = []

    @property
    def names(self) -> set[str]:
        """Spellings of the row's name, `sandbox/bias/worst_group` or as printed `sandbox/bias/worst_domain`."""
        title = canonical(self.title)
        printed = part_names(self.axis or "group").get(self.part, "").replace(" ", "_")
        return {title, title.removesuffix(self.part) + printed if self.part else title}


class MeasureChange(BaseModel):
    """Figure of a model in two runs: the later minus the earlier, with its 95 % interval."""

    model: str
    title: str
    unit: str = ""
    better: BetterDirection = "neither"
    against: str
    """`previous` or `reference`."""
    run_id: str
    run_name: str
    """The earlier run."""
    before: Figure
    now: Figure
    difference: float
    low: float
    high: float
    paired: bool
    """True if the same items were drawn for both; else the interval comes from those of both figures."""

    @property
    def verdict(self) -> str:
        """`equal`, `unclear`, `worse`, `better`, or `different` for a measure without a better direction."""
        if self.difference == 0 and self.paired:
            return "equal"
        if self.low <= 0 <= self.high:
            return "unclear"
        if self.better == "neither":
            return "different"
        return "worse" if (self.difference > 0) == (self.better == "lower") else "better"


class RunFigures(BaseModel):
    """Figures of a run. `fault` says why there are none."""

    run_id: str
    run_name: str = ""
    preset: str = ""
    deployment: str | None = None
    scheduled: bool = False
    status: str = ""
    started: float = 0.0
    commit: str | None = None
    rows: list[PastRow] = []
    changes: list[MeasureChange] = []
    fault: str = ""
    removed: bool = False
    """True if the run itself has been removed, and these figures are a copy."""

    @classmethod
    def of(cls, record: RunRecord, runs: Path) -> RunFigures:
        """Figures of a recorded run; a missing or damaged report is a `fault`."""
        names = ("run_id", "run_name", "deployment", "scheduled", "status", "started", "commit")
        figures = cls(**{name: getattr(record, name) for name in names}, preset=record.name)
        figures.run_name = figures.run_name or record.run_id[:12]
        file = runs / record.run_id / "report.json"
        try:
            report = read_as(_REPORTS, file)
            figures.rows = [*report.rows, *report.details]
            for part in [report.rewards] if report.rewards else []:
                figures.rows += [*part.rows, *part.details]
        except FileNotFoundError:
            figures.fault = f"{record.status}, without a report" if not record.report else f"{file} is missing"
        except Damaged as error:
            figures.fault = f"{file} cannot be read: {error}"
        try:
            figures.changes = read_as(_CHANGES, runs / record.run_id / CHANGES)
        except FileNotFoundError:
            pass
        except Damaged as error:
            log.warning("left out: %s cannot be read: %s", runs / record.run_id / CHANGES, error)
        return figures

    def row(self, title: str) -> PastRow | None:
        """Row by its title."""
        return next((row for row in self.rows if row.title == title), None)

    def figure(self, title: str, model: str) -> PastFigure | None:
        """Figure of a model on a measure; None if the run did not measure it."""
        row = self.row(title)
        return next((cell for cell in row.cells if cell.model == model), None) if row else None


class _Rows(BaseModel):
    rows: list[PastRow] = []
    details: list[PastRow] = []


class _ReportRows(_Rows):
    rewards: _Rows | None = None


_REPORTS = TypeAdapter(_ReportRows)
_CHANGES = TypeAdapter(list[MeasureChange])
_COPIES = TypeAdapter(RunFigures)


def write_changes(changes: list[MeasureChange], folder: Path) -> None:
    """Write the comparisons of a run into its folder."""
    with replace_file(folder / CHANGES, synced=False) as partial:
        partial.write_bytes(_CHANGES.dump_json(changes, indent=1))


def copies(home: Path) -> Path:
    """Folder of the figures of removed runs."""
    return home / "history"


def keep_copy(figures: RunFigures, home: Path) -> None:
    """Write the figures of a run that is about to be removed."""
    kept = figures.model_copy(update={"removed": True})
    with replace_file(copies(home) / f"{figures.run_id}.json") as partial:
        partial.write_text(kept.model_dump_json(), encoding="utf-8")


def all_figures(places: Places) -> list[RunFigures]:
    """Figures of all recorded and removed runs, oldest first; a copy that cannot be read is named and left out."""
    present = [RunFigures.of(record, places.runs) for record in all_runs(places.runs)]
    known = {figures.run_id for figures in present}
    return sorted([*present, *_removed(places.home, known)], key=lambda figures: figures.started)


def _removed(home: Path, known: set[str]) -> Iterator[RunFigures]:
    for file in copies(home).glob("*.json"):
        if file.stem in known:  # its removal was interrupted
            continue
        try:
            yield read_as(_COPIES, file)
        except (FileNotFoundError, Damaged) as error:
            log.warning("left out: %s cannot be read: %s", file, error)


def find_title(text: str, runs: list[RunFigures]) -> str:
    """Title of the measure that `text` names in any of the runs, by its whole name or its last words.

    Raises:
        BadInput: none or several measures have it; with those there are.
    """
    wanted = canonical(text)
    rows = {row.title: row for run in runs for row in run.rows}
    whole = [title for title, row in rows.items() if wanted in row.names]
    found = whole or [title for title, row in rows.items() if any(name.endswith(f"/{wanted}") for name in row.names)]
    if len(found) == 1:
        return found[0]
    if found:
        raise BadInput(f"{text!r} may be one of {', '.join(sorted(found))}")
    raise BadInput(f"unknown measure {text!r}. Measured were: {', '.join(rows) or 'none'}.")
