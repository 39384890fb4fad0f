"""Which device a process takes, on machines with and without GPUs."""

import math
import os

import pytest
import torch

from pipeline_core.errors import BadInput
from pipeline_core.models import devices
from pipeline_core.models.devices import choose_device, cores


@pytest.fixture
def gpus(monkeypatch):
    def has(count, local_rank=0):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
        monkeypatch.setenv("LOCAL_RANK", str(local_rank))

    return has


@pytest.mark.parametrize(
    ("count", "rank", "processes", "wanted", "expected"),
    [
        (0, 0, 1, "auto", "cpu"),
        (0, 1, 2, "auto", "cpu"),
        (2, 0, 1, "auto", "cuda:0"),
        (2, 1, 2, "auto", "cuda:1"),
        (2, 1, 2, "cuda", "cuda:1"),
        (2, 1, 1, "cuda", "cuda:0"),
        (2, 0, 1, "cuda:1", "cuda:1"),
        (2, 1, 2, "cpu", "cpu"),
    ],
)
def test_the_device_of_a_process(gpus, count, rank, processes, wanted, expected):
    gpus(count, rank)
    assert choose_device(wanted, processes) == expected


@pytest.mark.parametrize(
    ("count", "rank", "processes", "wanted", "words"),
    [
        (0, 0, 1, "cuda", "runner.device cuda .* there are 0"),
        (0, 0, 1, "cuda:0", "runner.device cuda:0 .* there are 0"),
        (2, 0, 1, "cuda:2", "runner.device cuda:2 asks for GPU number 2"),
        (2, 0, 2, "cuda:0", "runner.device cuda:0 is one GPU and the stage has 2 processes"),
        (1, 1, 2, "auto", "asks for GPU number 1 .* there are 1"),
    ],
)
def test_a_gpu_that_cannot_be_had_is_said_by_name(gpus, count, rank, processes, wanted, words):
    gpus(count, rank)
    with pytest.raises(BadInput, match=words):
        choose_device(wanted, processes)


def test_cores_are_those_this_process_may_use(monkeypatch):
    allowed = len(os.sched_getaffinity(0))
    monkeypatch.setattr(devices, "_container_limit", lambda root: math.inf)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert cores() == allowed
    monkeypatch.setattr(devices, "_container_limit", lambda root: 0.5)
    assert cores() == 1


@pytest.mark.parametrize(
    ("asked", "expected"), [("1", 1), ("3,2", 3), (" 2 ", 2), ("64", 8), ("0", 8), ("many", 8), ("", 8)]
)
def test_a_user_may_ask_for_fewer_cores(monkeypatch, asked, expected):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))
    monkeypatch.setattr(devices, "_container_limit", lambda root: math.inf)
    monkeypatch.setenv("OMP_NUM_THREADS", asked)
    assert cores() == expected


@pytest.mark.parametrize(("text", "limit"), [("max 100000", math.inf), ("150000 100000", 1.5), ("", math.inf)])
def test_a_containers_limit_is_read(tmp_path, text, limit):
    (tmp_path / "cpu.max").write_text(text)
    assert devices._container_limit(tmp_path) == limit
