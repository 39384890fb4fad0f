"""Retention of a schedule: its limits, and the runs beyond them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from flows.records import RunRecord, abandoned
from pipeline_core.store.artifacts import Store

GIGABYTE = 1e9


class Keep(BaseModel):
    """Retention of a schedule's runs."""

    model_config = ConfigDict(extra="forbid")
    runs: int | None = Field(None, ge=1)
    """Number of completed runs to keep, the newest; as many of those that did not complete."""
    gb: float | None = Field(None, gt=0, allow_inf_nan=False)
    """Gigabytes that the runs may take in the store; the oldest go first, the newest completed run stays."""


@dataclass
class KeptAndGone:
    """Runs of a schedule that may go, and reasons why others stay that are older than the limits."""

    old: list[RunRecord] = field(default_factory=list)
    stays: dict[str, str] = field(default_factory=dict)
    """Reasons by run id."""


def choose(
    records: Sequence[RunRecord],
    keep: Keep,
    protected: Mapping[str, str],
    sizes: Mapping[str, int],
    elsewhere: Collection[str] = (),
) -> KeptAndGone:
    """Runs beyond the limits, oldest first.

    Args:
        records: All runs of the schedule.
        keep: Limits.
        protected: Reasons by run id why a run stays: a pin, an alias.
        sizes: Bytes by artifact key.
        elsewhere: Keys of artifacts that runs of other schedules, or of none, use.
    """
    newest_first = sorted(records, key=lambda record: -record.started)
    ended = [record for record in newest_first if not _goes_on(record)]
    completed = [record for record in ended if record.status == "completed"]
    others = [record for record in ended if record.status != "completed"]
    beyond = [*completed[keep.runs :], *others[keep.runs :]] if keep.runs else []
    ids = {record.run_id for record in beyond}
    if keep.gb is not None:
        ids |= _beyond_bytes([r for r in newest_first if r.run_id not in ids], keep.gb * GIGABYTE, sizes)
    stays = {run_id: protected[run_id] for run_id in ids if run_id in protected}
    remaining = [record for record in records if record.run_id not in ids or record.run_id in stays]
    used = {stage.key for record in remaining for stage in record.stages} | {*elsewhere}
    chosen = KeptAndGone(stays=stays)
    for record in reversed(newest_first):
        if record.run_id in ids and record.run_id not in stays:
            if made := _made(record, used):
                chosen.stays[record.run_id] = f"other runs use what it has made ({', '.join(made)})"
            else:
                chosen.old.append(record)
    return chosen


def _beyond_bytes(newest_first: Sequence[RunRecord], limit: float, sizes: Mapping[str, int]) -> set[str]:
    """Runs from the first on with which the artifacts of all newer ones exceed the limit."""
    seen: set[str] = set()
    total, full = 0, False
    has_completed = False
    beyond = set()
    for record in newest_first:
        new = {stage.key for stage in record.stages} - seen
        total += sum(sizes.get(key, 0) for key in new)
        seen |= new
        full = full or total > limit
        if full and has_completed and not _goes_on(record):
            beyond.add(record.run_id)
        has_completed = has_completed or record.status == "completed"
    return beyond


def _goes_on(record: RunRecord) -> bool:
    return record.status == "running" and not abandoned(record)


def _made(record: RunRecord, used: Collection[str]) -> list[str]:
    """Stages of a run that made an artifact in `used`: tracking holds their curves, to which later runs lead."""
    return [f"{stage.stage}:{stage.label}" for stage in record.stages if not stage.reused and stage.key in used]


def sizes_of(store: Store) -> dict[str, int]:
    """Bytes of all artifacts by key, as their manifests say."""
    return {manifest.key: manifest.size for manifest in store.ls()}


def folder_bytes(folder: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
