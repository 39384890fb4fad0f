"""Schedules of a Prefect server: each is a deployment with its own parameters.

Parameters live in deployments: Prefect empties those of a schedule when it is paused and resumed (R17).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterId, FlowRunFilter, FlowRunFilterState
from prefect.client.schemas.objects import ConcurrencyLimitStrategy, ConcurrencyOptions
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule, RRuleSchedule
from prefect.client.schemas.sorting import FlowRunSort
from prefect.exceptions import ObjectNotFound
from pydantic import BaseModel, ValidationError

from pipeline_core.checks.presets import preset_names
from pipeline_core.checks.whole import load_config
from pipeline_core.errors import BadInput, UnknownName, quoted

FLOW = "pipeline"
TAG = "evenhand:schedule"
"""Tag of deployments that `add_schedule` has made."""
PULL = [{"prefect.deployments.steps.set_working_directory": {"directory": "."}}]
Rule = CronSchedule | IntervalSchedule | RRuleSchedule


class Scheduled(BaseModel):
    """A schedule: what runs, and when."""

    name: str
    when: str
    timezone: str
    parameters: dict[str, Any]
    active: bool
    next_run: str | None
    pool: str | None


@dataclass(frozen=True)
class Times:
    """Times of runs: one of cron, interval in seconds and rule of RFC 5545; the zone of cron and rule."""

    cron: str | None = None
    interval: int | None = None
    rrule: str | None = None
    timezone: str = "UTC"

    def rule(self) -> Rule:
        """The schedule in Prefect's form.

        Raises:
            BadInput: none or several are given, or one cannot be understood.
        """
        given = {name: value for name in ("cron", "interval", "rrule") if (value := getattr(self, name)) is not None}
        if len(given) != 1:
            raise BadInput(f"give one of --cron, --interval and --rrule, and not {len(given)} of them")
        try:
            ZoneInfo(self.timezone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise BadInput(f"--timezone: {quoted(self.timezone)} is no time zone, such as Europe/Berlin") from None
        ((option, value),) = given.items()
        try:
            if self.cron is not None:
                return CronSchedule(cron=self.cron, timezone=self.timezone)
            if self.interval is not None:
                return IntervalSchedule(interval=timedelta(seconds=self.interval), timezone=self.timezone)
            return RRuleSchedule(rrule=str(self.rrule), timezone=self.timezone)
        except (ValidationError, ValueError, OverflowError) as error:
            fault = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
            raise BadInput(f"--{option}: {quoted(str(value))}: {fault.removeprefix('Value error, ')}") from None


def all_schedules() -> list[Scheduled]:
    """All deployments with schedules, by name."""
    with get_client(sync_client=True) as client:
        return sorted((_described(client, one) for one in client.read_deployments() if one.schedules), key=_by_name)


def _by_name(one: Scheduled) -> str:
    return one.name


def add_schedule(
    name: str, source: str, overrides: Sequence[str], times: Times, pool: str, more: Mapping[str, Any] = {}
) -> Scheduled:
    """Deploy the pipeline under `name`, with its configuration and its times. One run of it goes on at a time.

    A preset stays a preset: the worker's own is taken. A file is sent whole. `more`: further parameters of the flow.

    Raises:
        BadInput: the configuration or the times are invalid, or the name is taken.
    """
    from flows.pipeline import pipeline

    rule, config = times.rule(), load_config(source, overrides)
    parameters: dict[str, Any] = {"preset": source, "overrides": list(overrides)}
    if source not in preset_names():
        parameters = {"preset": None, "config": config.model_dump(mode="json", exclude_unset=True)}
    parameters |= more
    with get_client(sync_client=True) as client:
        with contextlib.suppress(ObjectNotFound):
            client.read_deployment_by_name(f"{FLOW}/{name}")
            raise BadInput(f"a deployment {quoted(name)} is there already; `evenhand schedule rm {name}` removes it")
        made = client.create_deployment(
            flow_id=client.create_flow(pipeline),
            name=name,
            description=config.description or None,
            schedules=[DeploymentScheduleCreate(schedule=rule, active=True)],
            parameters=parameters,
            parameter_openapi_schema=pipeline.parameters.model_dump(),
            entrypoint="flows.pipeline.pipeline",
            pull_steps=PULL,
            work_pool_name=pool,
            concurrency_limit=1,
            concurrency_options=ConcurrencyOptions(collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW),
            tags=["evenhand", TAG],
        )
        # Else the first runs appear with the scheduler's next tick, within a minute.
        client.request("POST", "/deployments/{id}/schedule", path_params={"id": made}, json={}).raise_for_status()
        return _described(client, client.read_deployment(made))


def set_active(name: str, active: bool) -> Scheduled:
    """Pause or resume a schedule, by its deployment, so that all parameters stay."""
    with _found(name) as (client, deployment):
        here = {"id": deployment.id}
        if not active:
            client.request("POST", "/deployments/{id}/pause_deployment", path_params=here).raise_for_status()
        else:
            client.request("POST", "/deployments/{id}/resume_deployment", path_params=here).raise_for_status()
            for schedule in deployment.schedules:
                if not schedule.active:  # paused by itself, in Prefect's pages
                    client.update_deployment_schedule(deployment.id, schedule.id, active=True)
            client.request("POST", "/deployments/{id}/schedule", path_params=here, json={}).raise_for_status()
        return _described(client, client.read_deployment(deployment.id))


def parameters_of(name: str) -> dict[str, Any]:
    """Parameters of a schedule's runs. Raises `UnknownName`."""
    with _found(name) as (_, deployment):
        return deployment.parameters


