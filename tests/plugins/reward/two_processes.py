"""Trains the tiny encoder as one of several processes and prints what the first one saw (run by torchrun)."""

import json
import os
import sys
from pathlib import Path

import torch.distributed
from datasets import Dataset

from pipeline_core.models.devices import process_group
from pipeline_core.plugin.checkpoints import Checkpoints
from pipeline_core.plugin.context import StageContext
from pipeline_core.plugin.events import EventLog
from plugins.reward.encoder_regression import plugin as encoder_regression
from tests.rewards.worlds import Given, pairs


def main(encoder, out):
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    context = StageContext(0, "cpu", EventLog(), Checkpoints(None), rank, size)
    settings = {
        "patience": None,
        "steps": 4,
        "batch_size": 16,
        "learning_rate": 1e-2,
        "max_length": 32,
        "micro_batch_tokens": 60,
    }
    config = encoder_regression.EncoderRegressionConfig(encoder=encoder, **settings)
    with process_group(size, "cpu"):
        world = torch.distributed.get_world_size()
        encoder_regression.run(config, Given(Dataset.from_list(pairs(80))), Path(out), context)
    if rank == 0:
        losses = [entry["loss"] for entry in context.events.history]
        Path(out, "seen.json").write_text(json.dumps({"world": world, "losses": losses}))


if __name__ == "__main__":
    main(*sys.argv[1:])
