import torch

from pipeline_core.ops.groups import state_on


def test_a_state_moves_as_a_whole():
    moved = state_on({"weights": torch.ones(3), "steps": torch.zeros(())}, torch.device("meta"))
    assert {value.device.type for value in moved.values()} == {"meta"}
    assert moved.keys() == {"weights", "steps"}