def remove_schedule(name: str) -> None:
    """Delete a schedule: its deployment if `add_schedule` has made it, else the deployment's schedules alone."""
    with _found(name) as (client, deployment):
        if TAG in deployment.tags:
            client.delete_deployment(deployment.id)
            return
        for schedule in deployment.schedules:
            client.delete_deployment_schedule(deployment.id, schedule.id)


@contextlib.contextmanager
def _found(name: str) -> Iterator[tuple[SyncPrefectClient, DeploymentResponse]]:
    with get_client(sync_client=True) as client:
        try:
            deployment = client.read_deployment_by_name(name if "/" in name else f"{FLOW}/{name}")
        except ObjectNotFound:
            deployment = None
        if deployment is None or not deployment.schedules:
            raise UnknownName("schedule", name, [one.name for one in all_schedules()], "evenhand schedule")
        yield client, deployment


def _described(client: SyncPrefectClient, deployment: DeploymentResponse) -> Scheduled:
    rules = [schedule.schedule for schedule in deployment.schedules]
    flow = client.read_flow(deployment.flow_id).name
    return Scheduled(
        name=deployment.name if flow == FLOW else f"{flow}/{deployment.name}",
        when="; ".join(map(_in_words, rules)),
        timezone=", ".join(dict.fromkeys(getattr(rule, "timezone", None) or "UTC" for rule in rules)),
        parameters=deployment.parameters,
        active=not deployment.paused and any(schedule.active for schedule in deployment.schedules),
        next_run=_next_run(client, deployment.id),
        pool=deployment.work_pool_name,
    )


def _in_words(rule: Any) -> str:
    if isinstance(rule, CronSchedule):
        return rule.cron
    if isinstance(rule, IntervalSchedule):
        return f"every {rule.interval.total_seconds():g} s"
    return str(getattr(rule, "rrule", rule))


def _next_run(client: SyncPrefectClient, deployment: UUID) -> str | None:
    runs = client.read_flow_runs(
        deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=[deployment])),
        flow_run_filter=FlowRunFilter(state=FlowRunFilterState.model_validate({"type": {"any_": ["SCHEDULED"]}})),
        sort=FlowRunSort.EXPECTED_START_TIME_ASC,
        limit=1,
    )
    return runs[0].expected_start_time.isoformat(timespec="minutes") if runs and runs[0].expected_start_time else None
