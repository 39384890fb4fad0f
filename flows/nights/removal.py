"""Removes old runs of a schedule from everywhere: Prefect, tracking, the runs' folders, the store, logs.

Figures of a removed run stay in `EVENHAND_HOME/history`, a few kilobytes each. The folder of a run goes last, so that a
removal that fails is tried again after the next run.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterName,
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterExpectedStartTime,
    FlowRunFilterParentFlowRunId,
    FlowRunFilterState,
)
from prefect.exceptions import ObjectNotFound
from prefect.types._datetime import from_timestamp

from flows import cleanup
from flows.nights.figures import RunFigures, keep_copy
from flows.nights.keep import Keep, choose, sizes_of
from flows.nights.logs import shorten_logs
from flows.nights.pins import pinned_keys, pinned_runs
from flows.records import RunRecord, all_runs
from flows.server import server_name
from pipeline_core.files.atomic import delete
from pipeline_core.files.exclusive import alone
from pipeline_core.store.artifacts import Store
from pipeline_core.store.places import Places
from pipeline_core.tracking.opening import open_tracking
from pipeline_core.tracking.protocol import Tracking
from pipeline_core.tracking.registry import Held

log = logging.getLogger(__name__)


@dataclass
class Removed:
    """Runs, artifacts and versions that go, or would go, and reasons why older runs stay."""

    runs: list[RunRecord] = field(default_factory=list)
    artifacts: list[cleanup.Removable] = field(default_factory=list)
    versions: list[str] = field(default_factory=list)
    """Registered versions without an alias, whose files go with their run."""
    stays: dict[str, str] = field(default_factory=dict)
    """Reasons by the run's name."""
    bytes: int = 0

    def lines(self) -> Iterator[str]:
        """Lines for people: what goes, then what stays and why."""
        for run in self.runs:
            yield f"run: {run.run_name or run.run_id} ({run.status})"
        for version in self.versions:
            yield f"registered version: {version}, which has no alias"
        for waste in self.artifacts:
            yield f"{waste.what}: {waste.path}"
        for name, reason in self.stays.items():
            yield f"stays: {name}: {reason}"

    def summary(self) -> str:
        """`3 runs, 120.4 MB of the store; 1 older run stays`."""
        stays = f"; {len(self.stays)} older ones stay" if self.stays else ""
        return f"{len(self.runs)} runs, {self.bytes / 1e6:.1f} MB of the store{stays}"

    def public(self) -> dict[str, Any]:
        """Contents for `--json`."""
        return {
            "runs": [run.run_id for run in self.runs],
            "versions": self.versions,
            "artifacts": [str(waste.path) for waste in self.artifacts],
            "stays": self.stays,
            "bytes": self.bytes,
        }


@contextlib.contextmanager
def then_remove_old_runs(deployment: str | None, keep: Keep | None) -> Iterator[None]:
    """Remove old runs of a deployment after the block, also if it fails. A removal that fails is a warning."""
    try:
        yield
    except Exception:
        _remove_quietly(deployment, keep)
        raise
    _remove_quietly(deployment, keep)


def _remove_quietly(deployment: str | None, keep: Keep | None) -> None:
    if not deployment or keep is None:
        return
    try:
        removed = remove_old_runs(Places.from_environment(), deployment, keep)
        log.info("%d old runs of %s are removed", len(removed.runs), deployment)
    except Exception as error:
        log.warning("old runs of %s stay: %s", deployment, error)


def remove_old_runs(places: Places, deployment: str, keep: Keep, *, dry_run: bool = False) -> Removed:
    """Remove the runs of a deployment that are beyond `keep`, and what they alone used.

    Never removed: what a pin or an alias of the registry names, runs that go on, artifacts that another record uses.

    Raises:
        EvenhandError: a pin cannot be read. BadInput: tracking cannot be opened.
    """
    places.home.mkdir(parents=True, exist_ok=True)
    with alone(places.home / "removal.lock") as is_alone, open_tracking(places) as tracking:
        if not is_alone:
            log.info("another process removes old runs")
            return Removed()
        return _Removal(places, tracking).run(deployment, keep, dry_run=dry_run)


