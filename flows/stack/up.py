"""Starts a local stack: servers, work pools, deployments with their schedules, workers."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from flows.environment import except_proxies
from flows.stack import auth, automations, deployments, unbegun_runs
from flows.stack.hosts import check_host, mlflow_host_environment
from flows.stack.logging_in import require_login
from flows.stack.postgres import create_databases
from flows.stack.services import BIN, Service, Stack
from flows.stack.settings import (
    HOST,
    MLFLOW_PORT,
    PREFECT_PORT,
    Databases,
    client_environment,
    free_port,
    mlflow_environment,
    prefect_environment,
    worker_environment,
)
from pipeline_core.errors import BadInput, EvenhandError
from pipeline_core.models.gpus import visible_gpus
from pipeline_core.network.addresses import shown_uri
from pipeline_core.store.places import Places

START_SECONDS = 180.0
"""Longest wait for a server or a worker; a first start on a slow disk makes its tables for a minute."""
POLL_SECONDS = 0.3
Say = Callable[[str], object]


@dataclass(frozen=True)
class Wanted:
    """Choices of `evenhand up`; None: as before, or the usual one."""

    port: int | None = None
    mlflow_port: int | None = None
    database: str | None = None
    login: bool | None = None
    """Both servers ask for a login."""
    host: str | None = None


def start(places: Places, wanted: Wanted, say: Say) -> Stack:
    """Start what does not run yet, and wait until all of it answers. Harmless if all of it runs.

    Raises:
        BadInput: a port is in use, a database is of another kind than before, or another command is at work.
        EvenhandError: a process ended or did not answer; with the end of its log.
    """
    stack = Stack(places.home)
    with stack.alone():
        login = _login(stack, wanted)
        except_proxies([host_of(stack, wanted)])
        _start_servers(stack, places, wanted, login, say)
        clients = clients_of(stack)
        os.environ.update(clients)
        from prefect.context import refresh_global_settings_context

        refresh_global_settings_context()
        require_login()
        deployments.create_pools()
        say("work pools: cpu, gpu")
        automations.create_automations()
        unbegun_runs.create_automation()
        _start_workers(stack, places)
        _deploy(stack, say)
        for worker in [service for service in stack.record.services if service.pool]:
            _wait(stack, worker, _is_online)
    return stack


def login_of(stack: Stack) -> auth.Login | None:
    """Login that the stack's servers ask for, or None."""
    return auth.given_or_kept(stack.folder) if stack.record.user else None


def clients_of(stack: Stack) -> dict[str, str]:
    """Variables by which commands find the stack's servers, and log in."""
    login = login_of(stack)
    return addresses_of(stack) | (login.client_environment() if login else {})


def addresses_of(stack: Stack) -> dict[str, str]:
    """Variables by which commands find the stack's servers."""
    prefect, mlflow = stack.record.service("prefect"), stack.record.service("mlflow")
    assert prefect is not None
    assert prefect.port is not None
    assert mlflow is not None
    assert mlflow.port is not None
    return client_environment(prefect.port, mlflow.port, prefect.host)


def _login(stack: Stack, wanted: Wanted) -> auth.Login | None:
    """Login that the servers are to ask for: as chosen now, else as before."""
    wants = bool(stack.record.user) if wanted.login is None else wanted.login
    runs = [name for name in ("prefect", "mlflow") if stack.runs(name)]
    if runs and wants != bool(stack.record.user):
        raise BadInput(f"the stack runs {'without' if wants else 'with'} a login; `evenhand down` first")
    before = stack.record.service("prefect")
    check_host(host_of(stack, wanted), wants)
    if runs and before and host_of(stack, wanted) != before.host:
        raise BadInput(f"--host: the stack runs on {before.host}; `evenhand down` first")
    if not wants:
        return None
    auth.check_installed()
    return auth.find_or_make(stack.folder)


def host_of(stack: Stack, wanted: Wanted) -> str:
    """Address on which both servers listen: the chosen one, else as before."""
    before = stack.record.service("prefect")
    return wanted.host or (before.host if before else HOST)


