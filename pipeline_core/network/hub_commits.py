"""Commits of the hub. An unpinned repository is pinned at its first use: the newest commit is recorded and kept."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Annotated, Literal

from filelock import FileLock
from pydantic import Field, TypeAdapter

from pipeline_core.errors import BadInput, quoted
from pipeline_core.files.atomic import replace_file
from pipeline_core.files.json_files import Damaged, read_as
from pipeline_core.network.proxies import through
from pipeline_core.store.places import Places

HUB = os.environ.get("HF_ENDPOINT", "https://huggingface.co")  # the variable that huggingface_hub reads
RECORDED = TypeAdapter(dict[str, Annotated[str, Field(pattern="^[0-9a-f]{40}$")]])
COMMIT = re.compile(r"[0-9a-f]{40}")
RepositoryKind = Literal["dataset", "model"]


class HubUnreachable(BadInput):
    """The hub is needed and does not answer."""


def check_commit(revision: str | None) -> None:
    """Refuse a revision that is not a full commit hash; None is accepted.

    Raises:
        ValueError: reported by pydantic at the field.
    """
    if revision is not None and not COMMIT.fullmatch(revision):
        raise ValueError(
            f"revision {quoted(revision)} is no commit (40 hex digits), and a branch or tag can be moved; without a "
            "revision the newest commit is taken at first use, recorded and kept"
        )


def recorded_commit(repo: str, kind: RepositoryKind) -> str | None:
    """Commit that was recorded on this machine at first use, or None."""
    return _read().get(_key(repo, kind))


def resolved_commit(repo: str, kind: RepositoryKind) -> str:
    """Recorded commit, else the newest, which is then recorded.

    Raises:
        HubUnreachable: no commit is recorded, and the hub does not answer.
    """
    return recorded_commit(repo, kind) or _record(_key(repo, kind), _newest(repo, kind))


def _newest(repo: str, kind: RepositoryKind) -> str:
    from huggingface_hub import HfApi

    try:
        api = HfApi()
        info = api.dataset_info(repo, timeout=10) if kind == "dataset" else api.model_info(repo, timeout=10)
        return str(info.sha)
    except Exception as error:  # the client passes on errors of its HTTP library, which may change
        reason = next(iter(str(error).splitlines()), "")
        raise HubUnreachable(f"{type(error).__name__}: {reason}{through(HUB)}") from None


def _record(key: str, commit: str) -> str:
    """Record a commit unless another process has recorded one meanwhile; returns the recorded commit."""
    path = _file()
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock")):
        recorded = _read()  # again under the lock: another process may have been first
        recorded.setdefault(key, commit)
        with replace_file(path) as partial:
            partial.write_text(json.dumps(recorded, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return recorded[key]


def _key(repo: str, kind: RepositoryKind) -> str:
    return repo if kind == "dataset" else f"{kind}:{repo}"


def _file() -> Path:
    return Places.from_environment().home / "hub_commits.json"


def _read() -> dict[str, str]:
    try:
        return read_as(RECORDED, _file())
    except FileNotFoundError:
        return {}
    except Damaged as error:
        raise BadInput(f"{_file()} cannot be read: {error}; remove it to record the newest commits again") from None
