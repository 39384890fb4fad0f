"""A private Prefect server for one run, if none is configured.

Prefect can start one itself, but in the terminal's process group (Ctrl-C kills it before the run's end is recorded)
and without a lock (two first runs on a new machine would create the same database at the same time).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from flows.stack.logging_in import require_login
from pipeline_core.errors import BadInput, EvenhandError
from pipeline_core.files.private import private_file
from pipeline_core.files.sqlite_addresses import address_of
from pipeline_core.network.addresses import answers, shown_uri
from pipeline_core.network.proxies import check_network, through

START_SECONDS = 120
PRIVATE = "private"
_private_urls: set[str] = set()
NO_ROOM = 1 << 20
"""Free bytes below which a full disk counts as the reason for the server's end."""


@contextlib.contextmanager
def prefect_api(home: Path, meanwhile: Callable[[], object] = lambda: None) -> Iterator[str]:
    """Address of the configured Prefect server, or of a private one that ends with the block.

    A private server takes seconds to start; `meanwhile` is called during that time.

    Raises:
        BadInput: no server answers at a configured address, or proxies or certificates are unusable.
    """
    check_network()
    if configured := configured_url():
        _expect_answer(configured)
        yield configured
        return
    with _private_server(home, meanwhile) as url:
        yield url


def require_server(what: str = "schedules") -> str:
    """Address of the configured Prefect server, which `what` need.

    Raises:
        BadInput: none is configured, or it does not answer.
    """
    check_network()
    configured = configured_url()
    if not configured:
        raise BadInput(f"{what} need a Prefect server: `evenhand up` starts one, or set PREFECT_API_URL")
    _expect_answer(configured)
    return configured


def _expect_answer(configured: str) -> None:
    if not answers(f"{configured}/health"):
        raise BadInput(
            f"no Prefect server answers at {shown_uri(configured)}{through(configured)}; start it, or unset "
            "PREFECT_API_URL to run without"
        )
    require_login()


def configured_url() -> str | None:
    """API address in Prefect's settings (environment or profile), or None."""
    from prefect.settings import get_current_settings

    return get_current_settings().api.url


def server_name() -> str:
    """Name of this process's Prefect server, by which later processes know it: its address, or `private`."""
    url = configured_url() or ""
    return PRIVATE if url in _private_urls else shown_uri(url)


@contextlib.contextmanager
def _private_server(home: Path, meanwhile: Callable[[], object]) -> Iterator[str]:
    from filelock import FileLock

    home.mkdir(parents=True, exist_ok=True)
    with FileLock(home / "prefect.lock"):
        port = _free_port()
        process = _spawn(home, port)
        url = f"http://127.0.0.1:{port}/api"
        try:
            meanwhile()
            _wait(process, url, home / "prefect.log")
        except BaseException:
            _stop(process)
            raise
    try:
        with _in_settings(url):
            try:
                yield url
            finally:
                # Also after an interrupt: at exit Prefect would retry for a minute to send the rest to a dead server.
                _drain()
    finally:
        _stop(process)


def _spawn(home: Path, port: int) -> subprocess.Popen[bytes]:
    environment = {
        **os.environ,
        "PREFECT__SERVER_EPHEMERAL": "1",  # no scheduler
        "PREFECT_UI_ENABLED": "0",
    }
    environment.setdefault("PREFECT_API_DATABASE_CONNECTION_URL", address_of(home / "prefect.db", "sqlite+aiosqlite"))
    for name in ("prefect.log", "prefect.db"):  # blocks, which may hold secrets, lie in the database
        private_file(home / name)
    with (home / "prefect.log").open("ab") as log:
        return subprocess.Popen(
            # -P: a folder `flows` in the working folder must not shadow the package.
            [sys.executable, "-P", "-m", "flows.server", str(port)],
            stdin=subprocess.PIPE,  # the server ends when the other end closes
            stdout=log,
            stderr=log,
            env=environment,
            start_new_session=True,
            umask=0o077,
        )


def _wait(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        if process.poll() is not None:
            reason = ", since the disk is full" if shutil.disk_usage(log.parent).free < NO_ROOM else ""
            raise EvenhandError(f"the private Prefect server ended with code {process.returncode}{reason}; see {log}")
        if answers(f"{url}/health"):
            return
        time.sleep(0.1)
    raise EvenhandError(f"the private Prefect server did not answer within {START_SECONDS} seconds; see {log}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.stdin:
        process.stdin.close()
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextlib.contextmanager
def _in_settings(url: str) -> Iterator[None]:
    from prefect.context import refresh_global_settings_context

    os.environ["PREFECT_API_URL"] = url
    _private_urls.add(url)
    refresh_global_settings_context()
    try:
        yield
    finally:
        del os.environ["PREFECT_API_URL"]
        refresh_global_settings_context()


def _drain() -> None:
    """Let Prefect's background threads send their last logs and events while the server still listens."""
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    APILogWorker.drain_all(timeout=10)
    EventsWorker.drain_all(timeout=10)


def _free_port() -> int:
    with contextlib.closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))  # another process may take it before the server does, and `_wait` reports the end
        return int(probe.getsockname()[1])


def _serve(port: int) -> None:
    import uvicorn

    config = uvicorn.Config(
        "prefect.server.api.server:create_app", factory=True, host="127.0.0.1", port=port, log_level="error"
    )
    server = uvicorn.Server(config)

    def end_with_parent() -> None:
        os.read(0, 1)  # returns when the parent closes the pipe or dies
        server.should_exit = True
        time.sleep(5)  # open connections keep uvicorn from ending by itself
        os._exit(0)

    threading.Thread(target=end_with_parent, daemon=True).start()
    server.run()


if __name__ == "__main__":
    _serve(int(sys.argv[1]))
