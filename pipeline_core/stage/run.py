"""Runs a stage: computes its key, and reuses the artifact in the store or makes it, once, and commits it."""

from __future__ import annotations

import contextlib
import logging
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from pipeline_core.data.catalog import Catalog
from pipeline_core.errors import EvenhandError, StageFailed
from pipeline_core.files.atomic import PARTIAL, replace_file
from pipeline_core.models.devices import cores
from pipeline_core.plugin.events import PERFORMANCE
from pipeline_core.plugin.registry import Registry
from pipeline_core.plugin.specs import PluginConfig, Spec
from pipeline_core.plugin.types import Metrics
from pipeline_core.stage.execute import WorkOrder
from pipeline_core.stage.key import Job, data_fingerprints, key_of
from pipeline_core.stage.launch import InterruptCheck, OnEvent, ending, run_here, run_in_worker
from pipeline_core.store.artifacts import ArtifactRef, Manifest, Store
from pipeline_core.store.locks import Lock, Stopped, TakenOver, never
from pipeline_core.store.versions import library_versions

log = logging.getLogger(__name__)


class StageResult(BaseModel):
    """Facts about a finished stage, as plain JSON."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    stage: str
    plugin: str
    label: str
    seed: int
    kind: str
    key: str
    digest: str
    reused: bool
    seconds: float
    metrics: dict[str, float]
    path: Path

    @property
    def ref(self) -> ArtifactRef:
        """The artifact, as an input of the next stage."""
        return ArtifactRef(kind=self.kind, key=self.key, digest=self.digest)


def run_stage(
    job: Job,
    store: Store,
    registry: Registry,
    on_event: OnEvent = lambda _: None,
    on_wait: Callable[[dict[str, Any]], None] = lambda _: None,
    stopping: Callable[[], bool] = never,
) -> StageResult:
    """Find or make the artifact of `job`.

    A second caller of the same job waits for the first and takes its artifact. Killed work resumes from its last
    checkpoint. `on_event` receives training events, `on_wait` the owner of a lock while waiting. Waiting and work end
    when `stopping` returns True or `terminate_all` is called.

    Raises:
        BadInput: invalid input. StageFailed: the plugin failed. ArtifactChanged: an input was changed.
        Stopped: the run was stopped.
    """
    terminated = ending()  # before the key, whose digests of data may take long: an interrupt meanwhile counts
    spec = registry.get(job.stage, job.config["name"])
    key = key_of(job, registry, Catalog.from_environment())
    if manifest := store.use(spec.kind, key):
        return _result(job, manifest, store, reused=True)
    store.prepare()  # not earlier: a read-only store gives what it has
    on_wait = _harmless(on_wait)
    with store.lock(spec.kind, key, on_wait, lambda: stopping() or terminated()) as lock:
        if manifest := store.use(spec.kind, key):  # made by another process during the wait
            return _result(job, manifest, store, reused=True)

        def check() -> None:
            if stopping() or terminated():
                raise Stopped("the run was stopped")
            if lock.lost:
                raise TakenOver

        order = _order(job, store, key, lock)
        manifest, metrics = _make(order, job, spec, store, registry, lock, _harmless(on_event), check)
        shutil.rmtree(store.partial(key), ignore_errors=True)  # in the lock: a later attempt works in there
    return _result(job, manifest, store, reused=False, metrics=metrics)


def _harmless(callback: OnEvent) -> OnEvent:
    """`callback` with its exceptions logged (a warning the first time): a display error must not end the work."""
    warned = False

    def call(event: dict[str, Any]) -> None:
        nonlocal warned
        try:
            callback(event)
        except Exception as error:
            log.log(logging.DEBUG if warned else logging.WARNING, "an event is not shown: %r", error)
            warned = True

    return call


def _order(job: Job, store: Store, key: str, lock: Lock) -> WorkOrder:
    opened = {ref: store.open(ref) for ref in set(job.inputs.values())}  # a model in two roles is read once
    return WorkOrder(
        stage=job.stage,
        config=job.config,
        seed=job.seed,
        data=job.data,
        folders={role: opened[ref] for role, ref in job.inputs.items()},
        attempt=store.partial(key) / lock.token[:12],
        checkpoints=store.partial(key) / "checkpoint",
        scratch=store.scratch,
        device=job.runner.device,
        checkpoint_seconds=job.runner.checkpoint_seconds,
        progress_seconds=job.runner.progress_seconds,
    )


def _make(
    order: WorkOrder,
    job: Job,
    spec: Spec,
    store: Store,
    registry: Registry,
    lock: Lock,
    on_event: OnEvent,
    check: InterruptCheck,
) -> tuple[Manifest, Metrics]:
    config = spec.config.model_validate(job.config)
    key, started = order.attempt.parent.name, time.monotonic()
    try:
        with _storing(job):
            _clear(order)
        if job.runner.launch == "in_process" and config.processes == 1:
            metrics = run_here(order, registry, on_event)
        else:
            threads = job.runner.threads or max(1, cores() // job.runner.concurrency)
            metrics = run_in_worker(order, config.processes, threads, on_event, check)
        facts = _facts(job, spec, config, metrics, time.monotonic() - started)
        with _storing(job):
            manifest = store.commit(spec.kind, key, order.work, lock, **facts)
            _keep_log(order, store, key)
    except EvenhandError as error:
        error.add_note(
            f"stage {job.stage}:{job.label} (seed {job.seed}), work kept in {order.attempt}; "
            f"to run it alone: python -m pipeline_core.stage.worker {order.file}"
        )
        raise
    return manifest, metrics


@contextlib.contextmanager
def _storing(job: Job) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StageFailed(f"{job.stage}:{job.label} could not be stored: {error}") from error


def _clear(order: WorkOrder) -> None:
    """Delete earlier attempts except a complete checkpoint; write the order and make the output folder."""
    for earlier in order.attempt.parent.glob("*"):
        if earlier != order.checkpoints:
            shutil.rmtree(earlier, ignore_errors=True)
    for unfinished in order.checkpoints.glob(f"*{PARTIAL}"):  # of a worker that was killed while it saved
        unfinished.unlink(missing_ok=True)
    order.work.mkdir(parents=True)
    with replace_file(order.file, synced=False) as partial:
        partial.write_text(order.model_dump_json(indent=1), encoding="utf-8")


def _facts(job: Job, spec: Spec, config: PluginConfig, metrics: dict[str, float], seconds: float) -> dict[str, Any]:
    return {
        "stage": job.stage,
        "plugin": spec.name,
        "revision": spec.revision,
        "label": job.label,
        "seed": job.seed,
        "config": config.identity(),
        "inputs": {role: ref.digest for role, ref in job.inputs.items()},
        "data": data_fingerprints(config, job.data, Catalog.from_environment()),
        "metrics": {name: value for name, value in metrics.items() if not name.startswith(PERFORMANCE)},
        "seconds": seconds,
        "versions": library_versions(),
    }


def _keep_log(order: WorkOrder, store: Store, key: str) -> None:
    written = order.attempt / "log.txt"
    if written.exists() and written.stat().st_size:
        (store.root / ".logs").mkdir(exist_ok=True)
        written.replace(store.root / ".logs" / f"{key}.txt")


def _result(job: Job, manifest: Manifest, store: Store, *, reused: bool, metrics: Metrics | None = None) -> StageResult:
    """Result of a stage; `metrics` of a stage made now include those that depend on the machine."""
    return StageResult(
        stage=job.stage,
        plugin=manifest.plugin,
        label=job.label,
        seed=job.seed,
        kind=manifest.kind,
        key=manifest.key,
        digest=manifest.digest,
        reused=reused,
        seconds=manifest.seconds,
        metrics=manifest.metrics | (metrics or {}),
        path=store.folder(manifest.kind, manifest.key),
    )
