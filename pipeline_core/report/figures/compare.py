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
)
from pipeline_core.report.figures.collect import ModelEvaluation
from pipeline_core.report.figures.measured import MeasureRuns, measured
from pipeline_core.report.figures.resampled import as_facts, counted_by_seed
from pipeline_core.report.render import wording
from pipeline_core.stats.resampling import RESAMPLES
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
    found = measured(evaluations, models, RESAMPLES)
    headline = _headline(found)
    details = [[one for one in found if one.suite == suite and not one.headline] for suite in _suites(found)]
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
    return _family(_headline(measured(evaluations, models, RESAMPLES)), models, against)


def _headline(found: Sequence[MeasureRuns]) -> list[MeasureRuns]:
    return [one for one in found if one.headline]


def _suites(found: Sequence[MeasureRuns]) -> list[str]:
    return list(dict.fromkeys(one.suite for one in found))


def _family(family: Sequence[MeasureRuns], models: Sequence[str], against: str = BASE) -> list[MeasureRow]:
    """Rows of a Holm family: p-values of all their comparisons are corrected together."""
    rows = [_row(one, part, models, against) for one in family for part in _parts(one)]
    cells = [cell for row in rows for cell in row.cells]
    for cell, adjusted in zip(cells, holm([cell.p if cell.test else None for cell in cells]), strict=True):
        cell.p_holm = adjusted
    for row in rows:
        _judge(row)
    return rows


def _parts(one: MeasureRuns) -> Iterator[str]:
    """Parts of a measure with a row: empty for the measure itself, then summaries of its groups."""
    yield ""
    for part in one.entry.get("summary_rows", ()):
        if not (part == "worst_group" and one.better == "neither"):
            yield part


def _row(one: MeasureRuns, part: str, models: Sequence[str], against: str) -> MeasureRow:
    return MeasureRow.model_validate(
        {
            "suite": one.suite,
            "measure": f"{one.name}/{part}" if part else one.name,
            "title": f"{one.title}/{part}" if part else one.title,
            "unit": one.entry.get("unit", ""),
            "better": _better(one, part),
            "statistic": one.entry.get("statistic", ""),
            "headline": one.headline,
            "part": part,
            "axis": one.axis if part else "",
            "resampled": one.resampled,
            "mean_over": "" if part else one.mean_over,
            "cells": [_cell(one, part, model, against) for model in models],
        }
    )


def _better(one: MeasureRuns, part: str) -> BetterDirection:
    return "lower" if part == "gap" and one.better != "neither" else one.better


def _cell(one: MeasureRuns, part: str, model: str, against: str) -> ReportCell:
    per_seed = one.values(model, part)
    if not _is_defined(per_seed):
        return ReportCell(model=model, per_seed=per_seed, reason=_reason(per_seed, one, model))
    known = [value for value in per_seed.values() if value is not None]
    written = counted_by_seed(_written(one, model))
    cell = ReportCell.model_validate({"model": model, "per_seed": per_seed, "value": plain.fmean(known), **written})
    if len(known) > 1:
        cell.spread = plain.stdev(known)
    if not one.has_items(model, part):
        return cell
    cell = cell.model_copy(update=one.figure(model, part).model_dump())
    if part == "worst_group":
        cell.group = one.worst(model) or ""
    if model != against and _is_defined(one.values(against, part)):
        _compare(cell, one, part, against)
    return cell


def _is_defined(per_seed: Mapping[str, float | None]) -> bool:
    return bool(per_seed) and None not in per_seed.values()


def _written(one: MeasureRuns, model: str) -> list[int]:
    """Number of items that each evaluation of a model recorded for the measure."""
    return [int(run.measures[one.name].get("n") or 0) for run in one.runs[model]]


def _reason(per_seed: dict[str, float | None], one: MeasureRuns, model: str) -> str:
    if not per_seed:
        return "this suite did not run for the model"
    missing = [seed for seed, value in per_seed.items() if value is None]
    if one.is_relation and any(_written(one, model)):
        why = "its items are of one class alone, or have all the same value"
    else:
        why = "no item counts for this measure"
    return f"undefined for seed {', '.join(missing)}: {why}" if len(missing) < len(per_seed) else f"undefined: {why}"


def _compare(cell: ReportCell, one: MeasureRuns, part: str, against: str) -> None:
    difference = one.difference(cell.model, against, part)
    cell.difference, cell.test = difference.value, difference.test
    cell.p = difference.p if difference.test else None
    cell.difference_low, cell.difference_high = difference.low, difference.high
    if difference.test and not part:
        cell.effect = one.effect(cell.model, against)


def _judge(row: MeasureRow) -> None:
    """Mark the best values, including all that print the same, and set the verdict of every comparison."""
    values = [cell.value for cell in row.cells if cell.value is not None]
    printed = {wording.number(value, row.unit) for value in values}
    if row.better != "neither" and len(printed) > 1:
        best = wording.number(min(values) if row.better == "lower" else max(values), row.unit)
        for cell in row.cells:
            cell.best = wording.number(cell.value, row.unit) == best
    for cell in row.cells:
        if cell.difference is None or cell.p_holm is None:
            continue
        if cell.p_holm >= SIGNIFICANT or wording.prints_as_zero(cell.difference, row.unit):
            cell.verdict = "unclear"
        elif row.better == "neither":
            cell.verdict = "different"
        else:
            cell.verdict = "better" if (cell.difference < 0) == (row.better == "lower") else "worse"


def _group_table(one: MeasureRuns, models: Sequence[str], against: str) -> GroupTable:
    table = GroupTable(
        suite=one.suite,
        measure=one.name,
        title=one.title,
        unit=one.entry.get("unit", ""),
        better=one.better,
        axis=one.axis,
        resampled=one.resampled,
        chance=one.entry.get("chance"),
        columns=[_group_column(one, model) for model in models],
    )
    if against:
        for column in table.columns:
            column.differences = _differences(one, column.model, against)
    return table


def _differences(one: MeasureRuns, model: str, against: str) -> dict[str, GroupDifference]:
    if model == against or one.better == "neither" or not one.runs.get(model) or not one.runs.get(against):
        return {}
    found = one.group_differences(model, against)
    adjusted = holm([difference.p if difference.test else None for difference in found.values()])
    return {
        label: GroupDifference(**as_facts(one), p=one.p, p_holm=p_holm if one.test else one.p)
        for (label, one), p_holm in zip(found.items(), adjusted, strict=True)
    }


def _group_column(one: MeasureRuns, model: str) -> GroupColumn:
    column = GroupColumn(model=model, groups=one.group_figures[model], worst=one.worst(model))
    if column.groups:
        column.gap, column.mean = one.figure(model, "gap"), one.figure(model, "mean")
    if column.worst:
        column.worst_group = one.figure(model, "worst_group")
    return column
