"""Where words go: JSON alone on stdout, everything meant for people on stderr or as a table."""

from __future__ import annotations

import json
import sys
import unicodedata
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on stdout and nothing else there.")]


def print_json(value: Any) -> None:
    """Print `value` as indented JSON on stdout; what JSON has no form for, such as a kept time, as text."""
    json.dump(value, sys.stdout, indent=2, ensure_ascii=False, default=str)
    sys.stdout.write("\n")


def console(stderr: bool = False) -> Console:
    """A console that does not cut long names when its output is piped."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    return Console(stderr=stderr, highlight=False, soft_wrap=not stream.isatty())


def say(text: str) -> None:
    """Print a line for people on stderr."""
    print(text, file=sys.stderr, flush=True)


def table(title: str, columns: list[str], rows: list[list[str]]) -> None:
    """Print a table on stdout: framed on a terminal, tab separated when piped. Cells are shown as they are written, and
    their control characters as escapes.
    """
    rows = [[_printable(cell) for cell in row] for row in rows]
    if not sys.stdout.isatty():
        for row in rows:
            print("\t".join(row))
        return
    from rich.table import Table
    from rich.text import Text

    drawn = Table(*columns, title=Text(title), title_justify="left")
    for row in rows:
        drawn.add_row(*map(Text, row))
    console().print(drawn)


def _printable(cell: str) -> str:
    """The text with control characters and halves of characters as escapes; a terminal would obey the first."""
    odd = {one for one in cell if unicodedata.category(one) in ("Cc", "Cs")}
    return "".join(one.encode("unicode_escape").decode() if one in odd else one for one in cell)
