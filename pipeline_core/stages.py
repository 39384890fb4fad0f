"""One stage: compute its key, reuse what is in the store, else make it, exactly once, and commit it."""

from __future__ import annotations

import importlib.metadata
import json
import platform
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from pipeline_core.artifacts import ArtifactRef, Manifest, Store
from pipeline_core.canonical import digest_of
from pipeline_core.catalog import Catalog, DataRef
from pipeline_core.config import Runner
from pipeline_core.errors import EvenhandError, StageFailed
from pipeline_core.execution import WorkOrder
from pipeline_core.launch import OnEvent, run_here, run_in_worker
from pipeline_core.registry import Registry
from pipeline_core.specs import PluginConfig, Spec

VERSIONED = ("evenhand", "torch", "transformers", "datasets", "scikit-learn", "peft", "numpy")


class Job(BaseModel):
    """A stage with its inputs known. Plain JSON, so that it can travel to another machine."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    stage: str
    config: dict[str, Any]
    label: str
    seed: int = 0
    inputs: dict[str, ArtifactRef] = {}
    data: DataRef | None = None
    runner: Runner = Runner()


class StageResult(BaseModel):
    """What is known of a finished stage: plain JSON as well."""

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


def key_of(job: Job, registry: Registry, catalog: Catalog) -> str:
    """The name of what `job` makes: a digest of all that decides it, and of nothing else."""
    spec = registry.get(job.stage, job.config["name"])
    config = spec.config.model_validate(job.config)
    identity = {
        "stage": job.stage,
        "plugin": spec.name,
        "revision": spec.revision,
        "config": config.identity(),
        "seed": job.seed,
        "inputs": {role: ref.digest for role, ref in job.inputs.items()},
        "data": data_fingerprints(config, job.data, catalog),
        "sources": dict(spec.sources(config)) if spec.sources else {},
    }
    return digest_of(identity)


def data_fingerprints(config: PluginConfig, data: DataRef | None, catalog: Catalog) -> dict[str, str]:
    """Fingerprint of every catalog reference in a configuration, by its canonical JSON."""
    refs = [*_data_refs(config), *([data] if data else [])]
    return {ref.model_dump_json(exclude_none=True): catalog.fingerprint(ref) for ref in refs}


def _data_refs(value: Any) -> list[DataRef]:
    if isinstance(value, DataRef):
        return [value]
    if isinstance(value, BaseModel):
        return [ref for name in type(value).model_fields for ref in _data_refs(getattr(value, name))]
    if isinstance(value, Mapping):
        return [ref for item in value.values() for ref in _data_refs(item)]
    if isinstance(value, (list, tuple)):
        return [ref for item in value for ref in _data_refs(item)]
    return []


def run_stage(
    job: Job,
    store: Store,
    registry: Registry,
    on_event: OnEvent = lambda _: None,
    on_wait: Callable[[dict[str, Any]], None] = lambda _: None,
) -> StageResult:
    """Find or make the artifact of `job`.

    A second caller of the same job waits for the first and takes its artifact; a killed one's work goes on from its
    last checkpoint. `on_event` receives training events, `on_wait` the owner of a lock that is waited for.

    Raises:
        BadInput: for input at fault; StageFailed: when the plugin fails; ArtifactChanged: for a tampered input.
    """
    spec = registry.get(job.stage, job.config["name"])
    store.prepare()
    key = key_of(job, registry, Catalog.from_environment())
    if manifest := store.find(spec.kind, key):
        return _result(job, manifest, store, reused=True)
    with store.lock(spec.kind, key, on_wait) as lock:
        if manifest := store.find(spec.kind, key):
            return _result(job, manifest, store, reused=True)
        assert lock.held
        manifest = _make(job, spec, key, store, registry, on_event)
    return _result(job, manifest, store, reused=False)


def _make(job: Job, spec: Spec, key: str, store: Store, registry: Registry, on_event: OnEvent) -> Manifest:
    order = WorkOrder(
        stage=job.stage,
        config=job.config,
        seed=job.seed,
        data=job.data,
        folders={role: store.open(ref) for role, ref in job.inputs.items()},
        partial=store.partial(key),
        scratch=store.scratch,
        device=job.runner.device,
    )
    config = spec.config.model_validate(job.config)
    started = time.monotonic()
    try:
        _clear(order)
        if job.runner.launch == "in_process" and config.processes == 1:
            metrics = run_here(order, registry, on_event)
        else:
            metrics = run_in_worker(order, config.processes, _threads(job.runner), on_event)
        seconds = time.monotonic() - started
        manifest = store.commit(spec.kind, key, order.work, **_facts(job, spec, config, metrics, seconds))
    except OSError as error:
        raise StageFailed(f"{job.stage}:{job.label} could not be stored: {error}") from error
    except EvenhandError as error:
        error.add_note(f"stage {job.stage}:{job.label} (seed {job.seed}), work kept in {order.partial}")
        raise
    _keep_log(order, store, key)
    shutil.rmtree(order.partial, ignore_errors=True)
    return manifest


def _clear(order: WorkOrder) -> None:
    """A fresh folder to fill; only the checkpoint of an earlier attempt stays."""
    order.partial.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(order.work, ignore_errors=True)
    for name in ("events.jsonl", "metrics.json", "error.json"):
        (order.partial / name).unlink(missing_ok=True)
    order.work.mkdir()


def _threads(runner: Runner) -> int:
    import os

    return runner.threads or max(1, (os.cpu_count() or 1) // runner.concurrency)


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
        "metrics": metrics,
        "seconds": seconds,
        "versions": _versions(),
    }


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for name in VERSIONED:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def _keep_log(order: WorkOrder, store: Store, key: str) -> None:
    log = order.partial / "log.txt"
    if log.exists() and log.stat().st_size:
        (store.root / ".logs").mkdir(exist_ok=True)
        log.replace(store.root / ".logs" / f"{key}.txt")


def _result(job: Job, manifest: Manifest, store: Store, *, reused: bool) -> StageResult:
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
        metrics=manifest.metrics,
        path=store.folder(manifest.kind, manifest.key),
    )


def read_history(folder: Path) -> list[dict[str, Any]]:
    """The training curve an artifact carries (`history.jsonl`), empty when it has none."""
    file = folder / "history.jsonl"
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.exists() else []
