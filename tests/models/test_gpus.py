"""Leases of GPUs between processes of a host. The GPUs are names alone; locks, processes and signals are real."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from pipeline_core.errors import BadInput
from pipeline_core.models.gpus import VISIBLE, leased, locks_folder, visible_gpus


@pytest.fixture(autouse=True)
def host(tmp_path, monkeypatch):
    """A host with two GPUs."""
    monkeypatch.setenv("EVENHAND_GPU_LOCKS", str(tmp_path / "locks"))
    monkeypatch.setenv("EVENHAND_GPUS", "a,b")
    monkeypatch.delenv(VISIBLE, raising=False)


class Busy(Exception):
    """Raised by a wait, which would otherwise go on."""


def busy():
    raise Busy


def names(lease):
    return lease.environment[VISIBLE].split(",")


def holder(count=1, after=""):
    """A process that holds GPUs until it ends, and their names."""
    code = (
        f"import subprocess, sys, time\nfrom pipeline_core.models.gpus import leased\n"
        f"with leased('auto', {count}) as gpus:\n"
        f"    {after or 'pass'}\n"
        f"    print(gpus.environment['{VISIBLE}'], flush=True)\n    time.sleep(600)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    return process, process.stdout.readline().strip().split(",")


@pytest.fixture
def holders():
    """Start holders; what still runs at the end is killed."""
    started = []

    def start(*arguments):
        started.append(holder(*arguments))
        return started[-1]

    yield start
    for process, _ in started:
        process.kill()
        process.wait()
        process.stdout.close()


def test_stages_side_by_side_have_different_gpus(holders):
    process, (first,) = holders()
    with leased("auto", 1) as second:
        assert {first, *names(second)} == {"a", "b"}
        with pytest.raises(Busy), leased("cuda", 1, busy):
            pass
    process.kill()
    process.wait()


def test_a_holder_that_is_killed_holds_nothing(holders):
    process, taken = holders(2)
    assert sorted(taken) == ["a", "b"]
    with pytest.raises(Busy), leased("auto", 1, busy):
        pass
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    with leased("auto", 2, busy) as free:
        assert sorted(names(free)) == ["a", "b"]


def test_a_worker_keeps_its_gpu_when_its_parent_is_killed(holders):
    """Until it has ended too: its memory is still on the GPU."""
    sleeper = "child = subprocess.Popen(['sleep', '600'], pass_fds=gpus.files, stdout=subprocess.DEVNULL); "
    process, (gpu, child) = holders(1, sleeper + "print(end=f'{child.pid},')")
    gpu, child = child, int(gpu)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    try:
        with leased("auto", 1, busy) as other:
            assert names(other) != [gpu]
            with pytest.raises(Busy), leased("auto", 1, busy):
                pass
    finally:
        os.kill(child, signal.SIGKILL)
    end = time.monotonic() + 30
    while time.monotonic() < end:  # the kernel ends it soon
        try:
            with leased("auto", 2, busy):
                return
        except Busy:
            time.sleep(0.02)
    raise AssertionError("the worker's GPU is still held")


def test_a_stage_of_two_gpus_is_not_starved_by_stages_of_one():
    """Whoever comes later waits behind it, although a GPU is free."""
    order, begun = [], threading.Event()

    def two():
        with leased("auto", 2, begun.set):
            order.append("two")

    def one():
        with leased("auto", 1):
            order.append("one")

    with leased("auto", 1):
        first = threading.Thread(target=two)
        first.start()
        assert begun.wait(30)
        with pytest.raises(Busy), leased("auto", 1, busy):
            pass
        second = threading.Thread(target=one)
        second.start()
    first.join(30)
    second.join(30)
    assert order == ["two", "one"]


def test_a_wait_ends_with_the_run_and_leaves_nothing():
    with leased("auto", 2), pytest.raises(Busy), leased("auto", 1, busy):
        pass
    with leased("auto", 2, busy):
        pass


def test_a_gpu_that_is_listed_twice_takes_two_stages_but_no_stage_twice(monkeypatch):
    monkeypatch.setenv("EVENHAND_GPUS", "a, a, b")
    with leased("auto", 2, busy) as first, leased("auto", 1, busy) as second:
        assert (names(first), names(second)) == (["a", "b"], ["a"])
        with pytest.raises(Busy), leased("auto", 1, busy):
            pass
    with (
        pytest.raises(BadInput, match=r"3 processes, each on a GPU of its own, and may use 2 \(a, b\)"),
        leased("auto", 3),
    ):
        pass


@pytest.mark.parametrize("device", ["cpu", "cuda:1", "mps"])
def test_a_named_device_holds_no_gpu(device):
    with leased(device, 4) as lease:
        assert (lease.environment, lease.files) == ({}, ())
    assert not locks_folder().joinpath("a").exists()


def test_a_worker_of_one_gpu_knows_the_hosts_list(monkeypatch):
    monkeypatch.setenv(VISIBLE, "b")
    assert visible_gpus() == ["b"]
    monkeypatch.setenv("EVENHAND_GPUS", "")
    assert visible_gpus() == []


def test_a_name_with_slashes_stays_in_the_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("EVENHAND_GPUS", "../../MIG-1/2")
    with leased("auto", 1):
        assert [file for file in tmp_path.rglob("*") if file.is_file() and file.parent != locks_folder()] == []


def test_a_lock_that_was_deleted_is_made_again():
    with leased("auto", 2):
        for file in locks_folder().iterdir():
            file.unlink()
    with leased("auto", 2, busy), pytest.raises(Busy), leased("auto", 1, busy):
        pass


def test_a_folder_that_cannot_be_made_is_named(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("EVENHAND_GPU_LOCKS", str(tmp_path / "file"))
    with pytest.raises(BadInput, match="set EVENHAND_GPU_LOCKS to another folder"), leased("auto", 1):
        pass
