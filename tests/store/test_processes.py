import subprocess
import sys
from dataclasses import asdict, replace

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
