"""Names of the objects of a store, relative to its address.

manifests/KIND/KEY.json    an artifact is complete once this exists; written last, under a condition
files/KIND/KEY/SHA256      contents of its files: a repeated or competing upload writes equal bytes
used/KIND/KEY              empty; its time is the artifact's last use
locks/KEY                  owner of the work on a key
kept/HOME.json             keys that the runs of a home keep from the cleanup
"""

from __future__ import annotations

MANIFESTS, FILES, USED, LOCKS, KEPT = "manifests/", "files/", "used/", "locks/", "kept/"


def manifest_name(kind: str, key: str) -> str:
    """Name of a manifest."""
    return f"{MANIFESTS}{kind}/{key}.json"


def files_prefix(kind: str, key: str) -> str:
    """Prefix of the names of an artifact's files."""
    return f"{FILES}{kind}/{key}/"


def used_name(kind: str, key: str) -> str:
    """Name of an artifact's mark of use."""
    return f"{USED}{kind}/{key}"


def lock_name(key: str) -> str:
    """Name of a lock."""
    return f"{LOCKS}{key}"
