"""Data and models of a stage, as facts for tracking."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterable, Iterator

from pipeline_core.data.catalog import Catalog
from pipeline_core.data.refs import DataRef, places_of
from pipeline_core.pipeline.config import PipelineConfig
from pipeline_core.plugin.registry import load_registry
from pipeline_core.stage.key import Job
from pipeline_core.stage.run import StageResult
from pipeline_core.store.artifacts import MANIFEST, Manifest, Store
from pipeline_core.store.manifest import ArtifactRef
from pipeline_core.tracking.lineage import StageLineage, TrackedData, TrackedModel

KINDS = ("model", "reward")
"""Kinds of artifacts that are models to tracking."""
ROWS = "preferences"
"""Kind of artifacts that are rows."""
HELD_OUT = ("validation", "held_out", "probe")
"""Parts of names of settings whose rows are not trained on."""
log = logging.getLogger(__name__)


def data_of_run(config: PipelineConfig) -> list[TrackedData]:
    """The rows of a pipeline's `data`."""
    return _tracked([("data", config.data)] if config.data else [], "training")


def data_of_stage(job: Job) -> list[TrackedData]:
    """Rows that a stage reads by its settings, and the pipeline's own where it takes them."""
    spec = load_registry().get(job.stage, job.config["name"])
    places = [(path, ref) for path, ref, _ in places_of(spec.config.model_validate(job.config))]
    places += [("data", job.data)] if job.data else []
    context = "evaluation" if job.stage == "evaluate" else "training"
    return [*_tracked(places, context), *_made_rows(job, context)]


def _made_rows(job: Job, context: str) -> Iterator[TrackedData]:
    """Rows that an earlier stage has made."""
    for role, ref in job.inputs.items():
        if ref.kind == ROWS:
            name, source = f"{ref.kind}/{ref.key[:12]}", ref.model_dump_json()
            yield {"name": name, "digest": ref.digest, "source": source, "setting": role, "context": context}


def _tracked(places: Iterable[tuple[str, DataRef]], context: str) -> list[TrackedData]:
    catalog = Catalog.from_environment()
    try:
        return [
            {
                "name": ref.name,
                "digest": catalog.fingerprint(ref),
                "source": ref.model_dump_json(exclude_none=True),
                "setting": setting,
                "context": "evaluation" if any(part in setting for part in HELD_OUT) else context,
            }
            for setting, ref in places
        ]
    except Exception as error:  # the stage reads the same rows, and tells what is wrong with them
        log.debug("tracking gets no data sets: %r", error)
        return []


def models_of_stage(job: Job, result: StageResult, store: Store) -> StageLineage:
    """The model that a stage has made, those that it used, and the one that it has measured."""
    made = [_model(result.ref, store)] if result.kind in KINDS else []
    used = {role: _model(ref, store) for role, ref in job.inputs.items() if ref.kind in KINDS}
    # What was reused has been measured by the run that made it.
    measures = job.stage == "evaluate" and not result.reused
    measured = used.get("model", used.get("reward")) if measures else None
    return {"made": made, "used": list(_distinct(used.values())), "measured": measured}


def _distinct(models: Iterable[TrackedModel]) -> Iterator[TrackedModel]:
    yield from {model["key"]: model for model in models}.values()


def _model(ref: ArtifactRef, store: Store) -> TrackedModel:
    folder = store.folder(ref.kind, ref.key)
    manifest = Manifest.read(folder / MANIFEST)
    seed = f"-seed{manifest.seed}" if manifest.stage == "policy" else ""
    return {
        "name": f"{manifest.label}{seed}",
        "type": manifest.stage,
        "key": ref.key,
        "digest": ref.digest,
        "folder": str(folder),
        "host": socket.gethostname(),
        "params": {"plugin": manifest.plugin, "label": manifest.label, "seed": str(manifest.seed)},
    }
