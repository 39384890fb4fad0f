import math
import os
import subprocess
import sys
from dataclasses import asdict, replace

import pytest

from pipeline_core.store import processes
from pipeline_core.store.processes import Process, cores


def test_this_process_lives_and_can_be_written_down():
    mine = Process.current()
    assert mine.lives()
    assert Process.read(asdict(mine)) == mine
    assert Process.read({**asdict(mine), "pid": "seven"}) is None
    assert Process.read({}) is None


def test_a_process_that_has_ended_does_not_live():
    code = "from pipeline_core.store.processes import Process as P; from dataclasses import asdict; import json;"
    code += "print(json.dumps(asdict(P.current())))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    import json

    other = Process.read(json.loads(done.stdout))
    assert other.space == Process.current().space
    assert other.lives() is False


def test_another_space_cannot_be_looked_into():
    assert replace(Process.current(), space="elsewhere").lives() is None


def test_a_hidden_process_that_takes_signals_may_live(monkeypatch):
    monkeypatch.setattr(processes, "_started", lambda pid: None)
    assert Process.current().lives() is None
    assert replace(Process.current(), pid=2**22 + 1).lives() is False


def test_cores_are_those_this_process_may_use(monkeypatch):
    allowed = len(os.sched_getaffinity(0))
    monkeypatch.setattr(processes, "_container_limit", lambda root: math.inf)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert cores() == allowed
    monkeypatch.setattr(processes, "_container_limit", lambda root: 0.5)
    assert cores() == 1


@pytest.mark.parametrize(
    ("asked", "expected"), [("1", 1), ("3,2", 3), (" 2 ", 2), ("64", 8), ("0", 8), ("many", 8), ("", 8)]
)
def test_a_user_may_ask_for_fewer_cores(monkeypatch, asked, expected):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))
    monkeypatch.setattr(processes, "_container_limit", lambda root: math.inf)
    monkeypatch.setenv("OMP_NUM_THREADS", asked)
    assert cores() == expected


@pytest.mark.parametrize(("text", "limit"), [("max 100000", math.inf), ("150000 100000", 1.5), ("", math.inf)])
def test_a_containers_limit_is_read(tmp_path, text, limit):
    (tmp_path / "cpu.max").write_text(text)
    assert processes._container_limit(tmp_path) == limit
