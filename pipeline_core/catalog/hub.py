"""Files of the Hugging Face hub at one commit. An entry that names no commit is pinned at its first use."""

from __future__ import annotations

import json
import os
from pathlib import Path

from pipeline_core.catalog.entries import HubEntry
from pipeline_core.errors import BadInput
from pipeline_core.places import Places

WORKS_OFFLINE = (
    "Without the hub the sandbox entries work, and so do local files below EVENHAND_DATA (`evenhand data ls`)."
)


def snapshot(name: str, entry: HubEntry) -> Path:
    """Folder with the entry's files at its commit, from the hub's cache when they are there.

    Raises:
        BadInput: the files are not in the cache and the hub cannot be reached.
    """
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    commit = commit_of(name, entry, needed=True)
    patterns = [*entry.patterns(None), *([entry.join.path] if entry.join else [])]

    def fetch(offline: bool) -> Path:
        path = snapshot_download(
            entry.repo, repo_type="dataset", revision=commit, allow_patterns=patterns, local_files_only=offline
        )
        return Path(path)

    try:
        if all(any(fetch(offline=True).glob(pattern)) for pattern in patterns):
            return fetch(offline=True)
    except LocalEntryNotFoundError:
        pass
    try:
        HfApi().dataset_info(entry.repo, revision=commit, timeout=10)  # one try: a download would go on for long
        return fetch(offline=False)
    except Exception as error:  # the client lets its HTTP library's own errors through, and the library changes
        raise _unreachable(name, entry, error) from None


def _unreachable(name: str, entry: HubEntry, error: Exception) -> BadInput:
    reason = next(iter(str(error).splitlines()), "")
    return BadInput(
        f"{name}: this entry needs the Hugging Face hub (data set {entry.repo}), which cannot be reached "
        f"({type(error).__name__}: {reason}). {WORKS_OFFLINE}"
    )


def commit_of(name: str, entry: HubEntry, needed: bool = False) -> str | None:
    """The entry's commit: as written, as recorded at first use, or (when `needed`) the newest, which is then recorded.

    Raises:
        BadInput: it is needed, is recorded nowhere, and the hub cannot be reached.
    """
    if entry.revision:
        return entry.revision
    recorded = _recorded()
    if entry.repo in recorded or not needed:
        return recorded.get(entry.repo)
    commit = _newest(name, entry)
    path = _record_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}.partial")
    partial.write_text(json.dumps({**recorded, entry.repo: commit}, indent=1, sort_keys=True) + "\n")
    partial.replace(path)
    return commit


def _newest(name: str, entry: HubEntry) -> str:
    from huggingface_hub import HfApi

    try:
        return str(HfApi().dataset_info(entry.repo, timeout=10).sha)
    except Exception as error:  # as above
        raise _unreachable(name, entry, error) from None


def _record_file() -> Path:
    return Places.from_environment().home / "hub_commits.json"


def _recorded() -> dict[str, str]:
    path = _record_file()
    return dict(json.loads(path.read_text())) if path.exists() else {}
