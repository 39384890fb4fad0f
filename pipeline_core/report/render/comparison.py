"""Tables of all models by measure and by group, in Markdown and on a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from pipeline_core.report.figures.cells import BASE, Figure, GroupTable, MeasureRow, ReportCell, Topic
from pipeline_core.report.figures.model import Report, ReportModel, RewardComparison
from pipeline_core.report.render import wording
from pipeline_core.report.render.notes import EFFECT, lacking
from pipeline_core.report.render.tables import Table, measures_table, said, side_by_side, widest

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

MOST_NAME_WIDTH = 32
LEGEND = "* best   ✓ better   ✗ worse   ≠ other than {against} (p < 0.05)   ↓ lower is better   ↑ higher is better"
STYLES = {"better": "green", "worse": "red", "different": "yellow", "unclear": "dim", "": "dim"}


def comparison_lines(rows: Sequence[MeasureRow], models: Sequence[ReportModel]) -> Iterator[str]:
    """Table in Markdown, a line for each measure."""
    labels = [model.label for model in models]
    lines = [line for name, members in groupby(rows, key=wording.section) for line in _lines(name, members, labels)]
    return Table(["measure", "n", *labels], "lr" + "r" * len(labels), lines).markdown()


def _lines(name: str, rows: Iterable[MeasureRow], labels: Sequence[str]) -> Iterator[list[str]]:
    yield [f"**{name}**", "", *("" for _ in labels)]
    for row in rows:
        heading = ("&emsp;" if row.part else "") + wording.heading(row)  # Markdown drops spaces at the start of a cell
        cells = (_markdown(row, row.cell(label)) for label in labels)
        yield [heading, wording.items_in(row.cells, row.resampled), *cells]


def _markdown(row: MeasureRow, cell: ReportCell) -> str:
    value = wording.number(cell.value, row.unit)
    value = f"**{value}**" if cell.best else value
    spread = f"s {wording.number(cell.spread, row.unit)}" if cell.spread is not None else ""
    own = wording.own_count(cell, row.cells, row.resampled)
    figure = (value, spread, wording.interval(cell, row.unit), wording.plain(cell.group), own)
    of_base = (wording.difference(cell, row.unit), wording.difference_interval(cell, row.unit), wording.compared(cell))
    return "<br>".join(line for parts in (figure, of_base) if (line := " ".join(part for part in parts if part)))


def group_lines(tables: Sequence[GroupTable], level: str = "##") -> Iterator[str]:
    """Heading and table in Markdown of the groups of every measure; empty without groups."""
    if tables:
        head = ["measure", "model", "worst group", "n", "value", "gap", "mean over groups", "n of all"]
        rows = [row for table in tables for row in _rows_of_groups(table)]
        yield from ("", f"{level} Groups", "", *Table(head, "lllrrrrr", rows).markdown())


def _rows_of_groups(table: GroupTable) -> Iterator[list[str]]:
    for column in table.columns:
        worst = wording.plain(column.worst) or wording.UNDEFINED
        counts = [wording.items_in([figure], table.resampled) for figure in (column.worst_group, column.mean)]
        figures = [wording.figure(figure, table.unit) for figure in (column.worst_group, column.gap, column.mean)]
        yield [wording.measure(table.title), column.model, worst, counts[0], *figures, counts[1]]


def comparison_blocks(
    compared: Report | RewardComparison, against: str, title: str, width: int
) -> Iterator[RenderableType]:
    """Table on a terminal, in blocks that fit `width` and begin with `against`; then legend and notes."""
    labels = [model.label for model in compared.models]
    first = [label for label in labels if label == against]  # stands in every block, to compare with
    others = [label for label in labels if label != against]
    names = min(MOST_NAME_WIDTH, widest(named(row, row.cells) for row in compared.rows) + 1)
    texts = (_text(row, cell) for row in compared.rows for cell in row.cells)
    column = max(widest(texts), *map(len, labels)) + 2
    for block in side_by_side(others, lambda _: column, width - names - column * len(first)):
        heads = [*first, *block]
        rows = ((row, named(row, row.cells), [_text(row, row.cell(label)) for label in heads]) for row in compared.rows)
        yield measures_table(title, names, heads, rows)
    notes = [note for note in compared.notes if note != EFFECT]  # d has no room in this table
    legend = LEGEND.format(against="the base" if against == BASE else against)
    yield from map(said, (legend, *lacking(compared), *notes))


def named(row: Topic, figures: Sequence[Figure]) -> Text:
    """Name of a row, and below it the number of items behind its figures."""
    from rich.text import Text

    indent, count = "   " if row.part else " ", wording.count(figures, row.resampled)
    text = Text(indent + wording.heading(row))
    return text.append(f"\n{indent}{count}", style="dim") if count else text


def _text(row: MeasureRow, cell: ReportCell) -> Text:
    """Value, interval, difference and p-value below each other."""
    from rich.text import Text

    value = wording.number(cell.value, row.unit) + (" *" if cell.best else "")
    text = Text(value, style="bold" if cell.best else "")
    if cell.spread is not None:
        text.append(f" s {wording.number(cell.spread, row.unit)}", style="not bold dim")
    for line, style in (
        (wording.interval(cell, row.unit), "dim"),
        (wording.own_count(cell, row.cells, row.resampled), "dim"),
        (wording.difference(cell, row.unit), STYLES[cell.verdict]),
        (wording.tested(cell.test, cell.p_holm, wording.difference_of(cell)), "dim"),
    ):
        if line:
            text.append(f"\n{line}", style=f"not bold {style}")
    return text
