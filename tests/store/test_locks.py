import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from dataclasses import asdict

import pytest

from pipeline_core.store import locks, processes
from pipeline_core.store.locks import Lock, Stopped, TakenOver, owner_of
from pipeline_core.store.processes import Process

HOLDER = textwrap.dedent(
    """
    import sys, time
    from pathlib import Path
    from pipeline_core.store.locks import Lock
    with Lock(Path(sys.argv[1])):
        print("held", flush=True)
        time.sleep(60)
    """
)


@pytest.fixture
def holder(tmp_path):
    path = tmp_path / "locks" / "key.lock"
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    yield path, process
    process.kill()
    process.wait()


def test_the_lock_of_a_killed_process_is_taken_over(holder):
    path, process = holder
    assert owner_of(path)["pid"] == process.pid
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert owner_of(path) is None
    with Lock(path) as lock:
        assert lock.held
        assert owner_of(path)["pid"] == os.getpid()
    assert not path.exists()


def test_a_live_owner_is_waited_for_and_named(holder):
    path, process = holder
    seen = []
    threading.Timer(0.6, process.kill).start()
    threading.Timer(0.7, process.wait).start()
    with Lock(path, on_wait=seen.append, poll_seconds=0.05) as lock:
        assert lock.held
    assert [owner["pid"] for owner in seen] == [process.pid]


def test_waiting_ends_when_the_work_is_done_by_somebody_else(holder):
    path, _ = holder
    done = threading.Event()
    threading.Timer(0.3, done.set).start()
    with Lock(path, finished=done.is_set, poll_seconds=0.05) as lock:
        assert not lock.held
    assert owner_of(path) is not None


def test_only_one_of_many_holds_it(tmp_path):
    inside, most = [], []

    def work():
        with Lock(tmp_path / "key.lock", poll_seconds=0.01):
            inside.append(1)
            most.append(len(inside))
            time.sleep(0.005)
            inside.pop()

    threads = [threading.Thread(target=work) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 12


GONE = 2**22 + 1
"""No process has this id."""


def write_owner(path, **changes):
    path.write_text(json.dumps({**asdict(Process.current()), "token": "t", **changes}))


@pytest.fixture
def fall_silent(monkeypatch):
    """A function: a silence long enough passes, by the clock of this process."""
    passed = [0.0]
    monkeypatch.setattr(locks, "monotonic", lambda: time.monotonic() + passed[0])

    def pass_by(seconds=locks.SILENT_SECONDS + 1):
        passed[0] += seconds

    return pass_by


def test_a_dead_process_of_this_space_is_no_owner_at_once(tmp_path):
    path = tmp_path / "key.lock"
    write_owner(path, pid=GONE)
    assert owner_of(path) is None


@pytest.mark.parametrize("space", ["elsewhere boot pid:[1]", "another container of a machine with the same name"])
def test_an_owner_that_cannot_be_seen_is_dead_only_after_a_silence(tmp_path, space, fall_silent):
    path = tmp_path / "key.lock"
    write_owner(path, space=space, pid=GONE)
    assert owner_of(path)["space"] == space
    fall_silent()
    assert owner_of(path) is None


def test_an_owner_hidden_by_the_system_is_dead_only_after_a_silence(tmp_path, monkeypatch, fall_silent):
    path = tmp_path / "key.lock"
    write_owner(path)
    monkeypatch.setattr(processes, "_started", lambda pid: None)
    assert owner_of(path) is not None
    fall_silent()
    assert owner_of(path) is None


def test_a_live_process_of_this_space_stays_the_owner_while_it_is_suspended(tmp_path, fall_silent):
    path = tmp_path / "key.lock"
    write_owner(path)
    assert owner_of(path)["pid"] == os.getpid()
    fall_silent()
    assert owner_of(path)["pid"] == os.getpid()


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"host": 1}', '{"host": "h", "space": "s", "pid": "x"}'])
def test_an_owner_that_cannot_be_read_is_dead_only_after_a_silence(tmp_path, text, fall_silent):
    path = tmp_path / "key.lock"
    path.write_text(text)
    assert owner_of(path) is not None
    fall_silent()
    assert owner_of(path) is None


@pytest.mark.parametrize("text", ["[]", "7", "null", '"text"'])
def test_what_is_no_object_is_called_that(tmp_path, text):
    path = tmp_path / "key.lock"
    path.write_text(text)
    assert owner_of(path) == {"unreadable": "not a JSON object"}


def test_a_lock_before_and_after_its_work(tmp_path):
    path = tmp_path / "folders" / "that are not there" / "key.lock"
    lock = Lock(path)
    assert (lock.held, lock.lost) == (False, False)
    assert lock.take() is True
    assert (lock.held, lock.lost) == (True, False)
    beating = [thread for thread in threading.enumerate() if thread.name == "lock-heartbeat"]
    assert beating
    assert all(thread.daemon for thread in beating), "an end of the process does not wait for it"
    other = Lock(path)
    assert (other.take(), other.held) == (False, False)
    path.unlink()
    lock.release()  # somebody has removed the file
    assert (lock.held, lock.lost) == (False, False)
    lock.release()


