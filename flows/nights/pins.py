"""Pins: runs and artifacts that no cleanup removes, `.pins/ID.json` in the store with the keys that each protects."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel, TypeAdapter

from flows.records import find_run
from pipeline_core.errors import BadInput, EvenhandError, quoted
from pipeline_core.files.atomic import replace_file
from pipeline_core.files.json_files import Damaged, read_as
from pipeline_core.store.artifacts import Store
from pipeline_core.store.places import Places


class Pin(BaseModel):
    """A pinned run, or artifact: its id, its name, and the keys of all artifacts that it protects."""

    id: str
    what: str
    """`run` or the kind of the artifact."""
    name: str
    keys: list[str]


_PINS = TypeAdapter(Pin)


def pins(store: Store) -> list[Pin]:
    """All pins of a store.

    Raises:
        EvenhandError: a pin cannot be read, so that nobody knows what it protects.
    """
    return sorted(_read(store), key=lambda pin: (pin.what, pin.name))


def _read(store: Store) -> Iterator[Pin]:
    for file in (store.root / ".pins").glob("*.json"):
        try:
            yield read_as(_PINS, file)
        except FileNotFoundError:
            continue
        except Damaged as error:
            raise EvenhandError(
                f"the pin {file} cannot be read: {error}; nothing is cleaned up until it is pinned again or removed"
            ) from None


def pinned_keys(store: Store) -> set[str]:
    """Keys of the artifacts that pins protect."""
    return {key for pin in _read(store) for key in pin.keys}


def pinned_runs(store: Store) -> set[str]:
    """Ids of pinned runs."""
    return {pin.id for pin in _read(store) if pin.what == "run"}


def pin(places: Places, prefix: str) -> Pin:
    """Pin the run or the artifact whose id begins with `prefix`; `last` is the newest completed run.

    Raises:
        BadInput: none or several match.
    """
    store = Store(places.store)
    made = _of(places, store, prefix)
    with replace_file(_file(store, made.id)) as partial:
        partial.write_text(made.model_dump_json(indent=1), encoding="utf-8")
    return made


def _of(places: Places, store: Store, prefix: str) -> Pin:
    if record := find_run(places.runs, prefix):
        keys = sorted({stage.key for stage in record.stages})
        return Pin(id=record.run_id, what="run", name=record.run_name or record.name, keys=keys)
    manifest = store.resolve(prefix)
    return Pin(id=manifest.key, what=manifest.kind, name=manifest.label or manifest.plugin, keys=[manifest.key])


def unpin(places: Places, prefix: str) -> str:
    """Remove the pin whose id begins with `prefix`; its id. Damaged ones too. Raises `BadInput` for none or several."""
    store = Store(places.store)
    record = find_run(places.runs, prefix) if prefix == "last" else None
    start = record.run_id if record else prefix
    found = [file for file in (store.root / ".pins").glob("*.json") if file.stem.startswith(start)]
    if len(found) != 1:
        raise BadInput(
            f"{len(found)} pins have an id that starts with {quoted(prefix)}; `evenhand store pins` lists them"
        )
    found[0].unlink()
    return found[0].stem


def _file(store: Store, pin_id: str) -> Path:
    return store.root / ".pins" / f"{pin_id}.json"
