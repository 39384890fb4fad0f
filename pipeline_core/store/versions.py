"""Versions of libraries, the commit of this code, and digests of the source code that decides numbers."""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import platform
import subprocess
import sys
from pathlib import Path

from pipeline_core.files.digests import digest_of, digest_of_file

VERSIONED = ("evenhand", "torch", "transformers", "datasets", "scikit-learn", "peft", "numpy")
DECIDING = ("losses", "models", "rewards", "stats", "training")
"""Packages of the core whose code decides the numbers of a training."""
PLUGIN = "plugin.py"
"""Main file of a plugin in a folder; the folder's other files belong to the plugin."""


@functools.cache
def library_versions() -> dict[str, str]:
    """Versions of Python and of the libraries that affect numbers."""
    versions = {"python": platform.python_version()}
    for name in VERSIONED:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return versions


@functools.cache
def commit() -> str:
    """Commit of this code, with ` and changes` if files differ from it; empty if it is no checkout of its own."""
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():  # an installed package may lie in somebody else's checkout
        return ""
    try:
        told = [_git(root, "rev-parse", "HEAD"), _git(root, "status", "--porcelain", "--untracked-files=no")]
    except (OSError, subprocess.SubprocessError):
        return ""
    return told[0] + (" and changes" if told[1] else "")


def _git(root: Path, *words: str) -> str:
    command = ["git", "-C", str(root), *words]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()


@functools.cache
def source_digest(*modules: str) -> str:
    """Digest of the source files of loaded modules and of the core packages in `DECIDING`."""
    core = Path(__file__).parent.parent
    files = [file for package in DECIDING for file in sorted((core / package).rglob("*.py"))]
    own = sorted({file for module in modules for file in _files_of(module)})
    return digest_of([digest_of_file(file) for file in [*files, *own]])


def _files_of(module: str) -> list[Path]:
    file = getattr(sys.modules.get(module), "__file__", None)
    if not file:
        return []
    is_folder = Path(file).name in ("__init__.py", PLUGIN)
    return sorted(Path(file).parent.rglob("*.py")) if is_folder else [Path(file)]
