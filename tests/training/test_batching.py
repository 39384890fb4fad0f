import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_core.training.batching import Batches, micro_batches
from pipeline_core.training.optimizer import learning_rate
from pipeline_core.training.settings import TrainingConfig


@given(
    lengths=st.lists(st.integers(1, 50), min_size=1, max_size=80),
    size=st.integers(1, 9),
    seed=st.integers(0, 99),
    bucketed=st.booleans(),
)
def test_every_epoch_has_every_row_once(lengths, size, seed, bucketed):
    batches = Batches(lengths, size, seed, bucketed)
    epochs = [[batches.at(epoch * batches.per_epoch + step) for step in range(batches.per_epoch)] for epoch in (0, 1)]
    for epoch in epochs:
        assert sorted(row for batch in epoch for row in batch) == list(range(len(lengths)))
        assert all(len(batch) <= size for batch in epoch)
    again = Batches(lengths, size, seed, bucketed)
    assert again.at(batches.per_epoch) == epochs[1][0]  # reached without the steps before


def test_epochs_and_seeds_differ():
    first, second = Batches([1] * 100, 10, seed=0), Batches([1] * 100, 10, seed=1)
    assert first.at(0) != first.at(10)
    assert first.at(0) != second.at(0)


def test_buckets_hold_similar_lengths_in_random_order():
    lengths = [row % 40 + 1 for row in range(320)]
    steps = [Batches(lengths, 20, seed=0).at(step) for step in range(16)]
    spreads = [max(lengths[row] for row in batch) - min(lengths[row] for row in batch) for batch in steps]
    assert max(spreads) <= 4
    firsts = [lengths[batch[0]] for batch in steps]
    assert firsts not in (sorted(firsts), sorted(firsts, reverse=True))


@given(st.lists(st.integers(1, 30), max_size=40), st.integers(1, 100))
def test_passes_keep_to_the_budget(lengths, budget):
    parts = [(length,) for length in lengths]
    passes = micro_batches(range(len(lengths)), parts, budget)
    assert sorted(row for part in passes for row in part) == list(range(len(lengths)))
    for part in passes:
        assert len(part) == 1 or len(part) * max(lengths[row] for row in part) <= budget


@given(st.lists(st.tuples(st.integers(1, 30), st.integers(1, 30)), max_size=40), st.integers(1, 100))
def test_parts_are_padded_each_to_its_own_longest(parts, budget):
    for rows in micro_batches(range(len(parts)), parts, budget):
        padded = len(rows) * sum(max(parts[row][part] for row in rows) for part in (0, 1))
        assert len(rows) == 1 or padded <= budget


def test_schedules_worked_by_hand():
    def rates(schedule):
        settings = TrainingConfig(name="x", learning_rate=1.0, schedule=schedule, warmup_ratio=0.2)
        return [learning_rate(step, 10, settings) for step in (0, 1, 2, 6, 9)]

    assert rates("constant") == pytest.approx([0.5, 1, 1, 1, 1])
    assert rates("linear") == pytest.approx([0.5, 1, 1, 0.5, 0.125])
    assert rates("cosine") == pytest.approx([0.5, 1, 1, 0.5, 0.0380602])
