"""Two hosts on one machine: a network, a process space, a host name and a clock of its own for each.

Needs the right to make namespaces (root), and `libfaketime` for the clock.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.chaos.failures import Skipped

NET = "10.231.77"
SERVERS = f"{NET}.254"
"""Address of the bridge, at which the servers of both hosts listen."""
BRIDGE = "evhbr0"
CLOCK = {
    "FAKETIME": "+1h",
    # The clock by which heartbeats are watched is nobody's to set: hosts differ in the time of day.
    "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    "DONT_FAKE_MONOTONIC": "1",
    # Files of a shared folder have the times of its server, not those of the host that looks.
    "NO_FAKE_STAT": "1",
    "FAKETIME_NO_CACHE": "1",
}


@dataclass(frozen=True)
class Host:
    """A host: `words` stand in front of a command that runs there, with the variables of `environment`."""

    name: str
    words: Sequence[str]
    environment: Mapping[str, str]


@contextlib.contextmanager
def two_hosts() -> Iterator[tuple[Host, Host]]:
    """The hosts `left`, and `right` whose clock is an hour ahead.

    Raises:
        Skipped: this machine lets nobody make them.
    """
    library = next(iter(Path("/usr/lib").glob("*/faketime/libfaketime.so.1")), None)
    if library is None:
        raise Skipped("libfaketime is not installed (apt install faketime)")
    if os.geteuid() != 0:
        raise Skipped("network namespaces need root")
    with contextlib.ExitStack() as stack:
        _ip("link", "add", BRIDGE, "type", "bridge")
        stack.callback(_ip, "link", "del", BRIDGE)
        _ip("addr", "add", f"{SERVERS}/24", "dev", BRIDGE)
        _ip("link", "set", BRIDGE, "up")
        sleep = _true_sleep(Path(stack.enter_context(tempfile.TemporaryDirectory())))
        clock = {**CLOCK, "LD_PRELOAD": f"{sleep}:{library}"}
        yield (
            stack.enter_context(_host("evh-left", f"{NET}.1", {})),
            stack.enter_context(_host("evh-right", f"{NET}.2", clock)),
        )


def _true_sleep(folder: Path) -> Path:
    source, library = Path(__file__).with_name("true_sleep.c"), folder / "true_sleep.so"
    compiler = shutil.which("cc")
    if compiler is None:
        raise Skipped("no C compiler (apt install gcc)")
    subprocess.run([compiler, "-shared", "-fPIC", "-O", "-o", str(library), str(source)], check=True)
    return library


@contextlib.contextmanager
def _host(name: str, address: str, environment: Mapping[str, str]) -> Iterator[Host]:
    _ip("netns", "add", name)
    try:
        outside, inside = f"{name}-o"[-15:], f"{name}-i"[-15:]
        _ip("link", "add", outside, "type", "veth", "peer", "name", inside)
        _ip("link", "set", outside, "master", BRIDGE, "up")
        _ip("link", "set", inside, "netns", name)
        _ip("-n", name, "addr", "add", f"{address}/24", "dev", inside)
        for device in (inside, "lo"):
            _ip("-n", name, "link", "set", device, "up")
        # The first process of the space: the others come and go, and the space stays, as it does on a host.
        first = ["unshare", "--pid", "--uts", "--fork", "--mount-proc", "--kill-child", "sh", "-c"]
        boot = f"hostname {name}; echo up; exec sleep infinity"
        process = subprocess.Popen(["ip", "netns", "exec", name, *first, boot], stdout=subprocess.PIPE, text=True)
        try:
            assert process.stdout
            if process.stdout.readline().strip() != "up":
                raise Skipped("no right to make a process space")
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text(encoding="ascii").split()
            enter = ["nsenter", "-t", children[0], "--pid", "--mount", "--net", "--uts", "--"]
            yield Host(name, enter, environment)
        finally:
            process.kill()
            process.wait()
    finally:
        _ip("netns", "del", name)


def _ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise Skipped(f"`ip {' '.join(words)}`: {done.stderr.strip()}")
