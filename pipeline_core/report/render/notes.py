"""How to read the figures of a report."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from pipeline_core.plugin.figures import ITEM
from pipeline_core.report.figures.cells import (
    SIGNIFICANT,
    Figure,
    GroupColumn,
    GroupTable,
    MeasureRow,
    ReportCell,
    Topic,
)
from pipeline_core.report.figures.compare import ComparedRows
from pipeline_core.report.figures.model import Report, ReportModel, RewardComparison
from pipeline_core.report.render import wording

EFFECT = (
    "d is Cohen's: the difference over the standard deviation of items, the root of the mean of both variances. "
    "By custom .2 is a small effect, .5 a middle one, .8 a large one."
)
BOTH = "every resample draws the same items for both, and an item that one of them lacks counts for the other alone"


def notes(models: Sequence[ReportModel], tables: ComparedRows, against: str = "the base") -> list[str]:
    """Lines for below the table; what is undefined throughout is not explained."""
    shown = [row for row in tables.rows if any(cell.value is not None for cell in row.cells)]
    return [
        "Brackets hold the 95 % interval by the bootstrap; values of one item are drawn together.",
        *on_clusters(shown),
        *on_counts(shown, any(len(model.seeds) > 1 for model in models)),
        *_on_comparisons(tables, against),
        *on_groups(shown),
        *_on_ends(tables.group_tables),
        *_on_seeds(models),
        "– means undefined, never zero.",
    ]


def on_clusters(rows: Sequence[Topic]) -> Iterator[str]:
    """Which suites draw more than single items."""
    nouns: dict[str, dict[str, None]] = {}
    for row in rows:
        if _is_in_units(row):
            nouns.setdefault(row.resampled, {})[wording.plain(row.suite)] = None
    for noun, suites in nouns.items():
        yield (
            f"{', '.join(suites)}: items of one {noun} are drawn together, because they are alike. Intervals and tests "
            f"rest on the number of {wording.plural(noun)}."
        )


def _is_in_units(row: Topic) -> bool:
    """Whether items of a row are drawn together."""
    figures = row.cells if isinstance(row, MeasureRow) else [value for _, value in row if isinstance(value, Figure)]
    return row.resampled != ITEM and any(one.n_clusters and one.n_clusters < one.n for one in figures)


def on_counts(rows: Sequence[Topic], has_seeds: bool) -> Iterator[str]:
    """What n is."""
    if rows:
        seeds = "; of several seeds those of one" if has_seeds else ""
        worst = "; of a worst group those of that group" if any(row.part == "worst_group" for row in rows) else ""
        units = ", and the units they are in" if any(map(_is_in_units, rows)) else ""
        yield f"n counts the items that a figure rests on{units}{seeds}{worst}."


def _on_comparisons(tables: ComparedRows, against: str) -> Iterator[str]:
    rows = [row for row in tables.rows if any(cell.test for cell in row.cells)]
    if tested := [cell for row in rows for cell in row.cells if cell.test]:
        tests = "; ".join(sorted({cell.test for cell in tested}))
        yield (
            f"Δ is the difference to {against}: {BOTH}. It counts as shown below p = {SIGNIFICANT}. p-values ({tests}) "
            f"are adjusted for the table's {several(len(tested), 'comparison')} (Holm), those of further measures for "
            "all of their suite. Intervals are of each row alone and are not adjusted, so one may exclude zero where p "
            "is above the level. Models that are equal on every item are not tested."
        )
        if any(cell.effect is not None for cell in tested):
            yield EFFECT
        yield from on_distances(rows)


def on_distances(rows: Sequence[Topic]) -> Iterator[str]:
    """Of rows that were tested."""
    if any(row.statistic.startswith("distance_from") for row in rows):
        yield "Distances hardly change near zero: between models that are nearly even a test of them has little power."


def on_groups(rows: Sequence[Topic]) -> Iterator[str]:
    """On means over groups, and on parts of groups."""
    averaged = [row for row in rows if row.mean_over]
    if averaged:
        names = ", ".join(wording.measure(row.title) for row in averaged)
        yield (
            f"{names}: the mean over {averaged[0].mean_over}s of the figure in each, where opposite leanings do not "
            "cancel. A mean of distances lies above the truth when each rests on few items."
        )
    if any(row.part for row in rows):
        yield (
            "Worst group, gap and mean are bootstrapped within groups; the worst group is selected again in every "
            "resample, so its interval accounts for selection. The value does not: where groups are small, the worst "
            "group looks worse and the gap larger than they are (of eleven groups that all are at 70 %, the highest "
            "reads 85 % with 20 items each and 80 % with 50)."
        )


def _on_ends(tables: Sequence[GroupTable]) -> Iterator[str]:
    """Where a group's items all lie at one end of the range: why its interval is wider than its neighbours'."""
    figures = [one for table in tables for column in table.columns for one in column.groups.values()]
    if any(one.low != one.high and one.value in (one.low, one.high) for one in figures if one.value is not None):
        yield (
            "A group whose items all lie at one end (0 of 40) is not known to be there: its interval reaches as far as "
            "its few units allow, which can be farther than that of a group with 1 of 40, and widens those of the "
            "worst group, the gap and the mean."
        )


def _on_seeds(models: Sequence[ReportModel]) -> Iterator[str]:
    several = [model for model in models if len(model.seeds) > 1]
    if several:
        yield (
            "With several seeds a value is their mean and s their standard deviation. Its interval and its p-value "
            "generalise to new items and to new training seeds together. Two or three seeds say little about others: "
            "then intervals are wide."
        )
    if len(several) < len(models):
        whose = "models without several seeds" if several else "these models"
        yield (
            f"Intervals and p-values of {whose} generalise to new items. They do not include variation between "
            "training seeds."
        )


def several(number: int, noun: str) -> str:
    """`1 test`, `2 tests`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def lacking(report: Report | RewardComparison) -> Iterator[str]:
    """Lines on what has no value, then on what has no interval."""
    yield from undefined(report)
    yield from without_interval(report)


