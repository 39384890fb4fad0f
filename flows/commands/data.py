"""`evenhand data`: lists, shows and validates catalog entries."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from flows.commands.quality import quality
from flows.output import AsJson, print_json, say, table

app = typer.Typer(help="The data catalog.", no_args_is_help=True)
app.command("quality")(quality)
EntryArgument = Annotated[str, typer.Argument(metavar="NAME", help="A catalog entry.")]


@app.command("ls")
def ls(as_json: AsJson = False) -> None:
    """List the entries: kind, rows, licence, and if the rows are available locally."""
    from pipeline_core.data.catalog import Catalog

    catalog = Catalog.from_environment()
    entries = [catalog.describe(name) for name in catalog.entries]
    if as_json:
        print_json([{key: value for key, value in entry.items() if key != "card"} for entry in entries])
        return
    columns = ["entry", "kind", "rows", "at hand", "licence", "title"]
    rows = [[e["entry"], e["kind"], e["rows"], _at_hand(e), e["licence"], e["title"]] for e in entries]
    table(f"{len(entries)} entries", columns, rows)


def _at_hand(entry: dict[str, Any]) -> str:
    if entry["kind"] == "hub":
        return "hub"
    return "yes" if entry.get("available") else "no"


@app.command("show")
def show(
    name: EntryArgument,
    split: Annotated[str | None, typer.Option(help="Part of the entry.")] = None,
    rows: Annotated[int, typer.Option(min=0, help="How many rows to show.")] = 3,
    as_json: AsJson = False,
) -> None:
    """Show an entry's facts, its card and its first rows."""
    from pipeline_core.data.catalog import Catalog
    from pipeline_core.data.reading import first_rows
    from pipeline_core.data.refs import DataRef

    catalog = Catalog.from_environment()
    entry = catalog.describe(name)
    card = entry.pop("card")
    shown = entry.get("available") and rows  # rows of a hub entry are not downloaded only to be shown
    first = first_rows(catalog.load(DataRef(entry=name, split=split)), rows).to_pylist() if shown else []
    if as_json:
        print_json({**entry, "card": card, "first_rows": first})
        return
    for key, value in entry.items():
        if value not in (None, "", []):
            print(f"{key}: {', '.join(map(str, value)) if isinstance(value, list) else value}")
    print(f"\n{card}" if card else "")
    for row in first:
        print(json.dumps(row, ensure_ascii=False, default=str))  # columns outside the contract may hold times


@app.command("validate")
def validate(
    name: EntryArgument,
    model: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="A model, of whose tokenizer control tokens are looked for too."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Read every row of an entry, report faulty rows, and count rows that name control tokens."""
    from pipeline_core.data.catalog import Catalog
    from pipeline_core.errors import BadInput, quoted
    from pipeline_core.files.atomic import user_path
    from pipeline_core.quality.validating import validate_entry

    if model is not None:
        model = user_path(model)
        if not model.is_dir():
            raise BadInput(f"--model: there is no folder {quoted(str(model), 200)}")
    findings = validate_entry(Catalog.from_environment(), name, model)
    if as_json:
        print_json(findings)
    else:
        _print_findings(findings)
    if not findings["ok"]:
        raise BadInput(
            f"{name}: {findings['faulty']} faulty rows" if findings["faulty"] else f"{name} cannot be read (see above)"
        )


def _print_findings(found: dict[str, Any]) -> None:
    parts = ", ".join(f"{split} {count}" for split, count in found["splits"].items())
    skipped = ", ".join(f"{reason} {count}" for reason, count in found["skipped"].items())
    print(f"{found['entry']}: {found['rows']} rows{f' ({parts})' if parts else ''}; left out: {skipped or 'none'}")
    if found.get("named"):
        told = ", ".join(f"{name} in {count} row{'s' * (count > 1)}" for name, count in found["named"].items())
        say(f"texts name control tokens, which are read as text unless rows are said to be `rendered`: {told}")
    for fault in found["faults"]:
        say(fault)
