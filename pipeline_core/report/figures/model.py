"""What a report says, as data: `report.json` is this, and every rendering starts from it."""

# ruff: noqa: RUF012 - pydantic copies defaults
from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pipeline_core.evaluation.item_counts import DROPPED_PREFIXES
from pipeline_core.report.figures.cells import Figure, GroupTable, MeasureRow, ReportPart


class CalibrationPoint(ReportPart):
    """One bin of a calibration curve: mean probability, share that came true with Wilson's 95 % interval, items."""

    confidence: float
    share: float
    low: float
    high: float
    n: int


class CalibrationTable(ReportPart):
    """Calibration curves of one measure, by model."""

    suite: str
    measure: str
    title: str
    curves: dict[str, list[CalibrationPoint]]


class ReportModel(ReportPart):
    """A column of the tables."""

    label: str
    plugin: str
    seeds: list[int] = []


class RewardComparison(ReportPart):
    """The rewards of the run side by side, each compared with the first."""

    models: list[ReportModel]
    rows: list[MeasureRow]
    details: list[MeasureRow] = []
    group_tables: list[GroupTable] = []
    notes: list[str] = []

    @property
    def first(self) -> str:
        """What the others are compared with."""
        return self.models[0].label


class GateVerdict(ReportPart):
    """Whether one model keeps to one limit of the gate."""

    model: str
    seed: int | None = None
    """Given where one seed of several, the one to be registered, is judged alone."""
    measure: str
    """`sandbox/bias/worst_group`; as it was written where there is no such measure."""
    part: Literal["", "worst_group", "gap", "mean"] = ""
    """Which part of its groups the last word of `measure` means; none where that is the measure's own name."""
    group: str = ""
    """Which group it is about, or which is the worst."""
    axis: str = ""
    """What the measure's groups are: `group` or `domain`."""
    unit: str = ""
    kind: Literal["at_most", "at_least", "worse_by", "worse_by_share"]
    bound: float
    """The number in the configuration."""
    by: Literal["value", "interval"] = "value"
    value: float | None = None
    low: float | None = None
    high: float | None = None
    n: int = 0
    n_most: int | None = None
    n_clusters: int | None = None
    n_clusters_most: int | None = None
    resampled: str = "item"
    """Noun of the clusters."""
    base: float | None = None
    """The base model's figure, where the limit compares with it."""
    worse: Figure | None = None
    """By how much the model is worse than the base, with its interval; items are drawn for both."""
    beyond: Figure | None = None
    """Of `worse_by_share` by interval: `worse` minus the share of the base's figure, which is as uncertain as that."""
    limit: float | None = None
    """What the figure, or `worse`, is held against, in the measure's unit."""
    outcome: Literal["passed", "failed", "undefined"] = "undefined"
    reason: str = ""
    """Why there is nothing to judge."""

    @property
    def passed(self) -> bool:
        """Whether the model keeps to the limit; what is undefined does not."""
        return self.outcome == "passed"


class ItemCounts(ReportPart):
    """How many items of a suite a model was measured on, and how many others were left out, cut or clipped."""

    suite: str
    models: list[str]
    """Those of which all counts are these."""
    counts: dict[str, int]
    """`measured`, `left_out_<why>`, `cut` and what else the suite counts (`pipeline_core.evaluation.item_counts`)."""

    @property
    def has_losses(self) -> bool:
        """Whether anything was left out, cut or clipped."""
        return any(count and name.startswith(DROPPED_PREFIXES) for name, count in self.counts.items())


class TrainingSummary(ReportPart):
    """How one model's training went, in a line."""

    label: str
    plugin: str
    seed: int
    steps: int
    first: dict[str, float]
    last: dict[str, float]


class Steadiness(ReportPart):
    """How one policy's own reward rose in training: means over seeds, in the reward's own scale."""

    label: str
    seeds: int
    start: float
    end: float
    """Mean of the last tenth of the steps."""
    gained: float
    error: float
    """Standard error of what was gained: over seeds, or from the noise of the steps of a single training."""
    over_steps: float
    """Standard deviation of a step's mean reward about its rolling mean of twenty steps."""
    over_seeds: float | None = None
    """Standard deviation of the end over seeds."""
    learned: bool
    """Whether the gain exceeds its standard error: others are not compared."""


class ReportStage(ReportPart):
    """One stage of the run."""

    stage: str
    plugin: str
    label: str
    seed: int
    suite: str = ""
    key: str
    digest: str
    reused: bool
    seconds: float


class Report(ReportPart):
    """All of it."""

    name: str
    description: str = ""
    run_id: str = ""
    created: str = ""
    command: str = ""
    models: list[ReportModel]
    gate: list[GateVerdict] = []
    """One for every limit and every model it is about."""
    rows: list[MeasureRow]
    details: list[MeasureRow] = []
    group_tables: list[GroupTable] = []
    items: list[ItemCounts] = []
    rewards: RewardComparison | None = None
    """None where no evaluation was about rewards."""
    calibration: list[CalibrationTable] = []
    training: list[TrainingSummary] = []
    steadiness: list[Steadiness] = []
    """Of policies that learn from their own samples."""
    stages: list[ReportStage]
    data: list[dict[str, Any]] = []
    versions: dict[str, str] = {}
    config: dict[str, Any] = {}
    info: dict[str, Any] = {}
    notes: list[str] = []
    sections: dict[str, Any] = {}
    """Parts of sections that have no field here, by name. `report.json` leaves it out where it is empty."""

    @property
    def seeds(self) -> list[int]:
        """All seeds any policy was trained with."""
        return sorted({seed for model in self.models for seed in model.seeds})


@dataclass(frozen=True)
class ReportPaths:
    """Where the report was written, and what it says."""

    html: Path
    markdown: Path
    json: Path
    report: Report
    figures: tuple[Path, ...] = ()
    """Plots that are files of their own as well, below `figures`."""
    card: Path | None = None
    """The model card; None where no policy was trained."""


def dump_report(report: Report) -> str:
    """The text of `report.json`."""
    without = None if report.sections else {"sections"}
    return json.dumps(report.model_dump(mode="json", exclude=without), indent=1, allow_nan=False)


def load_report(path: Path) -> Report:
    """Read `report.json`, given itself, its folder or a file beside it."""
    folder = path if path.is_dir() else path.parent
    return Report.model_validate_json((folder / "report.json").read_text(encoding="utf-8"))
