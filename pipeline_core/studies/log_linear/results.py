"""The study's numbers: a row per training kind with standard errors, and paired differences between methods."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass

from pipeline_core.stats.paired import SeedMean, over_seeds, paired_over_seeds
from pipeline_core.stats.resampling import Floats
from pipeline_core.studies.log_linear.settings import StudySettings, TrainingColumn
from pipeline_core.studies.log_linear.training import FamilyResult

COMPARED = ("max_validation_loss", "max_reward_error_relative", "max_reward_error_absolute")


@dataclass(frozen=True)
class MethodRow:
    """Results of a method in a scenario on a feature map, over the seeds; losses are those of the method's family.

    `group_weights` are the final weights of the groups in the loss. `seconds` is an equal share of the family's time,
    because its trainings run side by side.
    """

    features: str
    scenario: str
    method: str
    chi: float | None
    n_seeds: int
    max_validation_loss: SeedMean
    mean_validation_loss: SeedMean
    max_reward_error_relative: SeedMean
    max_reward_error_absolute: SeedMean
    group_weights: list[SeedMean]
    seconds: float

    @property
    def column(self) -> TrainingColumn:
        """Method and chi of the row."""
        return TrainingColumn(self.method, self.chi)


@dataclass(frozen=True)
class MethodDifference:
    """Difference of `method` minus `base` in a measure, paired over seeds, with a 95 % interval; chi is `method`'s."""

    features: str
    scenario: str
    measure: str
    method: str
    base: str
    chi: float | None
    mean: float
    se: float
    low: float
    high: float
    n_seeds: int
    seeds_below_zero: int


def rows(settings: StudySettings, trained: FamilyResult) -> list[MethodRow]:
    """Rows of every feature map, scenario and column of a family."""
    places, measures = settings.places, measured(trained)
    share = trained.seconds / (len(places) * len(trained.columns))
    return [
        MethodRow(
            features=features,
            scenario=scenario,
            method=column.method,
            chi=column.chi,
            n_seeds=settings.seeds,
            **{name: over_seeds(values[f, s, :, c]) for name, values in measures.items()},
            group_weights=[over_seeds(weight_K) for weight_K in trained.weights[-1, f, s, :, c].T],
            seconds=share,
        )
        for f, s, features, scenario in places
        for c, column in enumerate(trained.columns)
    ]


def differences(settings: StudySettings, trained: FamilyResult) -> list[MethodDifference]:
    """Differences robust minus plain, robust minus importance, importance minus plain, among the trained methods."""
    measures, compared = measured(trained), []
    for f, s, features, scenario in settings.places:
        for mine, base in _compared(trained.columns):
            for measure in COMPARED:
                values = measures[measure][f, s]
                facts = asdict(paired_over_seeds(values[:, mine], values[:, base]))
                compared.append(
                    MethodDifference(
                        features=features,
                        scenario=scenario,
                        measure=measure,
                        method=trained.columns[mine].method,
                        base=trained.columns[base].method,
                        chi=trained.columns[mine].chi,
                        n_seeds=facts.pop("n"),
                        seeds_below_zero=facts.pop("below_zero"),
                        **facts,
                    )
                )
    return compared


def measured(trained: FamilyResult) -> dict[str, Floats]:
    """Final measures by their names in a row, (F, S, K, C) each."""
    return {
        "max_validation_loss": trained.worst_loss[-1],
        "mean_validation_loss": trained.mean_loss,
        "max_reward_error_relative": trained.reward_error_relative,
        "max_reward_error_absolute": trained.reward_error_absolute,
    }


def _compared(columns: tuple[TrainingColumn, ...]) -> Iterator[tuple[int, int]]:
    """Pairs of column indices to compare; the second is the base."""
    order = ("plain", "importance", "robust")
    for mine, column in enumerate(columns):
        for base, other in enumerate(columns):
            if order.index(other.facts.kind) < order.index(column.facts.kind):
                yield mine, base