def test_a_wait_that_is_stopped_and_work_that_was_taken_over_say_so(tmp_path):
    path = tmp_path / "key.lock"
    with Lock(path), pytest.raises(Stopped) as stopped:
        Lock(path, stopping=lambda: True).__enter__()
    assert str(stopped.value) == "the run was stopped while it waited for another process that makes the same"
    assert str(TakenOver()) == (
        "another process has taken this work over, since no sign of life came from here for 60 seconds; "
        "what was made here is dropped"
    )


def test_a_heartbeat_goes_on_after_a_file_that_cannot_be_read_or_touched(tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "HEARTBEAT_SECONDS", 0.02)
    path = tmp_path / "key.lock"
    failures, touch = [OSError(5, "Input/output error")] * 3, os.utime

    def sometimes(*arguments, **named):
        if failures:
            raise failures.pop()
        touch(*arguments, **named)

    with Lock(path) as lock:
        text = path.read_text()
        path.write_text("{")  # half of it, on a file system without renames
        monkeypatch.setattr(os, "utime", sometimes)
        deadline = time.monotonic() + 10
        while failures and time.monotonic() < deadline:
            time.sleep(0.01)
        assert not failures
        path.write_text(text)
        touch(path, (1, 1))
        while path.stat().st_mtime == 1 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert path.stat().st_mtime > 1
        assert not lock.lost


@pytest.mark.parametrize("error", [PermissionError(13, "denied"), OSError(116, "Stale file handle")])
def test_a_lock_file_that_cannot_be_looked_at_is_held(tmp_path, monkeypatch, error):
    path = tmp_path / "key.lock"
    write_owner(path)

    def fail(*_, **__):
        raise error

    for module, name in ((type(path), "open"), (os, "fstat")):
        with monkeypatch.context() as patch:
            patch.setattr(module, name, fail)
            assert owner_of(path) == {"unreadable": str(error)}


@pytest.mark.parametrize("hours", [-1, 1])
def test_r8_an_hour_between_two_clocks_neither_ends_a_live_owner_nor_spares_a_dead_one(tmp_path, fall_silent, hours):
    path = tmp_path / "key.lock"
    write_owner(path, space="another host")
    their_time = time.time() + hours * 3600
    for beat in range(3):  # alive: the heartbeat changes within each silence
        os.utime(path, (their_time + beat,) * 2)
        assert owner_of(path) is not None
        fall_silent(locks.SILENT_SECONDS - 1)
    assert owner_of(path) is not None
    fall_silent(2)
    assert owner_of(path) is None


def test_a_watch_begins_anew_with_another_owner(tmp_path, fall_silent):
    path = tmp_path / "key.lock"
    write_owner(path, space="another host")
    assert owner_of(path) is not None
    fall_silent()
    path.unlink()
    write_owner(path, space="a third host")
    assert owner_of(path)["space"] == "a third host"
    fall_silent(locks.SILENT_SECONDS - 1)
    assert owner_of(path) is not None
    fall_silent(2)
    assert owner_of(path) is None


@pytest.mark.parametrize(("days", "blocks"), [(-1.1, False), (-0.9, True), (0.9, True), (1.1, False)])
def test_a_heartbeat_days_away_is_of_nobody_alive(tmp_path, days, blocks):
    path = tmp_path / "key.lock"
    write_owner(path, space="another host")
    os.utime(path, (time.time() + days * 86400,) * 2)
    assert (owner_of(path) is not None) == blocks


def test_a_reused_process_id_is_not_the_owner(tmp_path):
    path = tmp_path / "key.lock"
    write_owner(path, started="0")
    assert owner_of(path) is None


def test_a_wait_ends_when_the_run_stops(holder):
    path, _ = holder
    stopping = threading.Event()
    threading.Timer(0.3, stopping.set).start()
    with pytest.raises(Stopped), Lock(path, poll_seconds=0.05, stopping=stopping.is_set):
        pass
    assert owner_of(path) is not None


def test_who_was_taken_over_notices_and_leaves_the_successor_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "HEARTBEAT_SECONDS", 0.02)
    path = tmp_path / "key.lock"
    with Lock(path) as lock:
        with lock.still_ours():
            pass
        write_owner(path, token="another")
        deadline = time.monotonic() + 10
        while not lock.lost and time.monotonic() < deadline:
            time.sleep(0.01)
        assert lock.lost
        heartbeat = path.stat().st_mtime
        time.sleep(0.1)
        assert path.stat().st_mtime == heartbeat, "the successor's silence stays visible"
        with pytest.raises(TakenOver), lock.still_ours():
            raise AssertionError("not reached")
    assert path.exists()


def test_a_lock_taken_over_is_not_removed_by_its_former_owner(tmp_path):
    path = tmp_path / "key.lock"
    with Lock(path):
        write_owner(path, token="another")
    assert path.exists()


def test_the_heartbeat_touches_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "HEARTBEAT_SECONDS", 0.05)
    path = tmp_path / "key.lock"
    with Lock(path):
        os.utime(path, (0, 0))
        deadline = time.monotonic() + 10
        while path.stat().st_mtime == 0 and time.monotonic() < deadline:
            time.sleep(0.02)
        assert path.stat().st_mtime > 0
