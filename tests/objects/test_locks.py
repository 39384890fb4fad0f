"""Locks between hosts, by objects."""

import json
import threading
import time

import pytest

from pipeline_core.objects.locks import SharedOwner
from pipeline_core.store import locks
from pipeline_core.store.locks import Stopped, TakenOver
from tests.store.test_artifacts import commit


def elsewhere(bucket, token="other", beats=1):
    """The lock's object as a process of another machine writes it."""
    owner = {"host": "far", "space": "far away", "pid": 1, "started": "1", "token": token, "beats": beats}
    return bucket.write("locks/k1", json.dumps(owner).encode())


def test_one_of_many_takes_a_free_lock(host):
    owners = [SharedOwner(host(str(n)).bucket, "locks/k1", str(n)) for n in range(6)]
    threads = [threading.Thread(target=owner.take) for owner in owners]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(owner.held for owner in owners) == 1
    for owner in owners:
        owner.release()
    assert host("a").bucket.read("locks/k1") is None


def test_a_silent_owner_elsewhere_is_succeeded_by_one_and_a_beating_one_by_none(host, monkeypatch):
    monkeypatch.setattr(locks, "SILENT_SECONDS", 0.5)
    a, b = host("a").bucket, host("b").bucket
    owners = [SharedOwner(a, "locks/k1", "a"), SharedOwner(b, "locks/k1", "b")]
    for beats in range(4):
        elsewhere(a, beats=beats)
        assert not any(owner.take() for owner in owners)
        time.sleep(0.2)
    time.sleep(0.6)
    assert sum(owner.take() for owner in owners) == 1


def test_a_dead_owner_of_this_machine_is_succeeded_at_once(host):
    import subprocess
    import sys
    from dataclasses import asdict

    from pipeline_core.store.processes import Process

    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    owner = asdict(Process.of(child.pid))
    bucket = host("a").bucket
    bucket.write("locks/k1", json.dumps({**owner, "token": "child"}).encode())
    mine = SharedOwner(bucket, "locks/k1", "mine")
    assert not mine.take()
    assert mine.other["pid"] == child.pid
    child.kill()
    child.wait()
    assert mine.take()


def test_who_was_succeeded_commits_nothing(host, address):
    a = host("a")
    a.prepare()
    with a.lock("model", "k1") as lock:
        elsewhere(a.bucket)  # as after a minute of silence
        work = a.partial("k1") / "work"
        work.mkdir(parents=True)
        (work / "a.txt").write_text("late")
        from tests.store.test_artifacts import FACTS

        with pytest.raises(TakenOver):
            a.commit("model", "k1", work, lock, **FACTS)
        assert lock.lost
    assert a.bucket.read("manifests/model/k1.json") is None
    assert json.loads(a.bucket.read("locks/k1")[0])["token"] == "other"  # a release leaves the successor's


def test_the_loss_is_noticed_by_the_heartbeat(host, monkeypatch):
    monkeypatch.setattr(locks, "HEARTBEAT_SECONDS", 0.1)
    a = host("a")
    a.prepare()
    with a.lock("model", "k1") as lock:
        time.sleep(0.5)
        assert not lock.lost
        elsewhere(a.bucket)
        for _ in range(100):
            if lock.lost:
                break
            time.sleep(0.1)
        assert lock.lost


def test_a_wait_tells_the_owner_and_ends_with_the_artifact_or_a_stop(host):
    a, b = host("a"), host("b")
    elsewhere(a.bucket)
    told = []
    thread = threading.Timer(1.0, lambda: commit(a))
    thread.start()
    with b.lock("model", "k1", told.append) as lock:
        assert not lock._shared.held
    thread.join()
    assert [owner["host"] for owner in told] == ["far"]
    a.bucket.write("locks/k3", a.bucket.read("locks/k1")[0])
    with pytest.raises(Stopped), b.lock("model", "k3", stopping=lambda: True):
        pass
    assert not b.lock_file("k3").exists()  # the file of this machine is free again


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"pid": Infinity}'])
def test_an_object_that_names_nobody_is_waited_out(host, monkeypatch, body):
    monkeypatch.setattr(locks, "SILENT_SECONDS", 0.2)
    bucket = host("a").bucket
    bucket.write("locks/k1", body)
    mine = SharedOwner(bucket, "locks/k1", "mine")
    assert not mine.take()
    time.sleep(0.3)
    assert mine.take()
