"""Turns evaluations into rows: averages over seeds, intervals over items, paired differences, Holm's correction."""

from __future__ import annotations

import statistics as plain
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from pipeline_core.ops.stats import STATISTICS, Items, Statistic, estimate, holm, paired_difference
from pipeline_core.report.collect import Evaluated, ItemValues
from pipeline_core.report.model import BASE, SIGNIFICANT, Better, Cell, Figure, GroupColumn, GroupTable, Row

COMPARISON_RESAMPLES = 10_000
"""More than an interval needs: the smallest p-value must survive the correction for a whole table."""

Entry = Mapping[str, Any]


def measures_of(evaluations: Sequence[Evaluated]) -> dict[tuple[str, str], Entry]:
    """Every measure by suite and name, in the order in which the suites give them."""
    found: dict[tuple[str, str], Entry] = {}
    for evaluated in evaluations:
        for name, entry in evaluated.measures.items():
            found.setdefault((evaluated.suite, name), entry)
    return dict(sorted(found.items(), key=lambda item: _suites(evaluations).index(item[0][0])))


def rows_of(evaluations: Sequence[Evaluated], models: Sequence[str], *, headline: bool) -> list[Row]:
    """The table of all (or all other than) headline measures."""
    chosen = {key: entry for key, entry in measures_of(evaluations).items() if _headline(entry) == headline}
    rows = [_row(suite, name, entry, evaluations, models) for (suite, name), entry in chosen.items()]
    cells = [cell for row in rows for cell in row.cells]
    for cell, adjusted in zip(cells, holm([cell.p for cell in cells]), strict=True):
        cell.p_holm = adjusted
    for row in rows:
        _judge(row)
    return rows


def group_tables_of(evaluations: Sequence[Evaluated], models: Sequence[str]) -> list[GroupTable]:
    """Headline measures by group."""
    return [
        _group_table(suite, name, entry, evaluations, models)
        for (suite, name), entry in measures_of(evaluations).items()
        if _headline(entry) and entry.get("groups")
    ]


def _headline(entry: Entry) -> bool:
    return bool(entry.get("headline", True))


def _suites(evaluations: Sequence[Evaluated]) -> list[str]:
    return list(dict.fromkeys(evaluated.suite for evaluated in evaluations))


def _of_model(evaluations: Sequence[Evaluated], suite: str, model: str) -> list[Evaluated]:
    chosen = [one for one in evaluations if one.suite == suite and one.label == model]
    return sorted(chosen, key=lambda one: -1 if one.seed is None else one.seed)


def title_of(suite: str, name: str, evaluations: Sequence[Evaluated]) -> str:
    """What a measure is called; the suite's label leads where it differs from the plugin's name."""
    plugin = next(one.plugin for one in evaluations if one.suite == suite)
    return name if suite == plugin else f"{suite}: {name}"


def _row(suite: str, name: str, entry: Entry, evaluations: Sequence[Evaluated], models: Sequence[str]) -> Row:
    by_model = {model: _of_model(evaluations, suite, model) for model in models}
    base = by_model.get(BASE, [])
    return Row(
        suite=suite,
        measure=name,
        title=title_of(suite, name, evaluations),
        unit=entry.get("unit", ""),
        better=_better(entry),
        statistic=entry.get("statistic", ""),
        headline=_headline(entry),
        cells=[_cell(model, by_model[model], base, name, entry) for model in models],
    )


def _better(entry: Entry) -> Better:
    better: Better = entry.get("better", "neither")
    return better


def _cell(model: str, runs: Sequence[Evaluated], base: Sequence[Evaluated], name: str, entry: Entry) -> Cell:
    per_seed = {_seed(run): run.measures.get(name, {}).get("value") for run in runs}
    statistic = STATISTICS.get(entry.get("statistic", ""))
    columns = [run.values(entry) for run in runs]
    known = [value for value in per_seed.values() if value is not None]
    if not runs or len(known) < len(runs):
        return Cell(model=model, per_seed=per_seed, reason=_reason(runs, per_seed))
    cell = Cell(model=model, per_seed=per_seed, value=plain.fmean(known), n=_n(runs, name))
    if len(known) > 1:
        cell.spread = plain.stdev(known)
    if statistic is None or not any(columns):
        return cell
    cell = cell.model_copy(update=asdict(estimate(statistic, Items.collect(*columns))))
    if model != BASE and base:
        _compare(cell, statistic, columns, [run.values(entry) for run in base])
    return cell


def _seed(run: Evaluated) -> str:
    return "" if run.seed is None else str(run.seed)


def _n(runs: Sequence[Evaluated], name: str) -> int:
    return max(int(run.measures[name].get("n") or 0) for run in runs)


def _reason(runs: Sequence[Evaluated], per_seed: Mapping[str, float | None]) -> str:
    if not runs:
        return "this suite did not run for the model"
    missing = [seed for seed, value in per_seed.items() if value is None]
    if len(missing) < len(per_seed):
        return f"undefined for seed {', '.join(missing)}: no item counts there"
    return "undefined: no item counts for this measure"


def _compare(cell: Cell, statistic: Statistic, mine: Sequence[ItemValues], base: Sequence[ItemValues]) -> None:
    difference = paired_difference(statistic, mine, base, resamples=COMPARISON_RESAMPLES)
    cell.difference, cell.p, cell.test = difference.value, difference.p, difference.test
    cell.difference_low, cell.difference_high = difference.low, difference.high


def _judge(row: Row) -> None:
    """Mark the best value, and say of every comparison what it shows."""
    values = [cell.value for cell in row.cells if cell.value is not None]
    if row.better != "neither" and len(values) > 1 and max(values) > min(values):
        best = min(values) if row.better == "lower" else max(values)
        for cell in row.cells:
            cell.best = cell.value == best
    for cell in row.cells:
        if cell.difference is None or cell.p_holm is None:
            continue
        if cell.p_holm >= SIGNIFICANT:
            cell.verdict = "unclear"
        elif row.better == "neither":
            cell.verdict = "different"
        else:
            cell.verdict = "better" if (cell.difference < 0) == (row.better == "lower") else "worse"


def _group_table(
    suite: str, name: str, entry: Entry, evaluations: Sequence[Evaluated], models: Sequence[str]
) -> GroupTable:
    columns = [_group_column(model, _of_model(evaluations, suite, model), name, entry) for model in models]
    return GroupTable(
        suite=suite,
        measure=name,
        title=title_of(suite, name, evaluations),
        unit=entry.get("unit", ""),
        better=_better(entry),
        axis=entry["group_by"],
        columns=columns,
    )


def _group_column(model: str, runs: Sequence[Evaluated], name: str, entry: Entry) -> GroupColumn:
    labels = sorted({label for run in runs for label in run.measures.get(name, {}).get("groups", {})})
    statistic, axis = STATISTICS[entry["statistic"]], entry["group_by"]
    groups = {
        label: Figure(**asdict(estimate(statistic, Items.collect(*(run.values(entry, axis, label) for run in runs)))))
        for label in labels
    }
    values = {label: figure.value for label, figure in groups.items() if figure.value is not None}
    column = GroupColumn(model=model, groups=groups)
    if values:
        column.gap = max(values.values()) - min(values.values())
        column.mean = plain.fmean(values.values())
    if values and _better(entry) != "neither":
        column.worst = (max if _better(entry) == "lower" else min)(values, key=lambda label: values[label])
    return column
