"""After a scheduled run: compares it with the run before and with the reference, and tells what got worse."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

from prefect.events import emit_event
from prefect.runtime import flow_run

from flows.links import warning_only
from flows.nights.comparing import compare_runs
from flows.nights.figures import MeasureChange, PastRow, RunFigures, write_changes
from flows.nights.pins import pinned_runs
from flows.notify.kinds import WORSENED
from flows.records import RunRecord, all_runs
from pipeline_core.gate.names import canonical
from pipeline_core.report.render import wording
from pipeline_core.store.artifacts import Store
from pipeline_core.store.places import Places

log = logging.getLogger(__name__)


def tell_of_worsening(record: RunRecord, watch: Sequence[str] | None = None) -> None:
    """Compare a completed scheduled run with earlier ones of its schedule, and emit one event if a figure got worse.

    `watch`: measures that are told about; by default those of the gate, else every headline. Never raises.
    """
    if not record.scheduled:
        return
    with warning_only("comparison with earlier runs"):
        places = Places.from_environment()
        figures = RunFigures.of(record, places.runs)
        changes = [
            change
            for against, earlier in _earlier(record, places)
            for change in compare_runs(
                (record, figures), (earlier, RunFigures.of(earlier, places.runs)), against, Store.from_environment()
            )
        ]
        write_changes(changes, places.runs / record.run_id)
        wanted = watched(record, figures.rows, watch)
        if worse := [change for change in changes if change.verdict == "worse" and change.title in wanted]:
            _emit(record, worse)


def _earlier(record: RunRecord, places: Places) -> Iterator[tuple[str, RunRecord]]:
    """The schedule's completed run before this one, and its newest pinned run if that is another."""
    earlier = [
        other
        for other in all_runs(places.runs)
        if other.deployment == record.deployment and other.started < record.started and other.status == "completed"
    ]
    pinned = pinned_runs(Store(places.store))
    previous = next((other for other in earlier if other.scheduled), None)
    reference = next((other for other in earlier if other.run_id in pinned), None)
    if previous:
        yield "previous", previous
    if reference and reference is not previous:
        yield "reference", reference


def watched(record: RunRecord, rows: Sequence[PastRow], watch: Sequence[str] | None) -> set[str]:
    """Titles of the measures that are told about."""
    names = {verdict.measure for verdict in record.gate} if watch is None else set(watch)
    if watch is None and not names:
        return {row.title for row in rows if row.headline}
    wanted = {canonical(name) for name in names}
    for name in sorted(wanted - {name for row in rows for name in row.names}) if watch else ():
        log.warning("watch: the report has no measure %s; it has %s", name, ", ".join(row.title for row in rows))
    return {row.title for row in rows if wanted & row.names}


def sentence(change: MeasureChange) -> str:
    """Text such as `dpo: sandbox/bias rose by +5.4 pp [2.1, 8.7] since sandbox-2026-11-29-1, from 8.8 to 14.2`."""
    low, high, before, now = (
        wording.number(value, change.unit) for value in (change.low, change.high, change.before.value, change.now.value)
    )
    by = " ".join(filter(None, [wording.number(change.difference, change.unit, sign=True), change.unit]))
    verb = "rose" if change.difference > 0 else "fell"
    since = f"the reference {change.run_name}" if change.against == "reference" else change.run_name
    return f"{change.model}: {change.title} {verb} by {by} [{low}, {high}] since {since}, from {before} to {now}"


def _emit(record: RunRecord, worse: Sequence[MeasureChange]) -> None:
    emit_event(
        event=WORSENED,
        resource={
            "prefect.resource.id": f"prefect.flow-run.{flow_run.id}",
            "prefect.resource.name": str(flow_run.name),
            "evenhand.run": record.run_id,
        },
        payload={
            "run": record.run_id,
            "worsened": [sentence(change) for change in worse],
            "changes": [change.model_dump(mode="json") for change in worse],
        },
    )
