"""The report's table on a terminal: measures down, models across, in as many blocks as the width asks for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from pipeline_core.report.figures.model import BASE, Cell, Figure, Report, Rewards, Row, Topic
from pipeline_core.report.render import gate_words as words
from pipeline_core.report.render import wording
from pipeline_core.report.render.notes import EFFECT

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

Compared = Report | Rewards
"""What has rows, and the models or rewards they compare."""
MOST_NAME_WIDTH = 32
LEGEND = "* best   ✓ better   ✗ worse   ≠ other than {against} (p < 0.05)   ↓ lower is better   ↑ higher is better"
STYLES = {"better": "green", "worse": "red", "different": "yellow", "unclear": "dim", "": "dim"}


def render_terminal(console: Console, report: Report) -> None:
    """Print the headline tables, of models and of rewards, how to read them, and the gate's verdicts."""
    if not report.rows and not report.rewards:
        console.print("This run evaluated nothing.", style="dim")
    if report.rows:
        seeds = f"{len(report.seeds)} seeds" if len(report.seeds) > 1 else ""
        _print(console, report, BASE, " · ".join(part for part in (report.name, seeds) if part))
    if report.rewards:
        _print(console, report.rewards, report.rewards.first, f"{report.name} · rewards")
    for one in (one for one in report.items if one.has_losses):
        line = f"{wording.plain(one.suite)}: {wording.counted(one, len(report.models))}"
        console.print(line, style="dim", markup=False, highlight=False)
    for verdict in report.gate:
        style = "green" if verdict.passed else "bold red"
        line = f"{words.MARKS[verdict.outcome]} gate  {words.sentence(verdict)}"
        console.print(line, style=style, markup=False, highlight=False)


def _print(console: Console, compared: Compared, against: str, title: str) -> None:
    for labels in _blocks(compared, against, console.width):
        console.print(_table(compared, labels, title))
    legend = LEGEND.format(against="the base" if against == BASE else against)
    notes = [note for note in compared.notes if note != EFFECT]  # which the table has no room for
    for line in (legend, *wording.undefined(compared), *wording.without_interval(compared), *notes):
        console.print(line, style="dim", markup=False, highlight=False)


def _blocks(compared: Compared, against: str, width: int) -> Iterator[list[str]]:
    """Labels that fit side by side; what the others are compared with leads every block."""
    labels = [model.label for model in compared.models]
    first = [label for label in labels if label == against]
    others = [label for label in labels if label != against]
    size = max(1, (width - _name_width(compared)) // _cell_width(compared) - len(first))
    for start in range(0, max(1, len(others)), size):
        yield [*first, *others[start : start + size]]


def _name_width(compared: Compared) -> int:
    lines = [line for row in compared.rows for line in named(row, row.cells).plain.splitlines()]
    return min(MOST_NAME_WIDTH, max(map(len, lines)) + 1)


def row_name(row: Topic) -> str:
    """The name of a row, set in below its section and its measure."""
    return ("   " if row.part else " ") + wording.heading(row)


def named(row: Topic, figures: Sequence[Figure]) -> Text:
    """A row's name, and below it how many items its figures rest on."""
    from rich.text import Text

    text, count = Text(row_name(row)), wording.count(figures, row.resampled)
    return text.append(f"\n{'   ' if row.part else ' '}{count}", style="dim") if count else text


def _cell_width(compared: Compared) -> int:
    """Columns a model takes: its widest line and the gap."""
    lines = [line for row in compared.rows for cell in row.cells for line in _text(row, cell).plain.splitlines()]
    return max(len(text) for text in [*lines, *(model.label for model in compared.models)]) + 2


def _table(compared: Compared, labels: Sequence[str], title: str) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(title, style="bold"), box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("", max_width=_name_width(compared), overflow="fold")
    for label in labels:
        table.add_column(Text(label), justify="right", overflow="fold")
    for name, rows in groupby(compared.rows, key=wording.section):
        table.add_row(Text(name, style="bold"))
        for row in rows:
            table.add_row(named(row, row.cells), *(_text(row, row.cell(label)) for label in labels))
    return table


def _text(row: Row, cell: Cell) -> Text:
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
