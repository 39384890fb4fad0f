"""Output of commands: JSON or tables on stdout, messages for people on stderr."""

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
    """Print `value` as indented JSON on stdout; values without a JSON form, such as times, are printed as text."""
    json.dump(value, sys.stdout, indent=2, ensure_ascii=False, default=str)
    sys.stdout.write("\n")


def console(stderr: bool = False) -> Console:
    """A rich console that does not cut long names if its output is piped."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    return Console(stderr=stderr, highlight=False, soft_wrap=not stream.isatty())


def say(text: str) -> None:
    """Print a line on stderr."""
    print(text, file=sys.stderr, flush=True)


def table(title: str, columns: list[str], rows: list[list[str]]) -> None:
    """Print a table on stdout: framed on a terminal, tab-separated if piped, control characters as escapes."""
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
    """Text with control characters, which a terminal would obey, and lone surrogates as escapes."""
    odd = {char for char in cell if unicodedata.category(char) in ("Cc", "Cs")}
    return "".join(char.encode("unicode_escape").decode() if char in odd else char for char in cell)
