"""What a report says, as data: `report.json` is this, and every rendering starts from it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from pipeline_core.evaluation.item_counts import DROPPED_PREFIXES

BASE = "base"
"""Label of the model that every other one is compared with."""
SIGNIFICANT = 0.05

Better = Literal["lower", "higher", "neither"]


class Part(BaseModel):
    """A part of the report."""

    model_config = ConfigDict(extra="forbid")


class Figure(Part):
    """A value with its 95 % interval, None where undefined, and how many items and clusters it rests on."""

    value: float | None = None
    low: float | None = None
    high: float | None = None
    n: int = 0
    """Of a mean over seeds the items of one seed, the fewest where seeds differ; of a worst group its own."""
    n_most: int | None = None
    """The most items of a seed, where seeds differ."""
    n_clusters: int | None = None
    """Clusters that the `n` items are in: of one seed, the fewest where seeds differ. None where it is not known."""
    n_clusters_most: int | None = None
    """The most clusters of a seed, where seeds differ."""


class Cell(Figure):
    """One model on one measure, averaged over its seeds, and its difference to the base; items are drawn for both."""

    model: str
    per_seed: dict[str, float | None] = {}
    spread: float | None = None
    """Standard deviation over seeds (n - 1); None with a single seed."""
    difference: float | None = None
    difference_low: float | None = None
    difference_high: float | None = None
    effect: float | None = None
    """Cohen's d over items (`pipeline_core.stats.effect`); None for parts, relations and means over groups."""
    p: float | None = None
    p_holm: float | None = None
    """Adjusted for all comparisons of the table, in the details of the suite (Holm)."""
    test: str = ""
    """Empty where both are equal on every item: there is nothing to test, p is None, and nothing is counted."""
    group: str = ""
    """Which group is the worst one, in a row about it."""
    best: bool = False
    verdict: Literal["better", "worse", "different", "unclear", ""] = ""
    reason: str = ""
    """Why there is no value."""


class Topic(Part):
    """What a row is about: a measure, or a part of it."""

    suite: str
    measure: str
    title: str
    unit: str = ""
    better: Better = "neither"
    statistic: str = ""
    headline: bool = True
    part: Literal["", "worst_group", "gap", "mean"] = ""
    """What of the groups of `axis` the row is about; empty for the measure itself."""
    axis: str = ""
    resampled: str = "item"
    """Noun of what is drawn whole: `template`, `prompt`."""
    mean_over: str = ""
    """Over the groups of which axis the measure itself is a mean."""


class Row(Topic):
    """One measure over all models."""

    cells: list[Cell]

    def cell(self, model: str) -> Cell:
        """The cell of one model."""
        return next(cell for cell in self.cells if cell.model == model)


class GroupDifference(Figure):
    """How much a model's figure of a group differs from that of what it is compared with."""

    p: float | None = None
    p_holm: float | None = None
    """Adjusted for all groups of the measure (Holm)."""


class GroupColumn(Part):
    """One model on one measure by group, averaged over seeds."""

    model: str
    groups: dict[str, Figure]
    differences: dict[str, GroupDifference] = {}
    """Of every group, where they are asked for: of rewards, to the first one."""
    worst: str | None = None
    """The group with the worst figure."""
    worst_group: Figure = Figure()
    """Of every seed its worst group."""
    gap: Figure = Figure()
    mean: Figure = Figure()


class GroupTable(Part):
    """One measure by groups of people (or domains)."""

    suite: str
    measure: str
    title: str
    unit: str = ""
    better: Better
    axis: str
    resampled: str = "item"
    chance: float | None = None
    """What a guess would reach, where that is known."""
    columns: list[GroupColumn]

    @property
    def groups(self) -> list[str]:
        """Every group any model was measured on."""
        return sorted(set().union(*(column.groups for column in self.columns)))

    def figures(self, group: str) -> list[Figure]:
        """The figures of a group, of all models measured on it."""
        return [column.groups[group] for column in self.columns if group in column.groups]


class CalibrationPoint(Part):
    """One bin of a calibration curve: mean probability, share that came true with Wilson's 95 % interval, items."""

    confidence: float
    share: float
    low: float
    high: float
    n: int


class CalibrationTable(Part):
    """Calibration curves of one measure, by model."""

    suite: str
    measure: str
    title: str
    curves: dict[str, list[CalibrationPoint]]


class Model(Part):
    """A column of the tables."""

    label: str
    plugin: str
    seeds: list[int] = []


class Rewards(Part):
    """The rewards of the run side by side, each compared with the first."""

    models: list[Model]
    rows: list[Row]
    details: list[Row] = []
    group_tables: list[GroupTable] = []
    notes: list[str] = []

    @property
    def first(self) -> str:
        """What the others are compared with."""
        return self.models[0].label


class Verdict(Part):
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


class Items(Part):
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


class Training(Part):
    """How one model's training went, in a line."""

    label: str
    plugin: str
    seed: int
    steps: int
    first: dict[str, float]
    last: dict[str, float]


class Steadiness(Part):
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


class Stage(Part):
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


class Report(Part):
    """All of it."""

    name: str
    description: str = ""
    run_id: str = ""
    created: str = ""
    command: str = ""
    models: list[Model]
    gate: list[Verdict] = []
    """One for every limit and every model it is about."""
    rows: list[Row]
    details: list[Row] = []
    group_tables: list[GroupTable] = []
    items: list[Items] = []
    rewards: Rewards | None = None
    """None where no evaluation was about rewards."""
    calibration: list[CalibrationTable] = []
    training: list[Training] = []
    steadiness: list[Steadiness] = []
    """Of policies that learn from their own samples."""
    stages: list[Stage]
    data: list[dict[str, Any]] = []
    versions: dict[str, str] = {}
    config: dict[str, Any] = {}
    info: dict[str, Any] = {}
    notes: list[str] = []

    @property
    def calibrated(self) -> list[str]:
        """Labels that calibration curves may have: of rewards where these were measured, else of models."""
        return [one.label for one in (self.rewards.models if self.rewards else self.models)]

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


def load_report(path: Path) -> Report:
    """Read `report.json`, given itself, its folder or a file beside it."""
    folder = path if path.is_dir() else path.parent
    return Report.model_validate_json((folder / "report.json").read_text(encoding="utf-8"))
