"""The record of a sweep, `EVENHAND_HOME/sweeps/ID/sweep.json`: how its points ended, for the same command to go on."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field, PrivateAttr, TypeAdapter

from flows.sweep.plan import SweepPlan
from pipeline_core.errors import BadInput
from pipeline_core.files.atomic import replace_file
from pipeline_core.files.exclusive import alone
from pipeline_core.files.json_files import Damaged, read_as

FILE, GUARD = "sweep.json", ".guard"
PointStatus = Literal["waiting", "running", "completed", "failed", "cancelled"]


class PointRecord(BaseModel):
    """End of a point, and its run."""

    number: int
    values: dict[str, str]
    status: PointStatus = "waiting"
    failure: str = ""
    exit_code: int = 0
    run_id: str = ""
    flow_run_id: str = ""
    flow_run_url: str = ""
    report: str = ""
    """Path of the run's report on the machine that ran it."""
    tracking: str = ""
    attempt: int = 1
    seconds: float = 0.0
    reused: bool = False
    """True if this call has found the point completed."""


class SweepRecord(BaseModel):
    """State of a sweep: its points by their ids."""

    sweep_id: str
    name: str
    command: str
    engine: str = ""
    started: float = Field(0.0, allow_inf_nan=False)
    seconds: float = 0.0
    stage_runs: dict[str, int] = {}
    points: dict[str, PointRecord] = {}
    report: str = ""
    tracking: str = ""
    _folder: Path = PrivateAttr(Path())
    _guard: Any = PrivateAttr(default_factory=threading.Lock)

    @classmethod
    def begin(cls, plan: SweepPlan, folder: Path, command: str, engine: str) -> SweepRecord:
        """The record of a sweep that starts now; what an earlier call has left of its points is kept."""
        before = _read(folder)
        points = {
            point.id: before.points[point.id].model_copy(update={"number": point.number, "values": dict(point.values)})
            if before and point.id in before.points
            else PointRecord(number=point.number, values=dict(point.values))
            for point in plan.points
        }
        record = cls(
            sweep_id=plan.id, name=plan.name, command=command, engine=engine, started=time.time(),
            stage_runs=plan.counts, points=points,
        )  # fmt: skip
        record._folder = folder
        record.write()
        return record

    def write(self) -> None:
        """Write the record in one rename."""
        with self._guard, replace_file(self._folder / FILE, synced=False) as partial:
            partial.write_text(self.model_dump_json(indent=1), encoding="utf-8")

    @property
    def exit_code(self) -> int:
        """0 if all points have completed, else the lowest code of those that have not."""
        return min((point.exit_code or 1 for point in self.points.values() if point.status != "completed"), default=0)

    def public(self) -> dict[str, Any]:
        """Contents printed by `evenhand sweep --json`."""
        return self.model_dump(mode="json", exclude={"points"}) | {
            "points": [point.model_dump(mode="json") for point in self.points.values()]
        }


@contextlib.contextmanager
def sole(folder: Path) -> Iterator[None]:
    """Hold the sweep's folder.

    Raises:
        BadInput: another process runs the same sweep.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with alone(folder / GUARD) as is_alone:
        if not is_alone:
            raise BadInput(f"another process runs this sweep ({folder}); wait for its end")
        yield


def _read(folder: Path) -> SweepRecord | None:
    try:
        return read_as(TypeAdapter(SweepRecord), folder / FILE)
    except (FileNotFoundError, Damaged):  # then the store alone tells what has been made
        return None
