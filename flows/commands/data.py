"""`evenhand data`: the catalog's entries, their rows, and whether they keep the row contract."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(help="The data catalog.", no_args_is_help=True)
Entry = Annotated[str, typer.Argument(metavar="NAME", help="A catalog entry.")]
