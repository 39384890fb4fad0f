"""How to read the figures of a report."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pipeline_core.report import wording
from pipeline_core.report.compare import Tables
from pipeline_core.report.model import SIGNIFICANT, Model, Row


def notes(models: Sequence[Model], tables: Tables) -> list[str]:
    """Lines for below the table."""
    return [
        "Brackets hold the 95 % bootstrap interval over items; values of one item are resampled together.",
        *_on_comparisons(tables),
        *_on_groups(tables.rows),
        *_on_seeds(models),
        "– means undefined, never zero.",
    ]


def _on_comparisons(tables: Tables) -> Iterator[str]:
    tested = [cell for row in tables.rows for cell in row.cells if cell.test]
    if tested:
        noun = "comparison" if len(tested) == 1 else "comparisons"
        tests = "; ".join(sorted({cell.test for cell in tested}))
        yield (
            f"Δ is the difference to the base on the same items; it counts as shown below p = {SIGNIFICANT}. p-values "
            f"({tests}) are adjusted for the table's {len(tested)} {noun} (Holm), those of further measures for all of "
            "their suite. Models that are equal on every item are not tested."
        )
    if tested and any(row.statistic.startswith("distance_from") for row in tables.rows):
        yield "Distances hardly change near zero: between models that are nearly even a test of them has little power."


def _on_groups(rows: Sequence[Row]) -> Iterator[str]:
    averaged = [row for row in rows if row.mean_over]
    if averaged:
        names = ", ".join(wording.measure(row.title) for row in averaged)
        yield (
            f"{names}: the mean over {averaged[0].mean_over}s of the figure in each, where opposite leanings do not "
            "cancel. A mean of distances lies above the truth when each rests on few items."
        )
    if any(row.part for row in rows):
        yield (
            "Worst, gap and mean of groups come from resamples within groups. The worst is found anew in each, and its "
            "interval allows for its being extreme by chance."
        )


def _on_seeds(models: Sequence[Model]) -> Iterator[str]:
    if any(len(model.seeds) > 1 for model in models):
        yield "With several seeds a value is their mean and s their standard deviation."
    yield (
        "Intervals and p-values speak of other items like these for the models as they were trained; "
        "what another training seed would change they do not know."
    )
