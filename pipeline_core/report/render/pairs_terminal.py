"""Two models side by side on a terminal: measures down, in as many blocks of columns as the width asks for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from pipeline_core.report.figures.model import Figure
from pipeline_core.report.figures.pair_model import OverSeeds, Pair, PairRow, Side
from pipeline_core.report.render import wording
from pipeline_core.report.render.terminal import MOST_NAME_WIDTH, STYLES, named

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

LEGEND = (
    "A is ✓ better   ✗ worse   ≠ other than B on items like these (p < 0.05)   ↓ lower is better   ↑ higher is better"
)
GAP = 3
"""Between two columns."""
Lines = list[tuple[str, str]]
"""Text and style, line by line."""


class Column(NamedTuple):
    """A heading and one cell for every row."""

    head: str
    cells: list[Lines]

    @property
    def width(self) -> int:
        """Its widest line."""
        return max(len(text) for text in [self.head, *(text for cell in self.cells for text, _ in cell)])


def render_pair(console: Console, pair: Pair, title: str = "") -> None:
    """Print the table and how to read it."""
    if not pair.rows:
        console.print("Neither model has a headline measure.", style="dim")
        return
    name_width = min(MOST_NAME_WIDTH, max(map(len, _name_lines(pair))) + 1, console.width // 2)
    for columns in _blocks(_columns(pair), console.width - name_width):
        console.print(_table(pair.rows, columns, name_width, title))
    for line in (LEGEND, *pair.notes, *_undefined(pair)):
        console.print(line, style="dim", markup=False, highlight=False)


def _name_lines(pair: Pair) -> list[str]:
    return [line for row in pair.rows for line in named(row, (row.a, row.b)).plain.splitlines()]


def _columns(pair: Pair) -> list[Column]:
    shown: list[tuple[str, Callable[[PairRow], Lines]]] = [
        (f"A: {pair.a}", lambda row: _side(row.a, row)),
        (f"B: {pair.b}", lambda row: _side(row.b, row)),
        ("A − B, items", _over_items),
    ]
    if any(row.over_seeds for row in pair.rows):
        shown.append(("A − B, seeds", lambda row: _over_seeds(row.over_seeds, row.unit)))
    return [Column(head, [lines(row) for row in pair.rows]) for head, lines in shown]


def _blocks(columns: Sequence[Column], room: int) -> Iterator[list[Column]]:
    """Columns that fit side by side, at least one."""
    block: list[Column] = []
    for column in columns:
        if block and sum(one.width + GAP for one in [*block, column]) > room:
            yield block
            block = []
        block.append(column)
    yield block


def _table(rows: Sequence[PairRow], columns: Sequence[Column], name_width: int, title: str) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(title, style="bold"), box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("", max_width=name_width, overflow="fold")
    for column in columns:
        table.add_column(Text(column.head), justify="right", overflow="fold")
    numbered = enumerate(rows)
    for name, members in groupby(numbered, key=lambda one: wording.section(one[1])):
        table.add_row(Text(name, style="bold"))
        for index, row in members:
            table.add_row(named(row, (row.a, row.b)), *(_text(column.cells[index]) for column in columns))
    return table


def _text(lines: Lines) -> Text:
    from rich.text import Text

    return Text("\n").join(Text(text, style=style) for text, style in lines)


def _side(side: Side, row: PairRow) -> Lines:
    spread = f" s {wording.number(side.spread, row.unit)}" if side.spread is not None else ""
    own = wording.own_count(side, (row.a, row.b), row.resampled)
    value, interval = wording.number(side.value, row.unit) + spread, wording.interval(side, row.unit)
    return _full((value, ""), (interval, "dim"), (own, "dim"))


def _over_items(row: PairRow) -> Lines:
    found = row.over_items
    if found is None:
        return [(wording.UNDEFINED, "dim")]
    value = f"{wording.number(found.difference, row.unit, sign=True)} {wording.MARKS[found.verdict]}".rstrip()
    difference = Figure(value=found.difference, low=found.low, high=found.high)
    interval, p = wording.interval(difference, row.unit), wording.tested(found.test, found.p_holm, difference)
    d = wording.effect(found.effect)
    return _full((value, STYLES[found.verdict]), (interval, "dim"), (p, "dim"), (d, "dim"))


def _over_seeds(found: OverSeeds | None, unit: str) -> Lines:
    if found is None:
        return [(wording.UNDEFINED, "dim")]
    interval = wording.interval(Figure(low=found.low, high=found.high), unit)
    below = f"{found.below_zero} of {len(found.seeds)} below 0"
    return _full((wording.number(found.difference, unit, sign=True), ""), (interval, "dim"), (below, "dim"))


def _full(*lines: tuple[str, str]) -> Lines:
    return [line for line in lines if line[0]]


def _undefined(pair: Pair) -> Iterator[str]:
    for row in (row for row in pair.rows if not row.part):
        for label, side in ((pair.a, row.a), (pair.b, row.b)):
            if side.reason:
                yield f"{wording.UNDEFINED} {wording.measure(row.title)} ({label}): {side.reason}"
            if why := wording.why_no_interval(side, row.resampled):
                yield f"{wording.measure(row.title)} ({label}) has no interval: {why}"
