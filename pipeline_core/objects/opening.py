"""Opens the store that `EVENHAND_STORE` names as a bucket."""

from __future__ import annotations

import functools
from pathlib import Path

from pipeline_core.objects.address import BucketAddress
from pipeline_core.objects.bucket import Bucket
from pipeline_core.objects.store import ObjectStore
from pipeline_core.store.places import Places


def open_store(places: Places) -> ObjectStore:
    """The store of `places`, one object for a process: it remembers what it has marked as used.

    Raises:
        BadInput: invalid address, or a missing package. Nothing is asked of the server yet.
    """
    return _opened(places.bucket, places.store)


@functools.cache
def _opened(address: str, cache: Path) -> ObjectStore:
    return ObjectStore(cache, Bucket(BucketAddress.parse(address)))
