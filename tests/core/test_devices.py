"""Which device a process takes, on machines with and without GPUs."""

import pytest
import torch

from pipeline_core.errors import BadInput
from pipeline_core.stage.execute import choose_device


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
