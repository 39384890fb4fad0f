import os
import shutil
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from pipeline_core.store import processes
from pipeline_core.store.processes import Process


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


def test_a_zombie_does_no_more_work():
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    alive = replace(Process.current(), pid=child.pid, started=processes._started(child.pid))
    assert alive.lives() is True
    child.stdin.close()
    stat = Path(f"/proc/{child.pid}/stat")
    while " Z " not in stat.read_text():
        time.sleep(0.01)
    assert alive.lives() is False
    child.wait()
    assert alive.lives() is False


def test_the_start_of_a_process_is_found_whatever_its_name_is(tmp_path):
    odd = tmp_path / "a) 1 (\udcff)"  # blanks, brackets, and a byte that is no text
    shutil.copy(shutil.which("sleep"), odd)
    process = subprocess.Popen([odd, "60"])
    try:
        while b"a) 1 (" not in (stat := Path(f"/proc/{process.pid}/stat")).read_bytes():
            time.sleep(0.01)
        since_boot = float(Path("/proc/uptime").read_text().split()[0])
        started = int(processes._started(process.pid)) / os.sysconf("SC_CLK_TCK")
        assert since_boot - 60 < started <= since_boot, stat.read_bytes()
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize(
    ("error", "takes"), [(None, True), (PermissionError, True), (ProcessLookupError, False), (OverflowError, False)]
)
def test_a_signal_tells_whether_there_is_a_process(monkeypatch, error, takes):
    def kill(pid, number):
        assert (pid, number) == (7, 0), "no signal that would do something"
        if error:
            raise error

    monkeypatch.setattr(os, "kill", kill)
    assert processes._takes_signals(7) is takes
