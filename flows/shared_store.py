"""A store that several hosts share: what this home keeps in it, its cleanup, and the removal of one artifact."""

from __future__ import annotations

import hashlib
import logging
import socket

from flows.nights.pins import pinned_keys
from flows.records import keys_in_use
from pipeline_core.errors import BadInput, EvenhandError, quoted
from pipeline_core.objects.cleanup import find_unused, keep_for, remove_unused
from pipeline_core.objects.names import MANIFESTS
from pipeline_core.objects.opening import open_store
from pipeline_core.objects.store import ObjectStore
from pipeline_core.store.artifacts import Store
from pipeline_core.store.locks import unowned
from pipeline_core.store.places import Places

NEWEST = 10
"""Runs of a home whose artifacts no other home's cleanup removes, besides registered and pinned ones."""
log = logging.getLogger(__name__)


def publish_kept(places: Places, newest: int = NEWEST) -> None:
    """Tell the other hosts that share a bucket what this home's runs keep; a failure is a warning."""
    if places.bucket:
        try:
            keep_for(open_store(places), _home_name(places), _kept(places, newest))
        except EvenhandError as error:
            log.warning("other hosts do not know what this home keeps: %s", error)


def clean_up(
    places: Places, newest: int, unused_seconds: float, *, dry_run: bool
) -> tuple[dict[str, str], dict[str, int]]:
    """Remove unused artifacts of the bucket; returns kinds of waste and freed bytes, by address."""
    store = open_store(places)
    publish_kept(places, newest)
    unused = find_unused(store, _kept(places, newest), unused_seconds)
    freed = {str(each): each.size for each in unused} if dry_run else remove_unused(store, unused)
    found = {f"{store}/{each}": each.what for each in unused}
    return found, {f"{store}/{name}": size for name, size in freed.items()}


def _kept(places: Places, newest: int) -> set[str]:
    return keys_in_use(places.runs, newest) | pinned_keys(Store(places.store))


def remove_artifact(store: Store, prefix: str) -> str:
    """Remove the only artifact whose key begins with `prefix`, from the cache too; returns its address.

    Raises:
        BadInput: none or several match, or a process is at work on the key.
    """
    kind, key = _named(store, prefix)
    with unowned(store.lock_file(key)) as free:
        if not free:
            raise BadInput(f"{kind}/{key[:12]} is being made now")
        if isinstance(store, ObjectStore):
            store.remove(kind, key)
        store.discard(store.folder(kind, key))
    return f"{store}/{kind}/{key}"


def _named(store: Store, prefix: str) -> tuple[str, str]:
    """Kind and key, by names alone: the manifest may be what is damaged."""
    if isinstance(store, ObjectStore):
        names = [found.name.removeprefix(MANIFESTS).removesuffix(".json") for found in store.bucket.list(MANIFESTS)]
    else:
        names = [f"{folder.parent.name}/{folder.name}" for folder in store.root.glob("[!.]*/*/")]
    matches = [name.split("/") for name in names if name.partition("/")[2].startswith(prefix)]
    if len(matches) != 1:
        raise BadInput(f"{len(matches)} artifacts in {store} have a key that starts with {quoted(prefix)}")
    return matches[0][0], matches[0][1]


def _home_name(places: Places) -> str:
    home = hashlib.sha256(str(places.home).encode()).hexdigest()[:12]
    return f"{socket.gethostname()}-{home}"
