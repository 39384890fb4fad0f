"""Background processes of a local stack: started once, found again by their records, and stopped in order.

`EVENHAND_HOME/stack/stack.json` holds a record for each process; `EVENHAND_HOME/stack/NAME.log` its output.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import psutil
from pydantic import BaseModel, TypeAdapter

from pipeline_core.errors import BadInput, EvenhandError
from pipeline_core.files.exclusive import alone
from pipeline_core.files.json_files import Damaged, read_as
from pipeline_core.files.private import private_file, private_folder, write_private
from pipeline_core.network.addresses import answers
from pipeline_core.store.processes import Process

END_SECONDS = 30.0
"""Seconds a process has to end by itself."""
BIN = Path(sys.executable).parent


class Service(BaseModel):
    """Record of a process: a server with its address, or a worker with its pool."""

    name: str
    process: Process
    port: int | None = None
    host: str = "127.0.0.1"
    pool: str | None = None
    gpu: str | None = None

    @property
    def address(self) -> str | None:
        """Address of a server."""
        return f"http://{self.host}:{self.port}" if self.port else None

    def state(self) -> str:
        """State in words: `answers`, `runs` (workers have no address), `does not answer`, `ended`."""
        if self.process.lives() is False:
            return "ended"
        if self.address is None:
            return "runs"
        return "answers" if answers(f"{self.address}{health_path(self.name)}") else "does not answer"


def health_path(name: str) -> str:
    """Path of a server's health page."""
    return "/api/health" if name == "prefect" else "/health"


class StackRecord(BaseModel):
    """Record of a stack: its processes in the order of their start, and what was deployed."""

    services: list[Service] = []
    database: str | None = None
    """Address of the PostgreSQL server without credentials; None for SQLite files."""
    user: str | None = None
    """User of the servers' login; None: they want none."""
    deployed: str | None = None
    """Digest of the deployments that were registered."""

    def service(self, name: str) -> Service | None:
        """Record of a process, or None."""
        return next((service for service in self.services if service.name == name), None)


_RECORDS = TypeAdapter(StackRecord)


class Stack:
    """The stack of one home."""

    def __init__(self, home: Path) -> None:
        self.folder = home / "stack"
        self.record = self._read()

    def _read(self) -> StackRecord:
        try:
            return read_as(_RECORDS, self.folder / "stack.json")
        except FileNotFoundError:
            return StackRecord()
        except Damaged as error:
            raise EvenhandError(
                f"{self.folder / 'stack.json'} cannot be read: {error}; end the processes it names and remove it"
            ) from None

    def write(self) -> None:
        """Write the record in one rename."""
        write_private(self.folder / "stack.json", self.record.model_dump_json(indent=1))

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Block in which no other command changes the stack.

        Raises:
            BadInput: another command does.
        """
        private_folder(self.folder)
        with alone(self.folder / ".lock") as is_alone:
            if not is_alone:
                raise BadInput(f"another command starts or stops the stack in {self.folder} just now")
            self.record = self._read()
            yield

    def log(self, name: str) -> Path:
        """Log file of a process."""
        return self.folder / f"{name}.log"

    def runs(self, name: str) -> Service | None:
        """Record of a process if it still runs."""
        service = self.record.service(name)
        return service if service and service.process.lives() is not False else None

    def start(self, name: str, command: Sequence[str], environment: Mapping[str, str], **facts: object) -> Service:
        """Start a process in a session of its own, and record it. Its first argument is a program of this environment.

        Secrets belong into `environment`: any user of the machine can read a command line.
        """
        private_file(self.log(name))
        with self.log(name).open("ab") as log:
            process = subprocess.Popen(
                [str(BIN / command[0]), *command[1:]],
                env={**os.environ, **environment},
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                # Databases and logs of a server are its owner's; workers write a store that others may share.
                umask=0o077 if "port" in facts else -1,
            )
        service = Service.model_validate({"name": name, "process": asdict(Process.of(process.pid)), **facts})
        self.record.services = [*(other for other in self.record.services if other.name != name), service]
        self.write()
        return service

    def stop(self, service: Service) -> None:
        """End a process and its group: by SIGTERM, and by SIGKILL if it takes longer than `END_SECONDS`."""
        end = time.monotonic() + END_SECONDS
        while service.process.lives():
            late = time.monotonic() > end
            with contextlib.suppress(ProcessLookupError):
                os.killpg(service.process.pid, signal.SIGKILL if late else signal.SIGTERM)
            time.sleep(0.2)
            while service.process.lives() and time.monotonic() < end:
                time.sleep(0.1)
        self.end_rest(service)
        self.record.services = [other for other in self.record.services if other.name != service.name]
        self.write()

    def end_rest(self, service: Service) -> None:
        """Kill what a server that was killed has left: its own processes go on, and hold its port.

        Those of a worker are runs, which end by themselves.
        """
        end = time.monotonic() + END_SECONDS
        # A number that another process has now is not looked at: its group is not ours.
        if service.port and not Process.of(service.process.pid).started:
            while lives_on(service.process.pid) and time.monotonic() < end:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(service.process.pid, signal.SIGKILL)
                time.sleep(0.1)

    def end_of_log(self, name: str, lines: int = 15) -> str:
        """Last lines of a process's output."""
        with contextlib.suppress(FileNotFoundError):
            return "\n".join(self.log(name).read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])
        return ""


def lives_on(group: int) -> bool:
    """True if a process of the group runs; one that has ended and that its parent has not waited for does not."""
    for process in psutil.process_iter(["status"]):
        with contextlib.suppress(ProcessLookupError):
            if process.info["status"] != psutil.STATUS_ZOMBIE and os.getpgid(process.pid) == group:
                return True
    return False