def _start_servers(stack: Stack, places: Places, wanted: Wanted, login: auth.Login | None, say: Say) -> None:
    address = wanted.database or os.environ.get("EVENHAND_DATABASE")
    runs = [stack.runs(name) for name in ("prefect", "mlflow")]
    if address is None and stack.record.database and not all(runs):
        raise BadInput(
            f"this stack keeps its data at {stack.record.database}: give --database again, or set EVENHAND_DATABASE"
        )
    databases = Databases.of(address, places.home)
    if any(runs) and address is not None and databases.shown != stack.record.database:
        raise BadInput(
            f"the stack runs with {stack.record.database or 'SQLite files'}; `evenhand down` first, then --database"
        )
    if not all(runs):
        if databases.shown:
            create_databases(address or "", ("prefect", "mlflow"))
        stack.record.database = databases.shown
    host = host_of(stack, wanted)
    protection = ["--app-name", "basic-auth"] if login else []
    if login and not stack.runs("mlflow"):
        auth.set_mlflow_administrator(stack.folder, login, stack.record.user)
    stack.record.user = login.user if login else None
    started = [
        _server(stack, "prefect", wanted.port, PREFECT_PORT, "--port", host, say, lambda port: (
            ["prefect", "server", "start", "--host", host, "--port", str(port)],
            prefect_environment(port, databases, places.home, host) | (login.prefect_environment() if login else {}),
        )),
        _server(stack, "mlflow", wanted.mlflow_port, MLFLOW_PORT, "--mlflow-port", host, say, lambda port: (
            ["mlflow", "server", "--host", host, "--port", str(port), "--workers", "2", *protection],
            mlflow_environment(databases, places)
            | mlflow_host_environment(host, port)
            | (login.mlflow_environment(stack.folder) if login else {}),
        )),
    ]  # fmt: skip
    for service in started:
        _wait(stack, service, _answers)
        say(f"{service.name}: {service.address}")


def _server(
    stack: Stack,
    name: str,
    wanted: int | None,
    usual: int,
    option: str,
    host: str,
    say: Say,
    command: Callable[[int], tuple[list[str], dict[str, str]]],
) -> Service:
    if service := stack.runs(name):
        if wanted and wanted != service.port:
            raise BadInput(f"{option}: {name} runs on port {service.port}; `evenhand down` first")
        return service
    if before := stack.record.service(name):
        stack.end_rest(before)
    if wanted is None and before and before.port:
        usual = before.port  # whoever has its address finds it again
    port = free_port(wanted, usual, option, host)
    if wanted is None and port != usual:
        say(f"port {usual} is in use; {name} takes {port}")
    words, environment = command(port)
    return stack.start(name, words, environment, port=port, host=host)


def _start_workers(stack: Stack, places: Places) -> None:
    clients = clients_of(stack)
    for name, pool, gpu in [
        ("worker-cpu", "cpu", None),
        *((f"worker-gpu-{gpu}", "gpu", gpu) for gpu in dict.fromkeys(visible_gpus())),
    ]:
        if stack.runs(name):
            continue
        words = ["prefect", "worker", "start", "--pool", pool, "--type", "process", "--name", name]
        if gpu is not None:
            words += ["--limit", "1"]  # a stage has its GPU for itself
        stack.start(name, words, worker_environment(clients, places, gpu), pool=pool, gpu=gpu)


def _deploy(stack: Stack, say: Say) -> None:
    """Register the deployments of `prefect.yaml` if they have changed: it resets schedules that are paused."""
    file = deployments.file()
    if file is None:
        say("deployments: none, since prefect.yaml lies in a checkout of Evenhand alone")
        return
    digest = deployments.digest()
    if stack.record.deployed == digest and deployments.are_known():
        say("deployments: as before")
        return
    done = subprocess.run(
        [str(BIN / "prefect"), "--no-prompt", "deploy", "--all", "--prefect-file", str(file)],
        cwd=file.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        output = f"{done.stdout[-3000:]}{done.stderr[-1000:]}"
        raise EvenhandError(f"the deployments of {file} could not be registered:\n{output}")
    stack.record.deployed = digest
    stack.write()
    say(f"deployments: {', '.join(deployments.names())}")


def _wait(stack: Stack, service: Service, is_ready: Callable[[Service], bool]) -> None:
    end = time.monotonic() + START_SECONDS
    while not is_ready(service):
        has_ended = service.process.lives() is False
        if has_ended or time.monotonic() > end:
            what = "ended" if has_ended else f"did not answer within {START_SECONDS:.0f} seconds"
            log = shown_uri(stack.end_of_log(service.name))
            raise EvenhandError(f"{service.name} {what}; the end of {stack.log(service.name)}:\n{log}")
        time.sleep(POLL_SECONDS)


def _answers(server: Service) -> bool:
    return server.state() == "answers"


def _is_online(worker: Service) -> bool:
    return deployments.is_online(worker.pool or "", worker.name)


def stop(home: Path, say: Say) -> bool:
    """Stop workers first, so that their runs end well, then the servers. True if anything ran."""
    stack = Stack(home)
    with stack.alone():
        order = sorted(stack.record.services, key=lambda service: (service.pool is None, service.name == "prefect"))
        ran = [service for service in order if service.process.lives() is not False]
        for service in order:
            stack.stop(service)
            if service in ran:
                say(f"{service.name} has ended")
    return bool(ran)
