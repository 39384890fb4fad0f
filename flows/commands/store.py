"""`evenhand store`: what has been made, and what may go."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.output import AsJson, print_json, say, table

if TYPE_CHECKING:
    from pipeline_core.artifacts import Manifest
    from pipeline_core.places import Places

app = typer.Typer(help="The artifact store.", no_args_is_help=True)
DAY = 86400.0


@app.command("ls")
def ls(as_json: AsJson = False) -> None:
    """List all artifacts, newest first."""
    from pipeline_core.artifacts import Store
    from pipeline_core.places import Places

    store = Store(Places.from_environment().store)
    rows = [_row(manifest) for manifest in store.ls()]
    if as_json:
        print_json(rows)
        return
    total = sum(row["bytes"] for row in rows)
    columns = ["kind", "key", "stage", "plugin", "label", "seed", "created", "size"]
    shown = [[*(str(row[c]) for c in columns[:-1]), megabytes(row["bytes"])] for row in rows]
    for line in shown:
        line[1] = line[1][:16]
    table(f"{store.root}: {len(rows)} artifacts, {megabytes(total)}", columns, shown)


def _row(manifest: Manifest) -> dict[str, Any]:
    made = time.strftime("%Y-%m-%d %H:%M", time.localtime(manifest.created))
    names = ("kind", "key", "digest", "stage", "plugin", "label", "seed", "seconds")
    return {name: getattr(manifest, name) for name in names} | {"created": made, "bytes": manifest.size}


def megabytes(size: int) -> str:
    """A size for people."""
    return f"{size / 1e6:.1f} MB"


@app.command("gc")
def gc(
    keep_days: Annotated[float, typer.Option(help="Keep what was made within this many days.")] = 30.0,
    keep_runs: Annotated[int, typer.Option(help="Keep whatever the newest runs used.")] = 10,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    as_json: AsJson = False,
) -> None:
    """Delete artifacts that neither the newest runs nor the last days used, and abandoned work."""
    from pipeline_core.artifacts import Store
    from pipeline_core.places import Places

    places = Places.from_environment()
    store = Store(places.store)
    folders = store.garbage(_kept(places, keep_runs), keep_days * DAY)
    freed = sum(path.stat().st_size for folder in folders for path in folder.rglob("*") if path.is_file())
    if not dry_run:
        store.remove(folders)
    if as_json:
        print_json({"removed": not dry_run, "folders": [str(folder) for folder in folders], "bytes": freed})
        return
    for folder in folders:
        print(folder)
    say(f"{'would free' if dry_run else 'freed'} {megabytes(freed)} in {len(folders)} folders")


def _kept(places: Places, newest: int) -> set[str]:
    from flows.records import all_runs

    return {stage.key for record in all_runs(places.runs)[:newest] for stage in record.stages}
