"""Checks the file writes and imports of a stage for the conformance kit.

Python's audit events report writes within the process. Libraries that write in native code do not raise them, so the
second run has an empty home and working folder, whose contents are compared before and after.
"""

from __future__ import annotations

import functools
import importlib
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline_core.conformance.forks import run_forked, run_started
from pipeline_core.plugin.registry import PluginOrigin, Registry, load_registry
from pipeline_core.plugin.specs import Spec
from pipeline_core.stage.key import Job
from pipeline_core.stage.run import StageResult, run_stage
from pipeline_core.store.artifacts import Store
from pipeline_core.store.places import Places

FORBIDDEN = ("prefect", "mlflow", "flows")
CHANGES = {
    "os.mkdir": (0,),
    "os.remove": (0,),
    "os.rmdir": (0,),
    "os.rename": (0, 1),
    "os.link": (1,),
    "os.symlink": (1,),
    "os.truncate": (0,),
}
"""Audit events that change files, and the positions of their path arguments."""


def run_apart(job: Job, spec: Spec, root: Path, made: Path, registry: Registry) -> StageResult:
    """Run a job into the store `root` in a fresh process with an empty home and working folder.

    Raises:
        AssertionError: the run failed, wrote outside `root`, or imported an orchestrator or tracker.
    """
    origin = registry.origin(spec)
    request = {"job": job.model_dump(mode="json"), "store": str(root), "made": str(made), "origin": vars(origin)}
    places = root.parent / f"{root.name}-places"
    empty = [places / name for name in ("home", "cwd")]
    for folder in empty:
        folder.mkdir(parents=True)
    watched = [*empty, made]
    before = _contents(watched)
    run = run_forked if sys.platform == "linux" else run_started
    code, out, err = run(f"{__name__}:main", json.dumps(request), empty[1], _environment(empty[0]))
    assert code == 0, f"{spec.name} fails in a process of its own:\n{err}"
    answer = json.loads(out.splitlines()[-1])  # the plugin may print before
    imported = ", ".join(answer["imported"])
    assert not imported, f"{spec.name} imports {imported} while it runs; a plugin stands on pipeline_core alone"
    changed = sorted(set(before) ^ set(after := _contents(watched)) | {p for p in before if before[p] != after.get(p)})
    assert not changed, f"{spec.name} wrote outside its folder: {changed}"
    return StageResult(**answer["result"])


def _environment(home: Path) -> dict[str, str]:
    # the empty home has no downloaded models
    hub = os.environ.get("HF_HOME", str(Path.home() / ".cache" / "huggingface"))
    kept = {"HF_HOME": hub, "EVENHAND_HOME": str(Places.from_environment().home.absolute())}
    return {**os.environ, **kept, "HOME": str(home), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


def _contents(folders: list[Path]) -> dict[str, tuple[int, int]]:
    """Size and modification time of all files below some folders; (0, 0) for folders."""
    paths = [path for folder in folders for path in folder.rglob("*") if "__pycache__" not in path.parts]
    return {str(path): (0, 0) if path.is_dir() else (path.lstat().st_size, path.lstat().st_mtime_ns) for path in paths}


def main(text: str) -> None:
    """Run the job of a request; print its result and the forbidden modules that were imported."""
    request = json.loads(text)
    job, origin, registry = Job(**request["job"]), PluginOrigin(**request["origin"]), load_registry()
    # a plugin that a test adds is in no package
    if not any(spec.name == job.config["name"] for spec in registry.specs(job.stage)):
        module, _, attribute = origin.module.partition(":")
        plugin = importlib.import_module(module)
        registry.add(getattr(plugin, attribute) if attribute else plugin, origin)
    root, made = Path(request["store"]), Path(request["made"])
    with only_writes_below(root, made):
        result = run_stage(job, Store(root), registry)
    imported = [name for name in FORBIDDEN if name in sys.modules]
    print(json.dumps({"result": result.model_dump(mode="json"), "imported": imported}))


_watched: list[tuple[Path, ...]] = []
_outside: list[str] = []


@contextmanager
def only_writes_below(*roots: Path) -> Iterator[None]:
    """Fail if the block writes, makes, moves or removes files elsewhere (temporary files and byte code are allowed).

    Raises:
        AssertionError: naming the files.
    """
    _install_audit_hook()
    tempfile.gettempdir()  # determined under a lock, on which the hook must not wait
    _watched.append(tuple(root.resolve() for root in roots))
    _outside.clear()
    try:
        yield
    finally:
        _watched.pop()
    assert not _outside, f"wrote outside its folder: {_outside}"


@functools.cache
def _install_audit_hook() -> None:
    # An audit hook cannot be removed: the process has a single one, idle outside `only_writes_below`.
    sys.addaudithook(_audit)


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if not _watched or (event != "open" and event not in CHANGES):
        return
    for path in _changed(event, arguments):
        if "__pycache__" not in path.parts and not _may_write(Path(os.path.realpath(path))):
            _outside.append(str(path))


def _changed(event: str, arguments: tuple[Any, ...]) -> list[Path]:
    if event == "open":
        writes = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_APPEND
        named = arguments[:1] if arguments[2] is not None and arguments[2] & writes else ()
    elif isinstance(arguments[-1], int) and arguments[-1] >= 0 and event != "os.truncate":
        return []  # relative to an open folder: part of a removal whose start was already checked
    else:
        named = tuple(arguments[index] for index in CHANGES[event])
    # a number is an open file, checked at its opening
    paths = [Path(os.fsdecode(name)).absolute() for name in named if isinstance(name, (str, bytes, os.PathLike))]
    # `exist_ok` tries first: nothing changes
    return [path for path in paths if event != "os.mkdir" or not path.is_dir()]


def _may_write(path: Path) -> bool:
    roots = _watched[-1]
    if any(path.is_relative_to(root) for root in roots):
        return True
    # a test's folders are temporary too, yet not free to write
    beside = Path(os.path.commonpath(roots)) if len(roots) > 1 else roots[0].parent
    free = (Path(os.path.realpath(tempfile.gettempdir())), Path("/dev"), Path("/proc"))
    return not path.is_relative_to(beside) and any(path.is_relative_to(root) for root in free)
