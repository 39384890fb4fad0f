"""Turns evaluations into rows: averages over seeds, intervals, paired differences, Holm's correction."""

from __future__ import annotations

import statistics as plain
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from pipeline_core.report.figures.cells import (
    BASE,
    SIGNIFICANT,
    BetterDirection,
    GroupColumn,
    GroupDifference,
    GroupTable,
    MeasureRow,
    ReportCell,
    Verdict,
)
from pipeline_core.report.figures.collect import ModelEvaluation
from pipeline_core.report.figures.measured import MeasureRuns, measured
from pipeline_core.report.figures.resampled import as_facts, counted_by_seed
from pipeline_core.report.render import wording
from pipeline_core.stats.statistic import holm


@dataclass(frozen=True)
class ComparedRows:
    """Headline rows (one Holm family), details (one Holm family per suite) and tables by group.

    `found`: the measures behind them with their resamples, which the gate uses.
    """

    rows: list[MeasureRow]
    details: list[MeasureRow]
    group_tables: list[GroupTable]
    found: list[MeasureRuns] = field(default_factory=list)


def tables_of(
    evaluations: Sequence[ModelEvaluation], models: Sequence[str], against: str = BASE, *, group_by_group: bool = False
) -> ComparedRows:
    """Rows and group tables of all models, each compared with `against`; with `group_by_group` also in every group."""
    measures = measured(evaluations, models)
    headline = _headline(measures)
    suites = dict.fromkeys(measure.suite for measure in measures)
    details = [[one for one in measures if one.suite == suite and not one.headline] for suite in suites]
    return ComparedRows(
        _family(headline, models, against),
        [row for members in details for row in _family(members, models, against)],
        [_group_table(one, models, against if group_by_group else "") for one in headline if one.entry.get("groups")],
        [*headline, *(one for members in details for one in members)],
    )


def headline_rows(
    evaluations: Sequence[ModelEvaluation], models: Sequence[str], against: str = BASE
) -> list[MeasureRow]:
    """Headline rows only, every model compared with `against`."""
    return _family(_headline(measured(evaluations, models)), models, against)


def _headline(measures: Sequence[MeasureRuns]) -> list[MeasureRuns]:
    return [measure for measure in measures if measure.headline]


def _family(family: Sequence[MeasureRuns], models: Sequence[str], against: str) -> list[MeasureRow]:
    """Rows of a Holm family: p-values of all their comparisons are corrected together."""
    rows = [_row(measure, part, models, against) for measure in family for part in _parts(measure)]
    cells = [cell for row in rows for cell in row.cells]
    for cell, adjusted in zip(cells, holm([cell.p for cell in cells]), strict=True):
        cell.p_holm = adjusted
    for row in rows:
        _judge(row)
    return rows


def _parts(measure: MeasureRuns) -> Iterator[str]:
    """Parts of a measure with a row: empty for the measure itself, then summaries of its groups."""
    yield ""
    for part in measure.entry.get("summary_rows", ()):
        # Without a better direction no group is the worst.
        if not (part == "worst_group" and measure.better == "neither"):
            yield part


def _row(measure: MeasureRuns, part: str, models: Sequence[str], against: str) -> MeasureRow:
    return MeasureRow.model_validate(
        {
            "suite": measure.suite,
            "measure": f"{measure.name}/{part}" if part else measure.name,
            "title": f"{measure.title}/{part}" if part else measure.title,
            "unit": measure.entry.get("unit", ""),
            "better": _better(measure, part),
            "statistic": measure.entry.get("statistic", ""),
            "headline": measure.headline,
            "part": part,
            "axis": measure.axis if part else "",
            "resampled": measure.resampled,
            "mean_over": "" if part else measure.mean_over,
            "cells": [_cell(measure, part, model, against) for model in models],
        }
    )


def _better(measure: MeasureRuns, part: str) -> BetterDirection:
    # A gap is better small, whichever direction of the measure is better.
    return "lower" if part == "gap" and measure.better != "neither" else measure.better


