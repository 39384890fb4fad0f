"""A worker that fails on a full disk can write neither its error nor its output."""

import subprocess

import pytest

from pipeline_core.ranks.failures import failure


@pytest.fixture
def small_disk(tmp_path):
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", tmp_path], capture_output=True, text=True, check=False
    )
    if made.returncode:
        pytest.skip(f"no right to mount a disk: {made.stderr}")
    yield tmp_path
    subprocess.run(["umount", tmp_path], check=True)


@pytest.mark.parametrize("several", [False, True])
def test_a_full_disk_is_told_as_the_reason(small_disk, several):
    (small_disk / "log.txt").touch()
    assert str(failure(small_disk, 1, several=several)).startswith("the worker ended with exit code 1. The end of its")
    (small_disk / "filler").write_bytes(bytes(3 << 19))
    told = str(failure(small_disk, 1, several=several))
    assert (
        told == f"the worker ended with exit code 1, and the disk of {small_disk} is full: make room, and run it again"
    )
