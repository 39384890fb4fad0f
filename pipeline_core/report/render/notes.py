"""Notes that explain the figures of a report."""

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
    "d is Cohen's d: the difference divided by the standard deviation of items (root of the mean of both variances). "
    "By convention 0.2 is a small effect, 0.5 a medium and 0.8 a large effect."  # Cohen 1988
)
BOTH = "every resample draws the same items for both; an item that only one of them has counts for that one only"


def notes(models: Sequence[ReportModel], tables: ComparedRows, against: str = "the base") -> list[str]:
    """Notes below the table; rows without any value are not explained."""
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
    """Notes on suites that resample units of several items."""
    nouns: dict[str, dict[str, None]] = {}
    for row in rows:
        if _is_in_units(row):
            nouns.setdefault(row.resampled, {})[wording.plain(row.suite)] = None
    for noun, suites in nouns.items():
        yield (
            f"{', '.join(suites)}: items of one {noun} are drawn together, because they are alike. Intervals and tests "
            f"depend on the number of {wording.plural(noun)}."
        )


def _is_in_units(row: Topic) -> bool:
    """True if items of a row are drawn together in units."""
    figures = row.cells if isinstance(row, MeasureRow) else [value for _, value in row if isinstance(value, Figure)]
    return row.resampled != ITEM and any(figure.n_clusters and figure.n_clusters < figure.n for figure in figures)


def on_counts(rows: Sequence[Topic], has_seeds: bool) -> Iterator[str]:
    """Note on the meaning of n."""
    if rows:
        seeds = "; with several seeds, of one seed" if has_seeds else ""
        worst = "; for a worst group, of that group" if any(row.part == "worst_group" for row in rows) else ""
        units = " and of their units" if any(map(_is_in_units, rows)) else ""
        yield f"n is the number of items behind a figure{units}{seeds}{worst}."


def _on_comparisons(tables: ComparedRows, against: str) -> Iterator[str]:
    rows = [row for row in tables.rows if any(cell.test for cell in row.cells)]
    if tested := [cell for row in rows for cell in row.cells if cell.test]:
        tests = "; ".join(sorted({cell.test for cell in tested}))
        yield (
            f"Δ is the difference to {against}: {BOTH}. It counts as shown if p < {SIGNIFICANT}. p-values ({tests}) "
            f"are adjusted for the table's {several(len(tested), 'comparison')} (Holm), those of further measures for "
            "all of their suite. Intervals are not adjusted, so an interval may exclude zero where p is above the "
            "level. Models that are equal on every item are not tested."
        )
        if any(cell.effect is not None for cell in tested):
            yield EFFECT
        yield from on_distances(rows)


def on_distances(rows: Sequence[Topic]) -> Iterator[str]:
    """Note on distances, for rows that were tested."""
    if any(row.statistic.startswith("distance_from") for row in rows):
        yield "Distances hardly change near zero, so a test between models with distances near zero has little power."


def on_groups(rows: Sequence[Topic]) -> Iterator[str]:
    """Notes on means over groups, and on worst group, gap and mean."""
    averaged = [row for row in rows if row.mean_over]
    if averaged:
        names = ", ".join(wording.measure(row.title) for row in averaged)
        yield (
            f"{names}: the mean over {averaged[0].mean_over}s of the figure in each, so that opposite leanings do not "
            "cancel. A mean of distances is too high on average if each is measured on few items."
        )
    if any(row.part for row in rows):
        yield (
            "Worst group, gap and mean are bootstrapped within groups; the worst group is selected again in every "
            "resample, so its interval accounts for selection. The value does not: where groups are small, the worst "
            "group looks worse and the gap larger than they are (of eleven groups that all are at 70 %, the highest "
            "reads 85 % with 20 items each and 80 % with 50)."  # S2
        )


def _on_ends(tables: Sequence[GroupTable]) -> Iterator[str]:
    """Note on groups whose items all lie at one end of the range: their intervals may be wider than those of others."""
    figures = [one for table in tables for column in table.columns for one in column.groups.values()]
    # A value that is an end of its interval is an end of the range.
    if any(one.low != one.high and one.value in (one.low, one.high) for one in figures if one.value is not None):
        yield (
            "If all items of a group lie at one end of the range (0 of 40), the true figure may still differ: the "
            "interval is as wide as the number of units allows. It can be wider than that of a group with 1 of 40, and "
            "it widens the intervals of worst group, gap and mean."
        )


