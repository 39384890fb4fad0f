"""Data of a report: the content of `report.json`, from which every form is rendered."""

# ruff: noqa: RUF012 - pydantic copies defaults
from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pipeline_core.evaluation.item_counts import DROPPED_PREFIXES
from pipeline_core.gate.settings import LimitKind
from pipeline_core.report.figures.cells import Figure, GroupTable, MeasureRow, ReportPart


class CalibrationPoint(ReportPart):
    """Bin of a calibration curve: mean probability, observed frequency with Wilson's 95 % interval, number of items."""

    confidence: float
    share: float
    low: float
    high: float
    n: int


class CalibrationTable(ReportPart):
    """Calibration curves of a measure, by model."""

    suite: str
    measure: str
    title: str
    curves: dict[str, list[CalibrationPoint]]


class ReportModel(ReportPart):
    """A model as a column of the tables."""

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
        """Label of the reward that the others are compared with."""
        return self.models[0].label


class GateVerdict(ReportPart):
    """Verdict on a model and a limit of the gate."""

    model: str
    seed: int | None = None
    """The seed, if a single seed of several is judged: the seed to be registered."""
    measure: str
    """Name such as `sandbox/bias/worst_group`; as written in the limit if no such measure exists."""
    part: Literal["", "worst_group", "gap", "mean"] = ""
    """Summary of groups that the last word of `measure` stands for; empty if it is part of the measure's own name."""
    group: str = ""
    """Group that the limit is on, or the worst group."""
    axis: str = ""
    """Axis of the measure's groups: `group` or `domain`."""
    unit: str = ""
    kind: LimitKind
    bound: float
    """Number in the configuration."""
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
    """Figure of the base model, if the limit compares with it."""
    worse: Figure | None = None
    """Difference to the base over the same resamples, with its interval; positive if the model is worse."""
    beyond: Figure | None = None
    """For `worse_by_share` by interval: `worse` minus the share of the base's figure; the interval covers both."""
    limit: float | None = None
    """Limit of the figure, or of `worse`, in the measure's unit."""
    outcome: Literal["passed", "failed", "undefined"] = "undefined"
    reason: str = ""
    """Reason why there is nothing to judge."""

    @property
    def passed(self) -> bool:
        """True if the model keeps to the limit; False for an undefined figure."""
        return self.outcome == "passed"


class ItemCounts(ReportPart):
    """Numbers of items of a suite that were measured, left out, cut or clipped."""

    suite: str
    models: list[str]
    """Labels of all models with these counts."""
    counts: dict[str, int]
    """`measured`, `left_out_<why>`, `cut` and further counts of the suite (`pipeline_core.evaluation.item_counts`)."""

    @property
    def has_losses(self) -> bool:
        """True if any item was left out, cut or clipped."""
        return any(count and name.startswith(DROPPED_PREFIXES) for name, count in self.counts.items())


class TrainingSummary(ReportPart):
    """Training of a model at a seed: first and last values of logged quantities."""

    label: str
    plugin: str
    seed: int
    steps: int
    first: dict[str, float]
    last: dict[str, float]


class Steadiness(ReportPart):
    """Gain of a policy's own reward in training: means over seeds, in the reward's own scale."""

    label: str
    seeds: int
    start: float
    end: float
    """Mean of the last tenth of the steps."""
    gained: float
    error: float
    """Standard error of `gained`: over seeds, or, for a single training, from the noise of its steps."""
    over_steps: float
    """Standard deviation of a step's mean reward around its rolling mean of twenty steps."""
    over_seeds: float | None = None
    """Standard deviation of `end` over seeds."""
    learned: bool
    """True if the gain exceeds its standard error; otherwise the spreads have no meaning."""


class ReportStage(ReportPart):
    """Stage of the run."""

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
    """The whole report."""

    name: str
    description: str = ""
    run_id: str = ""
    created: str = ""
    command: str = ""
    models: list[ReportModel]
    gate: list[GateVerdict] = []
    """Verdicts for every limit and every model it applies to."""
    rows: list[MeasureRow]
    details: list[MeasureRow] = []
    group_tables: list[GroupTable] = []
    items: list[ItemCounts] = []
    rewards: RewardComparison | None = None
    """None if no evaluation measured rewards."""
    calibration: list[CalibrationTable] = []
    training: list[TrainingSummary] = []
    steadiness: list[Steadiness] = []
    """Reward gained by policies that learn from their own samples."""
    stages: list[ReportStage]
    data: list[dict[str, Any]] = []
    versions: dict[str, str] = {}
    config: dict[str, Any] = {}
    info: dict[str, Any] = {}
    notes: list[str] = []
    sections: dict[str, Any] = {}
    """Data of sections without a field here, by name. Absent from `report.json` if empty."""

    @property
    def seeds(self) -> list[int]:
        """Sorted seeds that any policy was trained with."""
        return sorted({seed for model in self.models for seed in model.seeds})


@dataclass(frozen=True)
class ReportPaths:
    """Files of a written report, and its data."""

    html: Path
    markdown: Path
    json: Path
    report: Report
    figures: tuple[Path, ...] = ()
    """Plots that are also written as files, below `figures`."""
    card: Path | None = None
    """The model card; None if no policy was trained."""


def dump_report(report: Report) -> str:
    """The text of `report.json`."""
    without = None if report.sections else {"sections"}
    # `NaN` is no JSON, and many readers refuse it.
    return json.dumps(report.model_dump(mode="json", exclude=without), indent=1, allow_nan=False)


def load_report(path: Path) -> Report:
    """Read `report.json`; `path` is this file, its folder or a file beside it."""
    folder = path if path.is_dir() else path.parent
    return Report.model_validate_json((folder / "report.json").read_text(encoding="utf-8"))
