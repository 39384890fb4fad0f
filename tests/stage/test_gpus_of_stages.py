"""Real workers on a host with two GPUs, which are names alone."""

import threading

import pytest

from pipeline_core.stage.run import run_stage
from tests.stage.test_launch import job, plugin_path, registry  # noqa: F401 - fixtures


@pytest.fixture(autouse=True)
def host(tmp_path, monkeypatch):
    monkeypatch.setenv("EVENHAND_GPU_LOCKS", str(tmp_path / "locks"))
    monkeypatch.setenv("EVENHAND_GPUS", "a,b")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def test_two_stages_at_once_have_a_gpu_each(plugin_path, store, registry):  # noqa: F811
    """Each waits until it sees the other at work, so that both are there at once."""
    results = {}

    def make(seed):
        results[seed] = run_stage(job("meet").model_copy(update={"seed": seed}), store, registry)

    threads = [threading.Thread(target=make, args=(seed,)) for seed in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted((result.path / "gpus-0.txt").read_text() for result in results.values()) == ["a", "b"]


def test_ranks_of_a_stage_share_its_gpus(plugin_path, store, registry):  # noqa: F811
    result = run_stage(job("gpus", processes=2), store, registry)
    assert [(result.path / f"gpus-{rank}.txt").read_text() for rank in (0, 1)] == ["a,b", "a,b"]


def test_a_stage_without_gpus_to_lease_inherits_the_variable(plugin_path, store, registry, monkeypatch):  # noqa: F811
    monkeypatch.setenv("EVENHAND_GPUS", "")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    assert (run_stage(job("gpus"), store, registry).path / "gpus-0.txt").read_text() == "7"
