"""What a plugin's author tests: the loss by hand, and the conformance kit."""

import pytest

torch = pytest.importorskip("torch")
hinge = pytest.importorskip("evenhand_hinge")

from pipeline_core.conformance.kit import check_plugin  # noqa: E402
from pipeline_core.losses.preference import PairLogps  # noqa: E402


def test_a_margin_of_one_over_beta_costs_nothing():
    logps = [
        torch.tensor(values) for values in ([1.0, 4.0], [0.0, 1.0], [0.0, 0.0], [0.0, 0.0], [3.0, 3.0], [3.0, 3.0])
    ]
    assert hinge.hinge_loss(0.5)(PairLogps(*logps)).tolist() == [0.5, 0.0]


def test_it_conforms(tmp_path):
    result = check_plugin("policy", "hinge", tmp_path)
    assert result.metrics["loss"] > 0