def _on_seeds(models: Sequence[ReportModel]) -> Iterator[str]:
    several = [model for model in models if len(model.seeds) > 1]
    if several:
        yield (
            "With several seeds a value is their mean and s their standard deviation. Its interval and its p-value "
            "generalise to new items and to new training seeds together. With two or three seeds intervals are wide, "
            "because so few say little about others."
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
    """Notes on missing values, then on missing intervals."""
    yield from undefined(report)
    yield from without_interval(report)


def undefined(report: Report | RewardComparison) -> Iterator[str]:
    """Notes on models or groups without a value, one per headline measure and reason: `– bias (base, dpo): ...`."""
    for table in report.group_tables:
        without = (
            (column.model, [g for g, one in column.groups.items() if one.value is None]) for column in table.columns
        )
        missing = ((", ".join(map(wording.plain, groups)), model) for model, groups in without if groups)
        for names, models in _by_reason(missing):
            yield f"{wording.UNDEFINED} {wording.measure(table.title)} ({models}): undefined for {names}"
    for row in (row for row in report.rows if not row.part):
        for reason, models in _by_reason((cell.reason, cell.model) for cell in row.cells if cell.value is None):
            yield f"{wording.UNDEFINED} {wording.measure(row.title)} ({models}): {reason}"


def without_interval(report: Report | RewardComparison) -> Iterator[str]:
    """Notes on values, differences or groups without an interval, one per headline measure and reason."""
    for table in report.group_tables:
        reasons = ((reason, column.model) for column in table.columns for reason in _groups_without(column, table))
        for reason, models in _by_reason(reasons):
            yield f"{wording.measure(table.title)} ({models}) has no interval for {reason}"
    for row in (row for row in report.rows if not row.part):
        lacking = ((_without(cell, row.resampled), cell.model) for cell in row.cells)
        for reason, models in _by_reason((reason, model) for reason, model in lacking if reason):
            yield f"{wording.measure(row.title)} ({models}) has no interval{reason}"


def _groups_without(column: GroupColumn, table: GroupTable) -> Iterator[str]:
    """`young, old: it rests on one template`, one text per reason."""
    reasons = ((wording.why_no_interval(figure, table.resampled), group) for group, figure in column.groups.items())
    for reason, groups in _by_reason((reason, wording.plain(group)) for reason, group in reasons if reason):
        yield f"{groups}: {reason}"


def _without(cell: ReportCell, noun: str) -> str:
    """`: it rests on one template`, for a value or else a difference without an interval; empty if both have one."""
    if why := wording.why_no_interval(cell, noun):
        return f": {why}"
    if cell.difference is None or cell.difference_low is not None:
        return ""
    return f" of Δ: the items of both are of one {noun} at most"


def _by_reason(pairs: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Each reason with the names it applies to: `base, dpo`."""
    shared: dict[str, list[str]] = {}
    for reason, name in pairs:
        shared.setdefault(reason, []).append(name)
    return ((reason, ", ".join(names)) for reason, names in shared.items())


def measured_lines(report: Report) -> Iterator[str]:
    """Lines on suites: their item counts, and the groups of their measures."""
    by_suite: dict[str, dict[str, None]] = {row.suite: {} for row in report.rows}
    for table in report.group_tables:
        groups = ", ".join(map(wording.plain, table.groups))
        by_suite.setdefault(table.suite, {})[f"by {table.axis} ({groups})"] = None
    for suite, by_group in by_suite.items():
        counts = counted_lines(report, suite)
        figures = max((cell.n for row in report.rows if row.suite == suite for cell in row.cells), default=0)
        facts = [*(counts or [f"up to {figures:,} items for a figure"]), *by_group]
        yield f"{wording.plain(suite)}: {'; '.join(facts)}"


def counted_lines(report: Report, suite: str) -> list[str]:
    """Item counts of a suite, or of the trainings, in words."""
    return [wording.counted(items, len(report.models)) for items in report.items if items.suite == suite]