def _cell(measure: MeasureRuns, part: str, model: str, against: str) -> ReportCell:
    per_seed = measure.values(model, part)
    if not _is_defined(per_seed):  # one undefined seed is enough: the mean of the others is another figure
        return ReportCell(model=model, per_seed=per_seed, reason=_reason(per_seed, measure, model))
    known = [value for value in per_seed.values() if value is not None]
    written = counted_by_seed(_written(measure, model))  # kept where the plugin left no table to resample
    cell = ReportCell.model_validate({"model": model, "per_seed": per_seed, "value": plain.fmean(known), **written})
    if len(known) > 1:
        cell.spread = plain.stdev(known)
    if not measure.has_items(model, part):
        return cell
    cell = cell.model_copy(update=measure.figure(model, part).model_dump())
    if part == "worst_group":
        cell.group = measure.worst(model) or ""
    if model != against and _is_defined(measure.values(against, part)):
        _compare(cell, measure, part, against)
    return cell


def _is_defined(per_seed: Mapping[str, float | None]) -> bool:
    return bool(per_seed) and None not in per_seed.values()


def _written(measure: MeasureRuns, model: str) -> list[int]:
    """Number of items that each evaluation of a model recorded for the measure."""
    return [int(entry.get("n") or 0) for entry in measure.entries(model)]


def _reason(per_seed: dict[str, float | None], measure: MeasureRuns, model: str) -> str:
    if not per_seed:
        return "this suite did not run for the model"
    missing = [seed for seed, value in per_seed.items() if value is None]
    if measure.is_relation and any(_written(measure, model)):
        why = "its items are of one class alone, or have all the same value"
    else:
        why = "no item counts for this measure"
    return f"undefined for seed {', '.join(missing)}: {why}" if len(missing) < len(per_seed) else f"undefined: {why}"


def _compare(cell: ReportCell, measure: MeasureRuns, part: str, against: str) -> None:
    difference = measure.difference(cell.model, against, part)
    cell.difference, cell.test = difference.value, difference.test
    cell.p = difference.p if difference.test else None  # equal models have p = 1, which no test gave
    cell.difference_low, cell.difference_high = difference.low, difference.high
    if difference.test and not part:  # a summary of groups has no items of its own
        cell.effect = measure.effect(cell.model, against)


def _judge(row: MeasureRow) -> None:
    """Mark the best values, including all that print the same, and set the verdict of every comparison."""
    values = [cell.value for cell in row.cells if cell.value is not None]
    printed = {wording.number(value, row.unit) for value in values}
    if row.better != "neither" and len(printed) > 1:  # if all print alike, none stands out
        best = wording.number(min(values) if row.better == "lower" else max(values), row.unit)
        for cell in row.cells:
            cell.best = wording.number(cell.value, row.unit) == best
    for cell in row.cells:
        if cell.difference is not None and cell.p_holm is not None:
            cell.verdict = verdict_of(cell.difference, cell.p_holm, row.better, row.unit)


def verdict_of(difference: float, p_holm: float, better: BetterDirection, unit: str) -> Verdict:
    """Verdict on a model by its difference to another and the corrected p."""
    # S10: no mark beside a difference of 0.000.
    if p_holm >= SIGNIFICANT or wording.prints_as_zero(difference, unit):
        return "unclear"
    if better == "neither":
        return "different"
    return "better" if (difference < 0) == (better == "lower") else "worse"


def _group_table(measure: MeasureRuns, models: Sequence[str], against: str) -> GroupTable:
    return GroupTable(
        suite=measure.suite,
        measure=measure.name,
        title=measure.title,
        unit=measure.entry.get("unit", ""),
        better=measure.better,
        axis=measure.axis,
        resampled=measure.resampled,
        chance=measure.entry.get("chance"),
        columns=[_group_column(measure, model, against) for model in models],
    )


def _differences(measure: MeasureRuns, model: str, against: str) -> dict[str, GroupDifference]:
    # Without a direction a group cannot be better or worse.
    if model == against or measure.better == "neither" or not measure.runs.get(model) or not measure.runs.get(against):
        return {}
    differences = measure.group_differences(model, against)
    adjusted = holm([difference.p if difference.test else None for difference in differences.values()])
    return {
        label: GroupDifference(**as_facts(result), p=result.p, p_holm=p_holm if result.test else result.p)
        for (label, result), p_holm in zip(differences.items(), adjusted, strict=True)
    }


def _group_column(measure: MeasureRuns, model: str, against: str) -> GroupColumn:
    differences = _differences(measure, model, against) if against else {}
    groups, worst = measure.group_figures[model], measure.worst(model)
    column = GroupColumn(model=model, groups=groups, differences=differences, worst=worst)
    if column.groups:
        column.gap, column.mean = measure.figure(model, "gap"), measure.figure(model, "mean")
    if column.worst:
        column.worst_group = measure.figure(model, "worst_group")
    return column
