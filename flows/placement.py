"""Checks of the stages that run elsewhere: their deployments exist, and workers of their pools are online."""

from __future__ import annotations

from dataclasses import dataclass

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError

from flows.server import configured_url
from pipeline_core.checks.beforehand import ProblemsByPlace, each_once, not_made, noting, stage_of
from pipeline_core.checks.data import plugin_entries
from pipeline_core.errors import BadInput, suggestion
from pipeline_core.network.addresses import shown_uri
from pipeline_core.pipeline.config import PipelineConfig

HOW = "`evenhand up` starts a server with pools and workers; for one elsewhere set PREFECT_API_URL"


@dataclass(frozen=True)
class Pool:
    """A deployment's work pool. `idle`: workers are needed, and none is online."""

    name: str
    idle: bool


def placement_problems(config: PipelineConfig) -> tuple[ProblemsByPlace, list[str]]:
    """Deployments that cannot be used, by the first stage that needs them, and messages about pools without a worker.

    Stages whose artifacts are in the store are left out: they are not sent.
    """
    sent = {where: config.runner.deployment_of(stage_of(where)) for where, _ in plugin_entries(config)}
    deployments = {where: name for where, name in sent.items() if name}
    if not deployments:
        return {}, []
    problems: ProblemsByPlace = {}
    pools: dict[str, Pool] = {}
    for where, name in deployments.items():
        with noting(problems, where):
            pools[where] = _pool_of(name)
    # The stages still to be made are looked for alone: one that is not sent needs neither deployment nor worker.
    idle = {where: BadInput(_idle_words(pool.name)) for where, pool in pools.items() if pool.idle}
    waiting = each_once(not_made(config, idle))
    return each_once(not_made(config, problems)), [f"{where}: {error}" for where, error in waiting.items()]


def _idle_words(pool: str) -> str:
    start = f"`prefect worker start --pool {pool}` starts one"
    return f"no worker of the pool {pool!r} is online, so its stages wait for one; {start}"


def _pool_of(name: str) -> Pool:
    """Pool of a deployment.

    Raises:
        BadInput: no server is set or answers, or it has no such deployment.
    """
    url = configured_url()
    if url is None:
        raise BadInput(f"it is sent to the deployment {name!r}, and no Prefect server is set. {HOW}")
    try:
        with get_client(sync_client=True) as client:
            return _found(client, name)
    except (httpx.HTTPError, PrefectHTTPStatusError) as error:
        raise BadInput(
            f"it is sent to the deployment {name!r}, and the Prefect server {shown_uri(url)} does not tell "
            f"about it: {type(error).__name__}"
        ) from error


def _found(client: SyncPrefectClient, name: str) -> Pool:
    try:
        deployment = client.read_deployment_by_name(name)
    except ObjectNotFound:
        raise BadInput(f"the Prefect server knows no deployment {name!r}. {_others(client, name)}") from None
    if deployment.work_pool_name is None:  # served by a process of its own, without a pool
        return Pool(name, idle=False)
    pool = client.read_work_pool(deployment.work_pool_name)
    if pool.is_push_pool or pool.is_managed_pool:
        return Pool(pool.name, idle=False)
    workers = client.read_workers_for_work_pool(pool.name)
    return Pool(pool.name, idle=not any(worker.status.value == "ONLINE" for worker in workers))


def _others(client: SyncPrefectClient, name: str) -> str:
    """Advice: deployments of the generic stage that the server has."""
    flows = {flow.id: flow.name for flow in client.read_flows()}
    known = [f"{flows.get(one.flow_id)}/{one.name}" for one in client.read_deployments()]
    stages = sorted(one for one in known if one.startswith("stage/"))
    if not stages:
        return "It has none that runs a stage; `evenhand up` registers them, and `prefect deploy --all` in a checkout"
    return suggestion(name, stages)
