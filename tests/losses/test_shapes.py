"""Shapes in the signatures of losses are checked while tests run, and cost a run nothing."""

import subprocess
import sys

import pytest
import torch
from jaxtyping import TypeCheckError

from pipeline_core.losses.cohorts import Cohorts
from pipeline_core.losses.policy_gradient import clipped_surrogate, log_ratios
from pipeline_core.losses.preference import PairLogps


@pytest.mark.parametrize(
    "call",
    [
        lambda: log_ratios(torch.zeros(2, 3), torch.zeros(2, 1), torch.ones(2, 3)),
        lambda: clipped_surrogate(torch.zeros(2, 3), torch.zeros(2)),
        lambda: PairLogps(*(torch.zeros(2) for _ in range(5)), torch.zeros(2, 1)),
        lambda: Cohorts.of([2, 2]).means(torch.zeros(2, 2)),
    ],
)
def test_a_shape_that_would_be_broadcast_in_silence_is_refused(call):
    with pytest.raises(TypeCheckError):
        call()


def test_advantages_of_rows_and_of_tokens_are_both_taken():
    for advantages in (torch.ones(2, 1), torch.ones(2, 3)):
        assert clipped_surrogate(torch.zeros(2, 3), advantages)[0].shape == (2, 3)


def test_a_run_checks_nothing_and_imports_no_checker():
    code = (
        "import sys, torch; from pipeline_core.losses.policy_gradient import log_ratios; "
        "log_ratios(torch.zeros(2, 3), torch.zeros(2, 1), torch.ones(2, 3)); "
        "assert not hasattr(log_ratios, '__wrapped__') and 'beartype' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