class _Removal:
    def __init__(self, places: Places, tracking: Tracking) -> None:
        self.places, self.tracking = places, tracking
        self.store = Store(places.store)

    def run(self, deployment: str, keep: Keep, *, dry_run: bool) -> Removed:
        records = all_runs(self.places.runs)
        mine = [record for record in records if record.deployment == deployment]
        held = self.tracking.held()
        elsewhere = {stage.key for other in records if other.deployment != deployment for stage in other.stages}
        chosen = choose(mine, keep, self._protected(mine, records, held), sizes_of(self.store), elsewhere)
        names = {record.run_id: record.run_name or record.run_id for record in mine}
        stays = {names[run_id]: reason for run_id, reason in chosen.stays.items()}
        gone = chosen.old if dry_run else [record for record in chosen.old if self._removed(record)]
        removed = Removed(runs=gone, stays=stays, versions=[v for r in gone for v in held.versions.get(r.run_id, ())])
        removed.artifacts = list(self._unneeded(gone, records, held))
        sizes = {waste.path: waste.size for waste in removed.artifacts}
        freed = sizes if dry_run else cleanup.remove(self.store, removed.artifacts)
        removed.bytes = sum(freed.values())
        if not dry_run:
            self._remove_without_record(deployment, gone, {record.flow_run_id for record in records})
            shorten_logs(self.places.home / "stack")
        return removed

    def _protected(self, mine: list[RunRecord], records: list[RunRecord], held: Held) -> dict[str, str]:
        """Reasons by run id: aliases, versions that another record names, pins."""
        named = {f"{model.name} version {model.version}" for record in records for model in record.registered}
        reasons = dict(held.runs)
        for record in mine:
            own = {f"{model.name} version {model.version}" for model in record.registered if model.new}
            elsewhere = {
                f"{model.name} version {model.version}"
                for other in records
                if other.run_id != record.run_id
                for model in other.registered
            }
            if shared := sorted(own & named & elsewhere):
                reasons.setdefault(record.run_id, f"a newer run names {', '.join(shared)}")
        return reasons | dict.fromkeys(pinned_runs(self.store), "it is pinned")

    def _removed(self, record: RunRecord) -> bool:
        """Remove a run from Prefect and tracking, then its folder; False with a warning if something failed."""
        try:
            keep_copy(RunFigures.of(record, self.places.runs), self.places.home)
            if record.flow_run_id and record.server == server_name():
                with get_client(sync_client=True) as client:
                    delete_flow_run(client, UUID(record.flow_run_id))
            self.tracking.delete_run(record.run_id)
            folder = self.places.runs / record.run_id
            delete(folder)
            if folder.exists():
                raise OSError(f"{folder} could not be deleted")
        except Exception as error:
            log.warning("the run %s stays: %s", record.run_name or record.run_id, error)
            return False
        return True

    def _unneeded(self, gone: list[RunRecord], records: list[RunRecord], held: Held) -> Iterator[cleanup.Removable]:
        """Artifacts that removed runs used and nobody else does, with their logs."""
        ids = {record.run_id for record in gone}
        until: dict[str, float] = {}
        for record in gone:
            for stage in record.stages:
                until[stage.key] = max(until.get(stage.key, 0.0), record.started + record.seconds)
        used = {stage.key for record in records if record.run_id not in ids for stage in record.stages}
        # Records of now too: a run that has begun since may use them.
        used |= {
            stage.key for record in all_runs(self.places.runs) if record.run_id not in ids for stage in record.stages
        }
        used |= pinned_keys(self.store) | {Path(folder).name for folder in held.folders}
        yield from cleanup.unneeded(self.store, {key: end for key, end in until.items() if key not in used})

    def _remove_without_record(self, deployment: str, gone: list[RunRecord], known: Collection[str | None]) -> None:
        """Delete ended flow runs of the deployment from before the newest removed run: starts that were cancelled."""
        if not gone:
            return
        newest = from_timestamp(max(record.started for record in gone))
        chosen = FlowRunFilter(
            state=FlowRunFilterState.model_validate({"type": {"any_": ["CANCELLED"]}}),
            expected_start_time=FlowRunFilterExpectedStartTime(before_=newest),
        )
        named = DeploymentFilter(name=DeploymentFilterName(any_=[deployment]))
        pipelines = FlowFilter(name=FlowFilterName(any_=["pipeline"]))  # other flows have deployments of this name too
        try:
            with get_client(sync_client=True) as client:
                for run in client.read_flow_runs(
                    flow_filter=pipelines, flow_run_filter=chosen, deployment_filter=named
                ):
                    if str(run.id) not in known:
                        delete_flow_run(client, run.id)
        except Exception as error:
            log.warning("flow runs of %s without a record stay: %s", deployment, error)


def delete_flow_run(client: SyncPrefectClient, flow_run_id: UUID) -> None:
    """Delete a flow run and the runs of stages that it sent to other pools; the server deletes tasks and logs."""
    below = FlowRunFilter(parent_flow_run_id=FlowRunFilterParentFlowRunId(any_=[flow_run_id]))
    for child in client.read_flow_runs(flow_run_filter=below):
        delete_flow_run(client, child.id)
    with contextlib.suppress(ObjectNotFound):
        client.delete_flow_run(flow_run_id)
