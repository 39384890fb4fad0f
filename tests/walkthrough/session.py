"""A shell that goes on from command to command, with servers in the background."""

import contextlib
import os
import re
import shlex
import signal
import subprocess
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

from tests.walkthrough.pages import VARIABLES

READY_SECONDS = 240
SERVERS = {
    ("prefect", "server", "start"): (4200, "/api/health"),
    ("mlflow", "server"): (5000, "/health"),
    ("mlflow", "ui"): (5000, "/health"),
    ("prefect", "worker", "start"): (None, "started!"),
}
"""Commands that do not end: default port and the path that answers, or the word in its output when it is ready."""


class WalkFailed(Exception):
    """A command did not do what the page says, in a sentence."""


def server_of(command: str) -> tuple[int | None, str] | None:
    """Port and path (or word) of a command that serves; None for one that ends."""
    words = shlex.split(VARIABLES.sub("", command, count=1))
    for beginning, (port, sign) in SERVERS.items():
        if tuple(words[: len(beginning)]) == beginning:
            given = re.search(r"--port[ =](\d+)", command)
            return (int(given[1]) if given else port), sign
    return None


def answers(port: int, path: str) -> bool:
    with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as response:
        return bool(response.status == 200)
    return False


@dataclass
class Server:
    command: str
    process: subprocess.Popen[bytes]
    port: int | None

    def stop(self) -> None:
        """End it and all it has started."""
        _end(self.process, 20)


@dataclass
class Session:
    """Commands share `folder`'s files `environment` and `directory`, so that a page can go on in another process.

    `words` are replaced in every command; for those of `lacks` there is nothing here, and why.
    """

    checkout: Path
    folder: Path
    environment: dict[str, str]
    servers: list[Server] = field(default_factory=list)
    words: dict[str, str] = field(default_factory=dict)
    lacks: dict[str, str] = field(default_factory=dict)

    def lacking(self, command: str) -> str:
        """Why the command cannot run here; empty where it can."""
        return next((why for word, why in self.lacks.items() if word in command), "")

    def begin(self) -> None:
        """A new shell in the checkout."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for name in ("environment", "directory"):
            (self.folder / name).unlink(missing_ok=True)

    def run(self, command: str, log: Path, limit: float) -> None:
        """Run a command to its end, or until its server answers.

        Raises:
            WalkFailed: it failed, took longer than `limit` seconds, or its server does not answer.
        """
        for word, meaning in self.words.items():
            command = command.replace(word, meaning)
        if server := server_of(command):
            self._serve(command, log, *server)
            return
        process = self._start(command, log)
        try:
            code = process.wait(limit)
        except subprocess.TimeoutExpired:
            raise WalkFailed(f"not done after {limit / 60:.0f} minutes") from None
        finally:
            _end(process, 10)
        if code:
            raise WalkFailed(f"exit code {code}")

    def _serve(self, command: str, log: Path, port: int | None, sign: str) -> None:
        self._make_room(port)
        if port and answers(port, sign):
            raise WalkFailed(f"another program answers on port {port}")
        server = Server(command, self._start(command, log), port)
        self.servers.append(server)
        end = time.monotonic() + READY_SECONDS
        while not (answers(port, sign) if port else sign in log.read_text(encoding="utf-8", errors="replace")):
            if server.process.poll() is not None:
                raise WalkFailed(f"the server ended with code {server.process.returncode}")
            if time.monotonic() > end:
                raise WalkFailed(f"the server does not answer after {READY_SECONDS} seconds")
            time.sleep(0.5)

    def _make_room(self, port: int | None) -> None:
        """A server takes the address of an earlier one, as a reader would end that first."""
        for server in [one for one in self.servers if port and one.port == port]:
            server.stop()
            self.servers.remove(server)

    def _start(self, command: str, log: Path) -> subprocess.Popen[bytes]:
        environment, directory = self.folder / "environment", self.folder / "directory"
        script = "\n".join(
            [
                f"[ -f {environment} ] && . {environment}",
                f"cd {shlex.quote(str(self.checkout))}",
                f"[ -f {directory} ] && cd \"$(cat {directory})\"",
                command,
                "code=$?",
                f"export -p > {environment}",
                f"pwd > {directory}",
                "exit $code",
            ]
        )  # fmt: skip
        with log.open("wb") as out:
            return subprocess.Popen(
                ["bash", "-c", script],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def end(self) -> None:
        """End workers first, then their servers."""
        for server in reversed(self.servers):
            server.stop()
        self.servers.clear()


def _end(process: subprocess.Popen[bytes], seconds: float) -> None:
    """Ask a process and its children to end, and end those that do not."""
    for what in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, what)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
        if what is signal.SIGTERM:
            _until_gone(process.pid, seconds)


def _until_gone(group: int, seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
