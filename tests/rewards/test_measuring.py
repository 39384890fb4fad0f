"""Worked numbers for what a reward's quality is."""

import numpy as np
import pytest
from datasets import Dataset

from pipeline_core.rewards.measuring import held_out_metrics, pairwise_accuracy
from tests.rewards.worlds import pairs, scored_text


def test_a_tie_counts_one_half():
    assert pairwise_accuracy(np.array([2.0, 1.0, 0.0, 3.0]), np.array([1.0, 1.0, 1.0, 1.0])) == 62.5


def test_metrics_by_hand():
    text = scored_text(Dataset.from_list(pairs(40)))  # ages and races take turns: 20 pairs each
    predicted = text.scores_N.copy()
    races = [row for row in range(40) if text.domains[row] == "race"]
    predicted[races[:5]] = -1  # five of twenty races are wrong
    metrics = held_out_metrics(predicted, text)
    assert metrics["held_out/pairwise_accuracy"] == pytest.approx(87.5)
    assert metrics["domain/age/pairwise_accuracy"] == 100
    assert metrics["held_out/worst_domain/pairwise_accuracy"] == metrics["domain/race/pairwise_accuracy"] == 75
    assert metrics["held_out/mse"] == pytest.approx(5 * 4 / 80)


def test_a_domain_of_a_few_pairs_is_not_the_worst():
    rows = pairs(40) + [{**row, "domain": "rare"} for row in pairs(3)]
    text = scored_text(Dataset.from_list(rows))
    predicted = text.scores_N.copy()
    predicted[40:43] = -1
    metrics = held_out_metrics(predicted, text)
    assert metrics["held_out/worst_domain/pairwise_accuracy"] == 100
    assert "domain/rare/pairwise_accuracy" not in metrics


def test_what_cannot_be_computed_is_absent():
    text = scored_text(Dataset.from_list(pairs(10)))
    constant = held_out_metrics(np.zeros(20), text)
    assert "held_out/spearman" not in constant
    assert constant["held_out/pairwise_accuracy"] == 50
    nothing = held_out_metrics(np.zeros(0), text.take(np.zeros(20, dtype=bool)))
    assert nothing == {"held_out/texts": 0, "held_out/pairs": 0}


def test_the_sign_turns_accuracy_and_ranks_but_not_the_error():
    text = scored_text(Dataset.from_list(pairs(10)))
    turned = held_out_metrics(1 - text.scores_N, text, sign=-1.0)
    assert turned["held_out/pairwise_accuracy"] == 100
    assert turned["held_out/spearman"] == pytest.approx(1)
    assert turned["held_out/mse"] == 1
