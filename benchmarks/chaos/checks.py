"""Checks after a fault. Each is a function that raises `Lost` or `LeftOver`, with a message that says where."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

from benchmarks.chaos import servers
from benchmarks.chaos.failures import LeftOver, Lost
from benchmarks.chaos.place import Place
from benchmarks.chaos.processes import orphans, until_gone
from flows.records import RunRecord, begun_runs
from flows.stack.automations import SILENT_SECONDS
from flows.stack.unbegun_runs import BEGIN_SECONDS
from pipeline_core.errors import EvenhandError
from pipeline_core.store.artifacts import MANIFEST, ArtifactRef, Store
from pipeline_core.store.manifest import Manifest

Expected = Mapping[str, str]
"""Digest of every artifact of an undisturbed run, by key."""
END_SECONDS = max(SILENT_SECONDS, BEGIN_SECONDS) + 180.0
"""Seconds in which a server must have ended a run whose process is gone: those of its automations, and some more."""
PROCESS_SECONDS = 90.0


def no_wrong_artifact(place: Place, expected: Expected) -> None:
    """Every folder of the store is a complete artifact, its files have the digests of its manifest, and it is right."""
    store = Store(place.store)
    for folder in place.store.glob("[!.]*/*"):
        try:
            manifest = Manifest.read(folder / MANIFEST)
            store.open(ArtifactRef(kind=manifest.kind, key=manifest.key, digest=manifest.digest))
        except (OSError, EvenhandError) as error:
            raise Lost(f"{folder} is damaged: {error}") from error
        if expected and manifest.digest != expected.get(manifest.key):
            raise Lost(f"{manifest.stage}:{manifest.label} {manifest.key[:12]} has another digest than undisturbed")


def all_made(place: Place, record: RunRecord, expected: Expected) -> None:
    """The record of the run that completed names artifacts of the undisturbed digests, each of which is there."""
    there = place.artifacts()
    for stage in record.stages:
        if stage.key not in there:
            raise Lost(f"{stage.stage}:{stage.label} is recorded and not in the store")
        if stage.digest != expected.get(stage.key):
            raise Lost(f"{stage.stage}:{stage.label} ended in another digest than undisturbed")


def finished_stages_reused(place: Place, before: Mapping[str, Manifest]) -> None:
    """Artifacts that were there before are still the same, and not made again."""
    now = place.artifacts()
    for key, manifest in before.items():
        if key not in now or now[key].created != manifest.created:
            raise Lost(f"{manifest.stage}:{manifest.label} {key[:12]} was finished, and was made again")


def nothing_left_in_store(place: Place) -> None:
    """No lock is held, and no work or removal is unfinished."""
    locks = list((place.store / ".locks").glob("*.lock"))
    partial = list((place.store / ".partial").glob("*"))
    trash = list((place.store / ".trash").glob("*"))
    if left := [*locks, *partial, *trash]:
        raise LeftOver(f"in the store: {', '.join(str(path.relative_to(place.store))[:80] for path in left)}")


def no_process_left(place: Place) -> None:
    """No process of a run goes on."""
    if left := until_gone(place.home, PROCESS_SECONDS):
        raise LeftOver(f"processes after {PROCESS_SECONDS:.0f} s: {[(one.pid, one.kind, one.command) for one in left]}")


def no_server_left(place: Place) -> None:
    """No process of a server or worker goes on that the stack does not know."""
    known = [service.process.pid for service in place.stack.record.services]
    _gone(lambda: orphans(place.home, known), "processes that the stack does not know", PROCESS_SECONDS)


def no_record_open(place: Place) -> None:
    """No record says that a run goes on, and nothing waits to be sent to MLflow."""
    if left := begun_runs(place.home / "runs"):
        raise LeftOver(f"records of running runs: {[record.run_name for record in left]}")
    if files := [path for path in (place.home / "unsent").rglob("*") if path.is_file() and path.suffix == ".json"]:
        raise LeftOver(f"data that MLflow has not got: {[path.name for path in files]}")


def nothing_running_in_prefect(place: Place) -> None:
    """Every flow run and task run has a final state."""
    _gone(lambda: servers.open_flow_runs(place), "flow runs in Prefect without an end")
    _gone(lambda: servers.open_task_runs(place), "task runs in Prefect without an end")


def no_slot_taken(place: Place) -> None:
    """No concurrency limit of Prefect has a slot in use."""
    _gone(lambda: servers.taken_slots(place), "slots in Prefect")


def nothing_running_in_mlflow(place: Place) -> None:
    """Every run in MLflow has ended."""
    _gone(
        lambda: [run["info"]["run_name"] for run in servers.tracked_runs(place, "attributes.status = 'RUNNING'")],
        "runs in MLflow that are RUNNING",
    )


def _gone(found: Callable[[], list[str]], what: str, seconds: float = END_SECONDS) -> None:
    end = time.monotonic() + seconds
    while left := found():
        if time.monotonic() > end:
            raise LeftOver(f"{what}, {seconds:.0f} s after the last run: {', '.join(left[:20])}")
        time.sleep(1)


def tracked_once(place: Place, record: RunRecord) -> None:
    """MLflow has the completed run as FINISHED, with each of its stages once."""
    parent = next(iter(servers.tracked_runs(place, f"attributes.run_id = '{record.run_id}'")), None)
    if parent is None or parent["info"]["status"] != "FINISHED":
        raise Lost(
            f"the completed run {record.run_name} is not FINISHED in MLflow: {parent and parent['info']['status']}"
        )
    children = servers.tracked_runs(place, f"tags.`mlflow.parentRunId` = '{record.run_id}'")
    counts = Counter(run["info"]["run_name"] for run in children)
    if twice := [name for name, count in counts.items() if count > 1]:
        raise LeftOver(f"stages twice in MLflow, below {record.run_name}: {twice}")
    if len(counts) < len(record.stages):
        raise Lost(f"MLflow has {len(counts)} of {len(record.stages)} stages of {record.run_name}")


def nothing_registered_twice(place: Place) -> None:
    """The registry has one version for each model."""
    registered = Counter((name, digest) for name, _, digest in servers.versions(place))
    if twice := [name for (name, _), count in registered.items() if count > 1]:
        raise LeftOver(f"registered more than once: {twice}")


def completed(place: Place, record: RunRecord, expected: Expected, before: Mapping[str, Manifest]) -> None:
    """All that must hold when the last run has completed, and nothing else goes on."""
    no_wrong_artifact(place, expected)
    all_made(place, record, expected)
    finished_stages_reused(place, before)
    no_process_left(place)
    no_server_left(place)
    nothing_left_in_store(place)
    no_record_open(place)
    tracked_once(place, record)
    nothing_registered_twice(place)
    nothing_running_in_mlflow(place)
    nothing_running_in_prefect(place)
    no_slot_taken(place)


def size_of(folder: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
