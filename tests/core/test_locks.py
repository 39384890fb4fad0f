import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import pytest

from pipeline_core import locks
from pipeline_core.locks import Lock, owner_of

HOLDER = textwrap.dedent(
    """
    import sys, time
    from pathlib import Path
    from pipeline_core.locks import Lock
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


def write_owner(path, **changes):
    path.write_text(json.dumps({"host": "elsewhere", "pid": 1, "started": "1", "token": "t", **changes}))


def test_an_owner_on_another_host_is_dead_only_after_a_silence(tmp_path):
    path = tmp_path / "key.lock"
    write_owner(path)
    assert owner_of(path)["host"] == "elsewhere"
    silent = time.time() - locks.SILENT_SECONDS - 1
    os.utime(path, (silent, silent))
    assert owner_of(path) is None


def test_a_reused_process_id_is_not_the_owner(tmp_path):
    import socket

    path = tmp_path / "key.lock"
    write_owner(path, host=socket.gethostname(), pid=os.getpid(), started="0")
    assert owner_of(path) is None


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
