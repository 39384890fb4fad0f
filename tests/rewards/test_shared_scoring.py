"""Processes share the scoring of texts, and each gets all scores, to the last digit."""

import pytest
import torch

from pipeline_core.rewards.load import checked

PROMPTS, COMPLETIONS = ["p"] * 9, ["word " * count for count in (3, 1, 4, 1, 5, 9, 2, 6, 8)]


def scored(shared):
    asked = []

    def reward(prompts, completions):
        asked.append(list(completions))
        return torch.tensor([len(text) / 7 + len(completions) / 1e3 for text in completions])  # depends on its batch

    scores = checked(reward, "lengths", 2, shared=shared)(PROMPTS, COMPLETIONS)
    return scores.tolist(), asked


def _in_two(rank, store, queue):
    torch.distributed.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    queue.put((torch.distributed.get_world_size(), rank, *scored(shared=True)))
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize("shared", [True, False])
def test_a_single_process_scores_all(shared):
    scores, asked = scored(shared)
    assert len(scores) == 9
    assert sum(map(len, asked)) == 8  # distinct texts


def test_two_processes_share_the_batches_of_one(tmp_path):
    queue = torch.multiprocessing.get_context("spawn").SimpleQueue()
    torch.multiprocessing.spawn(_in_two, (tmp_path / "store", queue), nprocs=2)
    first, second = sorted((queue.get() for _ in range(2)), key=lambda seen: seen[1])
    scores, asked = scored(shared=False)
    assert [first[0], second[0]] == [2, 2]
    assert first[2] == second[2] == scores
    assert first[3] == asked[0::2]
    assert second[3] == asked[1::2]
