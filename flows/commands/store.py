"""`evenhand store`: lists artifacts and deletes unused ones."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.output import AsJson, print_json, say, table

if TYPE_CHECKING:
    from pipeline_core.store.artifacts import Manifest

app = typer.Typer(help="The artifact store.", no_args_is_help=True)
DAY, GIGABYTE = 86400.0, 1e9
LONGEST = 80
"""Maximum characters of a label or name in the table; `--json` prints it in full."""


@app.command("ls")
def ls(as_json: AsJson = False) -> None:
    """List all artifacts, newest first."""
    from pipeline_core.errors import shortened
    from pipeline_core.store.artifacts import Store

    store = Store.from_environment()
    rows = [_row(manifest) for manifest in store.ls()]
    if as_json:
        print_json(rows)
        return
    total = sum(row["bytes"] for row in rows)
    columns = ["kind", "key", "stage", "plugin", "label", "seed", "created", "size"]
    shown = [[*(shortened(str(row[c]), LONGEST) for c in columns[:-1]), megabytes(row["bytes"])] for row in rows]
    for line in shown:
        line[1] = line[1][:16]
    table(f"{store}: {len(rows)} artifacts, {megabytes(total)}", columns, shown)


def _row(manifest: Manifest) -> dict[str, Any]:
    made = time.strftime("%Y-%m-%d %H:%M", time.localtime(manifest.created))
    names = ("kind", "key", "digest", "stage", "plugin", "label", "seed", "seconds")
    return {name: getattr(manifest, name) for name in names} | {"created": made, "bytes": manifest.size}


def megabytes(size: int) -> str:
    """A size in bytes as megabytes, for tables."""
    return f"{size / 1e6:.1f} MB"


@app.command("gc")
def gc(
    keep_days: Annotated[float, typer.Option(help="Keep what was used within this many days.")] = 30.0,
    keep_runs: Annotated[int, typer.Option(help="Keep whatever the newest runs used.")] = 10,
    max_gb: Annotated[float | None, typer.Option(help="Gigabytes of artifacts; the longest unused go first.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    as_json: AsJson = False,
) -> None:
    """Delete artifacts not used by the newest runs or in the last days, abandoned work, old caches and logs.

    Pinned and registered ones stay, and so does what a run that goes on uses.
    """
    from flows.cleanup import beyond, find_waste, remove
    from flows.nights.pins import pinned_keys
    from flows.records import keys_in_use
    from flows.shared_store import clean_up
    from pipeline_core.errors import BadInput
    from pipeline_core.store.artifacts import Store
    from pipeline_core.store.places import Places

    if not (keep_days >= 0 and keep_runs >= 0 and (max_gb is None or max_gb >= 0)):  # in this form NaN is refused too
        raise BadInput("--keep-days, --keep-runs, --max-gb: must not be negative")
    places = Places.from_environment()
    store = Store(places.store)  # of a bucket, the cache
    pinned = pinned_keys(store)
    waste = find_waste(store, keys_in_use(places.runs, keep_runs) | pinned, keep_days * DAY)
    if max_gb is not None:  # of old runs too, whatever the newest ones are; `keep_runs=0` leaves those that go on
        gone = {removable.path for removable in waste}
        waste += beyond(store, max_gb * GIGABYTE, keys_in_use(places.runs, 0) | pinned, gone)
    sizes = {removable.path: removable.size for removable in waste} if dry_run else remove(store, waste)
    freed = {str(path): size for path, size in sizes.items()}
    found = {str(removable.path): removable.what for removable in waste}
    if places.bucket:
        shared, gone_there = clean_up(places, keep_runs, keep_days * DAY, dry_run=dry_run)
        found, freed = found | shared, freed | gone_there
    if as_json:
        entries = [{"path": path, "what": what} for path, what in found.items()]
        print_json({"removed": not dry_run, "found": entries, "bytes": sum(freed.values())})
        return
    for path, what in found.items():
        print(f"{what}: {path}")
    say(f"{'would free' if dry_run else 'freed'} {megabytes(sum(freed.values()))} in {len(freed)} places")


@app.command("rm")
def rm(key: Annotated[str, typer.Argument(metavar="KEY", help="The beginning of an artifact's key.")]) -> None:
    """Remove one artifact, e.g. a damaged one; the next run that needs it makes it again."""
    from flows.shared_store import remove_artifact
    from pipeline_core.store.artifacts import Store

    print(remove_artifact(Store.from_environment(), key))


PinnedArgument = Annotated[
    str, typer.Argument(metavar="RUN_OR_KEY", help="The beginning of a run's id or an artifact's key, or `last`.")
]


@app.command("pin")
def pin(which: PinnedArgument) -> None:
    """Keep a run with all its artifacts, or an artifact, whatever is cleaned up.

    The newest pinned run of a schedule is also the reference that its later runs are compared with.
    """
    from flows.nights.pins import pin as keep
    from pipeline_core.store.places import Places

    made = keep(Places.from_environment(), which)
    say(f"pinned: {made.what} {made.name} ({made.id[:12]}), {len(made.keys)} artifacts")


@app.command("unpin")
def unpin(which: PinnedArgument) -> None:
    """Remove a pin; what it protected may go with the next cleanup."""
    from flows.nights.pins import unpin as release
    from pipeline_core.store.places import Places

    say(f"no longer pinned: {release(Places.from_environment(), which)[:12]}")


@app.command("pins")
def pins(as_json: AsJson = False) -> None:
    """List pins."""
    from flows.nights.pins import pins as all_pins
    from pipeline_core.store.artifacts import Store

    found = all_pins(Store.from_environment())
    if as_json:
        print_json([one.model_dump() for one in found])
        return
    rows = [[one.what, one.name, one.id[:16], str(len(one.keys))] for one in found]
    table("pins", ["what", "name", "id", "artifacts"], rows)
