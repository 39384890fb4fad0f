"""A playground: a home with its store, its stack of servers, and commands as a user starts them."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.chaos.failures import Lost
from benchmarks.chaos.processes import MARK, processes_of, send, until_gone
from flows.records import RunRecord, all_runs
from flows.stack.services import Stack
from pipeline_core.store.artifacts import Store
from pipeline_core.store.manifest import Manifest

ROOT = Path(__file__).parents[2]
CONFIG = Path(__file__).with_name("small.yaml")
ONE_POLICY = ("reward=null", "policy=[{name: dpo, learning_rate: 1.0e-3, steps: 150, batch_size: 8, processes: 2}]")
"""Overrides for faults that need one training: its stages are those of the whole configuration, with the same keys."""
PATIENCE_SECONDS = 1200.0
"""Seconds after which a run that has not ended counts as lost: other programs may use the machine too."""


def free_port() -> int:
    """A free port of 127.0.0.1."""
    with contextlib.closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Attempt:
    """A started `evenhand run`; its output lies in files, which nobody has to read while it goes on."""

    process: subprocess.Popen[bytes]
    out: Path
    err: Path
    began: float = field(default_factory=time.time)

    def wait(self, seconds: float = PATIENCE_SECONDS) -> int:
        """Exit code. Raises `Lost` if the run does not end."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise Lost(f"`evenhand run` did not end within {seconds:.0f} s:\n{self.errors}") from None

    @property
    def errors(self) -> str:
        """End of stderr."""
        return self.err.read_text(errors="replace")[-3000:]

    @property
    def stages(self) -> list[dict[str, Any]]:
        """Stages of a run that printed its result."""
        stages: list[dict[str, Any]] = json.loads(self.out.read_text())["stages"]
        return stages


class Place:
    """A home below `folder`."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "home"
        self.store = self.home / "store"
        self.outputs = folder / "outputs"
        self.number = 0
        self.outputs.mkdir(parents=True, exist_ok=True)

    @property
    def environment(self) -> dict[str, str]:
        """Variables of commands: none of the servers that this process may know."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "MLFLOW_", "EVENHAND_"))}
        own = {"EVENHAND_HOME": str(self.home), MARK: str(self.home), "PREFECT_WORKER_QUERY_SECONDS": "2"}
        return {**kept, **own, "PYTHONPATH": str(ROOT), "DO_NOT_TRACK": "true"}

    def start(
        self, *overrides: str, config: Path = CONFIG, before: Sequence[str] = (), environment: Mapping[str, str] = {}
    ) -> Attempt:
        """Start `evenhand run`; `before`: words in front of the command, such as `unshare`."""
        self.number += 1
        out, err = (self.outputs / f"{self.number}.{kind}" for kind in ("json", "err"))
        with out.open("wb") as stdout, err.open("wb") as stderr:
            words = [*before, sys.executable, "-m", "flows.cli", "run", str(config), *overrides, "--json"]
            process = subprocess.Popen(
                words, env=self.environment | dict(environment), cwd=ROOT, stdout=stdout, stderr=stderr,
                stdin=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip
        return Attempt(process, out, err)

    def command(self, *words: str, seconds: float = 600.0) -> str:
        """Run an `evenhand` command to its end; its stdout. Raises `Lost` if it fails."""
        done = subprocess.run(
            [sys.executable, "-m", "flows.cli", *words],
            env=self.environment, cwd=ROOT, capture_output=True, text=True, timeout=seconds, check=False,
        )  # fmt: skip
        if done.returncode:
            raise Lost(f"`evenhand {' '.join(words)}` ended with {done.returncode}: {done.stderr[-2000:]}")
        return done.stdout

    def up(self) -> None:
        """Start what is missing of the stack."""
        # Own ports: the usual ones may belong to a stack that somebody uses. Later calls find them in the record.
        ports = () if self.stack.record.services else ("--port", str(free_port()), "--mlflow-port", str(free_port()))
        self.command("up", *ports)

    @property
    def stack(self) -> Stack:
        """The stack as recorded now."""
        return Stack(self.home)

    def address(self, name: str) -> str:
        """Address of a server of the stack."""
        service = self.stack.record.service(name)
        assert service is not None
        assert service.address is not None
        return service.address

    def records(self, since: float = 0.0) -> list[RunRecord]:
        """Records of runs that began at `since` or later, newest first."""
        return [record for record in all_runs(self.home / "runs") if record.started >= since]

    def artifacts(self) -> dict[str, Manifest]:
        """Complete artifacts by key."""
        return {manifest.key: manifest for manifest in Store(self.store).ls()}

    def end(self) -> None:
        """Kill what goes on, and stop the stack."""
        for found in processes_of(self.home):
            send(found, signal.SIGKILL)
        until_gone(self.home, 30)
        if self.stack.record.services:
            self.command("down")
