"""Jobs (stages with known inputs) and the keys of their artifacts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, ConfigDict

from pipeline_core.data.catalog import Catalog
from pipeline_core.data.refs import DataRef, places_of
from pipeline_core.files.digests import digest_of
from pipeline_core.plugin.registry import DISTRIBUTION, Registry
from pipeline_core.plugin.revisions import STAGE_REVISIONS, packages_of, raised
from pipeline_core.plugin.specs import PluginConfig
from pipeline_core.stage.settings import ExecutionSettings
from pipeline_core.store.artifacts import ArtifactRef


class Job(BaseModel):
    """A stage with known inputs. Plain JSON, so that it can be sent to another machine."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    stage: str
    config: dict[str, Any]
    label: str
    seed: int = 0
    inputs: dict[str, ArtifactRef] = {}
    data: DataRef | None = None
    runner: ExecutionSettings = ExecutionSettings()


def key_of(job: Job, registry: Registry, catalog: Catalog) -> str:
    """Key of the artifact that `job` makes: a digest of exactly the facts that decide the result."""
    spec = registry.get(job.stage, job.config["name"])
    config = spec.config.model_validate(job.config)
    data = data_fingerprints(config, job.data, catalog)
    identity = {
        "stage": job.stage,
        "plugin": spec.name,
        "revision": spec.revision,
        "core": STAGE_REVISIONS[job.stage],
        "config": config.identity(),
        "seed": job.seed,
        "inputs": {role: ref.digest for role, ref in job.inputs.items()},
        "data": data,
        "sources": dict(spec.sources(config)) if spec.sources else {},
    }
    # Facts that came later are part of the key only where there are some: older keys stay as they are.
    if packages := raised([*packages_of(spec), *(["data"] if data else [])]):
        identity["packages"] = packages
    if job.stage == "evaluate" and (units := _declared_units(config, job.data, catalog)):
        identity["units"] = units
    distribution = registry.origin(spec).distribution
    if distribution != DISTRIBUTION:  # two packages may have plugins of the same name
        identity["distribution"] = distribution
    return digest_of(identity)


def data_fingerprints(config: PluginConfig, data: DataRef | None, catalog: Catalog) -> dict[str, str]:
    """Fingerprint of the rows of every catalog reference in a configuration, by the reference's JSON."""
    return {ref.model_dump_json(exclude_none=True): catalog.fingerprint(ref) for ref in _refs(config, data)}


def _declared_units(config: PluginConfig, data: DataRef | None, catalog: Catalog) -> dict[str, Any]:
    """Declared units of the catalog entries in a configuration, by entry name."""
    units = {ref.entry: catalog.entry(ref.entry).unit for ref in _refs(config, data)}
    return {name: unit.model_dump(mode="json") for name, unit in units.items() if unit}


def _refs(config: PluginConfig, data: DataRef | None) -> Iterator[DataRef]:
    yield from (ref for _, ref, _ in places_of(config))
    if data:
        yield data
