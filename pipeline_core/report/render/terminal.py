"""The report on a terminal, and two models side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from pipeline_core.report.all_sections import ON_TERMINAL, shown_in
from pipeline_core.report.figures.cells import Figure
from pipeline_core.report.figures.model import Report
from pipeline_core.report.figures.pairs import ModelPair, PairRow, PairSide, SeedComparison
from pipeline_core.report.render import wording
from pipeline_core.report.render.comparison import MOST_NAME_WIDTH, STYLES, named
from pipeline_core.report.render.tables import measures_table, said, side_by_side, widest

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

LEGEND = (
    "A is ✓ better   ✗ worse   ≠ other than B on items like these (p < 0.05)   ↓ lower is better   ↑ higher is better"
)
GAP = 3
"""Characters between two columns."""


class TerminalColumn(NamedTuple):
    """A heading and one cell for every row."""

    head: str
    cells: list[Text]

    @property
    def width(self) -> int:
        """Characters of its widest line."""
        return max(len(self.head), widest(self.cells))


def render_terminal(console: Console, report: Report) -> None:
    """Print the headline tables of models and of rewards, their notes, and the gate's verdicts."""
    for section, shown in shown_in(report, ordered=ON_TERMINAL, width=console.width):
        for block in section.terminal(shown):
            console.print(block)


def render_pair(console: Console, pair: ModelPair, title: str = "") -> None:
    """Print two models in a row per measure, in as many blocks of columns as the width requires, and notes."""
    if not pair.rows:
        console.print("Neither model has a headline measure.", style="dim")
        return
    # Half of a narrow terminal is left for figures.
    name_width = min(MOST_NAME_WIDTH, widest(map(_named, pair.rows)) + 1, console.width // 2)
    for columns in side_by_side(_columns(pair), lambda column: column.width + GAP, console.width - name_width):
        cells = zip(*(column.cells for column in columns), strict=True)
        rows = ((row, _named(row), of_row) for row, of_row in zip(pair.rows, cells, strict=True))
        console.print(measures_table(title, name_width, [column.head for column in columns], rows))
    for line in (LEGEND, *pair.notes, *_undefined(pair)):
        console.print(said(line))


def _named(row: PairRow) -> Text:
    return named(row, (row.a, row.b))


def _columns(pair: ModelPair) -> list[TerminalColumn]:
    shown: list[tuple[str, Callable[[PairRow], Text]]] = [
        (f"A: {pair.a}", lambda row: _side(row.a, row)),
        (f"B: {pair.b}", lambda row: _side(row.b, row)),
        ("A − B, items", _over_items),
    ]
    if any(row.over_seeds for row in pair.rows):
        shown.append(("A − B, seeds", lambda row: _over_seeds(row.over_seeds, row.unit)))
    return [TerminalColumn(head, [lines(row) for row in pair.rows]) for head, lines in shown]


def _cell(*lines: tuple[str, str]) -> Text:
    """Lines with their styles below each other, without the empty ones."""
    from rich.text import Text

    return Text("\n").join(Text(text, style=style) for text, style in lines if text)


def _side(side: PairSide, row: PairRow) -> Text:
    spread = f" s {wording.number(side.spread, row.unit)}" if side.spread is not None else ""
    own = wording.own_count(side, (row.a, row.b), row.resampled)
    value, interval = wording.number(side.value, row.unit) + spread, wording.interval(side, row.unit)
    return _cell((value, ""), (interval, "dim"), (own, "dim"))


def _over_items(row: PairRow) -> Text:
    compared = row.over_items
    if compared is None:
        return _cell((wording.UNDEFINED, "dim"))
    value = f"{wording.number(compared.difference, row.unit, sign=True)} {wording.MARKS[compared.verdict]}".rstrip()
    difference = Figure(value=compared.difference, low=compared.low, high=compared.high)
    interval, p = wording.interval(difference, row.unit), wording.tested(compared.test, compared.p_holm, difference)
    d = wording.effect(compared.effect)
    return _cell((value, STYLES[compared.verdict]), (interval, "dim"), (p, "dim"), (d, "dim"))


def _over_seeds(compared: SeedComparison | None, unit: str) -> Text:
    if compared is None:
        return _cell((wording.UNDEFINED, "dim"))
    interval = wording.interval(Figure(low=compared.low, high=compared.high), unit)
    below = f"{compared.below_zero} of {len(compared.seeds)} below 0"
    return _cell((wording.number(compared.difference, unit, sign=True), ""), (interval, "dim"), (below, "dim"))


def _undefined(pair: ModelPair) -> Iterator[str]:
    for row in (row for row in pair.rows if not row.part):
        for label, side in ((pair.a, row.a), (pair.b, row.b)):
            if side.reason:
                yield f"{wording.UNDEFINED} {wording.measure(row.title)} ({label}): {side.reason}"
            if why := wording.why_no_interval(side, row.resampled):
                yield f"{wording.measure(row.title)} ({label}) has no interval: {why}"
