"""Tables of text, as Markdown and on a terminal; `_macros.html.j2` has them for the page."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, TypeVar

from pipeline_core.files.markdown_tables import markdown_table
from pipeline_core.report.figures.cells import Topic
from pipeline_core.report.render import wording

if TYPE_CHECKING:
    from rich.styled import Styled
    from rich.table import Table as RichTable
    from rich.text import Text

T = TypeVar("T")


@dataclass(frozen=True)
class Table:
    """A head and rows of text; `align` has an `l` or `r` for each column."""

    head: Sequence[str]
    align: str
    rows: Sequence[Sequence[str]]

    def markdown(self) -> Iterator[str]:
        """Lines of the table in Markdown."""
        right = [number for number, side in enumerate(self.align) if side == "r"]
        yield from markdown_table(self.head, self.rows, right)

    def terminal(self, title: str) -> RichTable:
        """The table for a terminal, with a title above."""
        from rich.text import Text

        table = _bare(title)
        for head, side in zip(self.head, self.align, strict=True):
            # `Text`, because rich reads brackets in a plain string as markup.
            table.add_column(Text(head), justify="right" if side == "r" else "left", overflow="fold")
        for row in self.rows:
            table.add_row(*map(Text, row))
        return table


def _bare(title: str) -> RichTable:
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    return RichTable(title=Text(title, style="bold"), box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)


def measures_table(
    title: str, name_width: int, heads: Iterable[str], rows: Iterable[tuple[Topic, Text, Sequence[Text]]]
) -> RichTable:
    """Table of measures for a terminal: a name and a cell for every head, grouped below section headings."""
    from rich.text import Text

    table = _bare(title)
    table.add_column("", max_width=name_width, overflow="fold")  # rich cuts with an ellipsis otherwise
    for head in heads:
        table.add_column(Text(head), justify="right", overflow="fold")
    for section, members in groupby(rows, key=lambda row: wording.section(row[0])):
        table.add_row(Text(section, style="bold"))
        for _, name, cells in members:
            table.add_row(name, *cells)
    return table


def side_by_side(columns: Iterable[T], width: Callable[[T], int], room: int) -> Iterator[list[T]]:
    """Blocks of columns that fit into `room`, with at least one column each; a single empty block without columns."""
    block: list[T] = []
    for column in columns:
        if block and sum(map(width, [*block, column])) > room:
            yield block
            block = []
        block.append(column)
    yield block


def widest(texts: Iterable[Text]) -> int:
    """Characters of the longest line of any text."""
    return max(len(line) for text in texts for line in text.plain.splitlines())


def said(line: str, style: str = "dim") -> Styled:
    """A line for a terminal, without markup."""
    from rich.styled import Styled
    from rich.text import Text

    return Styled(Text(line), style)
