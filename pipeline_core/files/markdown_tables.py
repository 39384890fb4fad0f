"""Tables in Markdown."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence

from pipeline_core.files.markdown_text import inert


def markdown_table(columns: Sequence[str], rows: Iterable[Sequence[str]], right: Collection[int] = ()) -> Iterator[str]:
    """Lines of a table; columns whose numbers are in `right` are aligned to the right."""
    yield markdown_row(columns)
    yield markdown_row(["---:" if number in right else "---" for number in range(len(columns))])
    yield from map(markdown_row, rows)


def markdown_row(cells: Sequence[str]) -> str:
    """Line of a table; cells hold no markup that acts (`inert`), and a `|` in them is escaped."""
    return f"| {' | '.join(inert(cell).replace('|', chr(92) + '|') for cell in cells)} |"