def undefined(report: Report | RewardComparison) -> Iterator[str]:
    """One line per headline measure and reason for which models or groups have no value: `– bias (base, dpo): ...`."""
    for table in report.group_tables:
        without = (
            (column.model, [g for g, one in column.groups.items() if one.value is None]) for column in table.columns
        )
        found = ((", ".join(map(wording.plain, groups)), model) for model, groups in without if groups)
        for names, models in _by_reason(found):
            yield f"{wording.UNDEFINED} {wording.measure(table.title)} ({models}): undefined for {names}"
    for row in (row for row in report.rows if not row.part):
        for reason, models in _by_reason((cell.reason, cell.model) for cell in row.cells if cell.value is None):
            yield f"{wording.UNDEFINED} {wording.measure(row.title)} ({models}): {reason}"


def _groups_undefined(column: GroupColumn) -> str:
    return ", ".join(wording.plain(group) for group, one in column.groups.items() if one.value is None)


def without_interval(report: Report | RewardComparison) -> Iterator[str]:
    """One line per headline measure and reason for which values, differences or groups have no interval."""
    for table in report.group_tables:
        found = ((reason, column.model) for column in table.columns for reason in _groups_without(column, table))
        for reason, models in _by_reason(found):
            yield f"{wording.measure(table.title)} ({models}) has no interval for {reason}"
    for row in (row for row in report.rows if not row.part):
        lacking = ((_without(cell, row.resampled), cell.model) for cell in row.cells)
        for reason, models in _by_reason((reason, model) for reason, model in lacking if reason):
            yield f"{wording.measure(row.title)} ({models}) has no interval{reason}"


def _groups_without(column: GroupColumn, table: GroupTable) -> Iterator[str]:
    """`young, old: it rests on one template`, for every reason."""
    reasons = ((wording.why_no_interval(one, table.resampled), group) for group, one in column.groups.items())
    for reason, groups in _by_reason((reason, wording.plain(group)) for reason, group in reasons if reason):
        yield f"{groups}: {reason}"


def _without(cell: ReportCell, noun: str) -> str:
    """`: it rests on one template`, of a value or else a difference without an interval; empty where both have one."""
    if why := wording.why_no_interval(cell, noun):
        return f": {why}"
    if cell.difference is None or cell.difference_low is not None:
        return ""
    return f" of Δ: the items of both are of one {noun} at most"


def _by_reason(found: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Every reason with all that it holds for: `base, dpo`."""
    shared: dict[str, list[str]] = {}
    for reason, name in found:
        shared.setdefault(reason, []).append(name)
    return ((reason, ", ".join(names)) for reason, names in shared.items())


def measured_lines(report: Report) -> Iterator[str]:
    """Suites with what they counted, and the groups that their measures tell apart."""
    told: dict[str, dict[str, None]] = {row.suite: {} for row in report.rows}
    for table in report.group_tables:
        groups = ", ".join(map(wording.plain, table.groups))
        told.setdefault(table.suite, {})[f"by {table.axis} ({groups})"] = None
    for suite, by_group in told.items():
        counts = counted_lines(report, suite)
        figures = max((cell.n for row in report.rows if row.suite == suite for cell in row.cells), default=0)
        facts = [*(counts or [f"up to {figures:,} items for a figure"]), *by_group]
        yield f"{wording.plain(suite)}: {'; '.join(facts)}"


def counted_lines(report: Report, suite: str) -> list[str]:
    """What a suite, or the trainings, counted."""
    return [wording.counted(one, len(report.models)) for one in report.items if one.suite == suite]
