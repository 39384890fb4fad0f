"""Completions for evaluations are the same for any number of processes, which share the prompts."""

import torch

from pipeline_core.conformance.kit import tiny_model
from pipeline_core.models.loading import load_model
from pipeline_core.models.sampling.decoding import SamplingSettings
from pipeline_core.models.sampling.sample import sampled_texts

PROMPTS = [f"the {word} was" for word in ("nurse", "old", "young", "late", "visitor")]


def texts(folder, prompts=PROMPTS):
    return sampled_texts(*load_model(folder), prompts, SamplingSettings(max_new_tokens=6), seed=3, samples=2)


def _in_two(rank, store, folder, queue):
    torch.distributed.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    queue.put((texts(folder), texts(folder, PROMPTS[:1])))
    torch.distributed.destroy_process_group()


def test_two_processes_sample_what_one_does(tmp_path):
    folder = tiny_model(tmp_path / "model")
    alone = texts(folder), texts(folder, PROMPTS[:1])
    queue = torch.multiprocessing.get_context("spawn").SimpleQueue()
    torch.multiprocessing.spawn(_in_two, (tmp_path / "store", folder, queue), nprocs=2)
    assert [queue.get() for _ in range(2)] == [alone, alone]
    assert len({text for several in alone[0] for text in several}) > 5
    assert alone[1] == alone[0][:1]


def test_nothing_is_sampled_of_nothing(tmp_path):
    assert texts(tiny_model(tmp_path / "model"), []) == []
