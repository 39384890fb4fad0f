import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import asdict
from pathlib import Path

import pytest

from pipeline_core.errors import BadInput, StageFailed
from pipeline_core.plugin.registry import PluginOrigin, Registry
from pipeline_core.stage import launch
from pipeline_core.stage.key import Job
from pipeline_core.stage.run import run_stage
from pipeline_core.stage.settings import ExecutionSettings
from pipeline_core.store import locks
from pipeline_core.store.locks import Stopped, TakenOver
from pipeline_core.store.processes import Process
from tests.stage import worker_plugin


@pytest.fixture
def plugin_path(tmp_path, monkeypatch):
    """The test plugin as an installed distribution on PYTHONPATH."""
    site = tmp_path / "site"
    info = site / "worker_probe-1.0.dist-info"
    info.mkdir(parents=True)
    shutil.copy(worker_plugin.__file__, site / "worker_probe_module.py")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: worker-probe\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[evenhand.plugins]\nworker_probe = worker_probe_module\n")
    monkeypatch.setenv("PYTHONPATH", f"{site}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    return site


@pytest.fixture
def registry():
    registry = Registry()
    registry.add(worker_plugin, PluginOrigin("worker_plugin", "worker-probe", "1.0"))
    return registry


def job(do="write", **changes):
    config = {"name": "worker_probe", "do": do, **changes}
    return Job(stage="base", label="worker_probe", config=config, runner=ExecutionSettings(threads=2))


def run(store, registry, *arguments, on_event=lambda _: None, **changes):
    return run_stage(job(*arguments, **changes), store, registry, on_event)


def test_a_library_that_aborts_at_the_end_of_a_worker_loses_nothing(plugin_path, store, registry):
    result = run(store, registry, "abort_at_exit")
    assert (result.path / "at exit").read_text() == "of Python", "the interpreter's own end takes place"
    assert result.metrics == {"sum": 1.0, "heavy": 0.0}


def test_a_worker_makes_the_artifact_and_its_events_are_seen(plugin_path, store, registry):
    seen = []
    result = run(store, registry, on_event=seen.append)
    assert (result.path / "result.txt").read_text() == "1.0 2"
    assert [event["step"] for event in seen] == [1]
    assert result.metrics == {"sum": 1.0, "heavy": 0.0}
    assert not store.partial(result.key).exists()


def test_torchrun_really_starts_two_processes(plugin_path, store, registry):
    result = run(store, registry, processes=2)
    assert (result.path / "result.txt").read_text() == "3.0 1"


def test_bad_input_found_by_the_worker_stays_bad_input(plugin_path, store, registry):
    with pytest.raises(BadInput, match="row 3 of entry x: empty completion") as caught:
        run(store, registry, "bad_input")
    assert "in the base plugin 'worker_probe'" in str(caught.value)


@pytest.mark.parametrize("processes", [1, 2])
def test_an_exception_arrives_with_its_type_and_traceback(plugin_path, store, registry, processes):
    with pytest.raises(StageFailed, match="ValueError: seven is not a tensor") as caught:
        run(store, registry, "raise", processes=processes)
    assert "worker_probe_module.py" in str(caught.value)
    assert list(store.ls()) == []


def test_a_worker_that_vanishes_is_quoted(plugin_path, store, registry):
    with pytest.raises(StageFailed, match=r"(?s)ended with exit code 3.*last words"):
        run(store, registry, "vanish")


def wait_for(condition, seconds=30.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def pid_file(store):
    def found():
        return list(store.root.glob(".partial/*/*/pid"))

    wait_for(lambda: found() and found()[0].read_text())
    return int(found()[0].read_text())


def is_gone(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_a_killed_worker_is_said_so_and_the_next_attempt_goes_on(plugin_path, store, registry):
    threading.Thread(target=lambda: os.kill(pid_file(store), signal.SIGKILL)).start()
    with pytest.raises(StageFailed, match="was ended by SIGKILL"):
        run(store, registry, "resume")
    resumed = run(store, registry, "resume")
    assert resumed.metrics == {"total": 45.0}
    assert [path.name for path in sorted(resumed.path.iterdir())] == ["manifest.json", "total.txt"]


def test_the_place_of_a_launcher_around_the_caller_is_not_handed_on(plugin_path, store, registry, monkeypatch):
    for name, value in {
        "RANK": "1",
        "LOCAL_RANK": "1",
        "WORLD_SIZE": "2",
        "MASTER_PORT": "1",
        "PET_NNODES": "7",
    }.items():
        monkeypatch.setenv(name, value)
    assert (run(store, registry).path / "result.txt").read_text() == "1.0 2"
    assert (run(store, registry, processes=2, do="two").path / "result.txt").read_text() == "3.0 1"


def test_a_rank_that_was_killed_is_quoted_before_what_the_others_say(plugin_path, store, registry):
    with pytest.raises(StageFailed, match="rank 0 was ended by SIGKILL"):
        run(store, registry, "kill_rank_0", processes=2)


def test_no_worker_starts_after_all_were_ended(plugin_path, store, registry, monkeypatch):
    started = []
    begin = launch._start

    def late(*arguments):
        launch.terminate_all()
        return begin(*arguments)

    monkeypatch.setattr(launch, "_start", late)
    monkeypatch.setattr(launch.subprocess, "Popen", lambda *_, **__: started.append(1))
    with pytest.raises(Stopped):
        run(store, registry)
    assert not started
    monkeypatch.undo()


def test_a_worker_ends_when_its_lock_is_taken_over(plugin_path, store, registry, monkeypatch):
    monkeypatch.setattr(locks, "HEARTBEAT_SECONDS", 0.1)
    pids = []

    def take_over():
        pids.append(pid_file(store))
        (lock,) = (store.root / ".locks").glob("*.lock")
        lock.write_text(json.dumps({**asdict(Process.current()), "token": "successor"}))

    threading.Thread(target=take_over).start()
    with pytest.raises(TakenOver):
        run(store, registry, "sleep")
    wait_for(lambda: is_gone(pids[0]))


def test_terminate_all_ends_workers(plugin_path, store, registry):
    pids = []

    def end():
        pids.append(pid_file(store))
        launch.terminate_all()

    threading.Thread(target=end).start()
    with pytest.raises(Stopped):
        run(store, registry, "sleep")
    wait_for(lambda: is_gone(pids[0]))


PARENT = """
import sys
from pathlib import Path
from pipeline_core.store.artifacts import Store
from pipeline_core.plugin.registry import load_registry
from pipeline_core.stage.key import Job
from pipeline_core.stage.run import run_stage
job = Job(stage="base", label="p", config={"name": "worker_probe", "do": "sleep", "processes": int(sys.argv[2])})
run_stage(job, Store(Path(sys.argv[1])), load_registry())
"""


@pytest.mark.parametrize("processes", [1, 2])
def test_a_worker_dies_with_its_parent(plugin_path, store, processes):
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(store.root), str(processes)])
    pid = pid_file(store)
    parent.kill()
    parent.wait()
    wait_for(lambda: is_gone(pid))
