"""Files of the Hugging Face hub at one commit. An entry that names no commit is pinned at its first use."""

from __future__ import annotations

import glob
from pathlib import Path

from pipeline_core.data.entries import HubEntry
from pipeline_core.data.patterns import matching_files
from pipeline_core.errors import BadInput
from pipeline_core.network.hub_commits import HUB, HubUnreachable, recorded_commit, resolved_commit
from pipeline_core.network.proxies import through

WORKS_OFFLINE = (
    "Without the hub the sandbox entries work, and so do local files below EVENHAND_DATA (`evenhand data ls`)."
)


def snapshot(name: str, entry: HubEntry) -> Path:
    """Folder with the entry's files at its commit, from the hub's cache if they are there.

    Raises:
        BadInput: the files are not in the cache and the hub cannot be reached.
    """
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    commit = commit_of(name, entry)
    patterns = [*entry.patterns(None), *([entry.join.path] if entry.join else [])]

    def fetch(offline: bool) -> Path:
        allowed = [*patterns, *map(glob.escape, patterns)]  # brackets may be part of a file's name
        path = snapshot_download(
            entry.repo, repo_type="dataset", revision=commit, allow_patterns=allowed, local_files_only=offline
        )
        return Path(path)

    try:
        folder = fetch(offline=True)
        if all(matching_files(folder, pattern) for pattern in patterns):  # the cache may hold other files alone
            return folder
    except LocalEntryNotFoundError:
        pass
    try:
        HfApi().dataset_info(entry.repo, revision=commit, timeout=10)  # a single try: a download would retry for long
        return fetch(offline=False)
    except Exception as error:  # errors of the client's HTTP library pass through, and the library changes
        reason = next(iter(str(error).splitlines()), "")
        raise BadInput(
            f"{_needs(name, entry)} ({type(error).__name__}: {reason}{through(HUB)}). {WORKS_OFFLINE}"
        ) from None


def _needs(name: str, entry: HubEntry) -> str:
    return f"{name}: this entry needs the Hugging Face hub (data set {entry.repo}), which cannot be reached"


def known_commit(entry: HubEntry) -> str | None:
    """The entry's commit as written or as recorded at first use; None while it is not pinned."""
    return entry.revision or recorded_commit(entry.repo, "dataset")


def commit_of(name: str, entry: HubEntry) -> str:
    """The entry's commit: as written, as recorded at first use, or the newest, which is then recorded.

    Raises:
        BadInput: no commit is recorded, and the hub cannot be reached.
    """
    try:
        return entry.revision or resolved_commit(entry.repo, "dataset")
    except HubUnreachable as error:
        raise BadInput(
            f"{_needs(name, entry)} ({error}). It is not pinned yet: its newest commit is taken and recorded at first "
            f"use. {WORKS_OFFLINE}"
        ) from None
