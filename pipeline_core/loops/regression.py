"""Trains a scalar encoder on scored texts (squared error) or on pairs (logistic loss of the difference).

A step is one batch, cut into passes that the processes share. Dropout hangs on (seed, step, pass), so a resumed
training and one on more processes take the same steps.
Shape suffixes: N texts, B texts of a pass.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from pipeline_core.distributed import all_reduce_sum, shard
from pipeline_core.loops.batching import Batches, micro_batches
from pipeline_core.loops.encoder import Reads, ScalarEncoder, collate, encode, scores
from pipeline_core.loops.training import Training
from pipeline_core.rewards.checks import held_out_metrics

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from pipeline_core.context import StageContext
    from pipeline_core.hyperparameters import RowTrainingConfig
    from pipeline_core.rewards.scored_text import ScoredText
    from pipeline_core.specs import Metrics

Loss = Literal["mse", "pairwise"]
CURVES = ("held_out/mse", "held_out/pairwise_accuracy", "held_out/worst_domain/pairwise_accuracy")


class ScoredTexts:
    """Texts as token ids, in items of one text (`mse`) or of a better and a worse one (`pairwise`)."""

    def __init__(
        self,
        text: ScoredText,
        tokenizer: PreTrainedTokenizerBase,
        loss: Loss,
        max_length: int,
        reads: Reads,
        device: str,
    ) -> None:
        self.text, self._tokenizer, self._loss, self._device = text, tokenizer, loss, device
        self.encoded = encode(tokenizer, text.prompts, text.completions, max_length, reads)
        self.targets_N = torch.from_numpy(text.scores_N)
        self.items = text.pairs_P2.tolist() if loss == "pairwise" else [[row] for row in range(len(text))]

    @property
    def lengths(self) -> list[int]:
        """Tokens of an item in a pass, padding within the item included."""
        return [len(rows) * max(len(self.encoded["input_ids"][row]) for row in rows) for rows in self.items]

    def loss_sum(self, model: ScalarEncoder, items: list[int]) -> Tensor:
        """The items' losses, summed. Pairwise: -log sigmoid(better - worse); mse: (score - target)^2."""
        rows = [row for item in items for row in self.items[item]]
        with torch.autocast("cuda", torch.bfloat16, enabled=self._device.startswith("cuda")):
            predicted_B = model(**collate(self._tokenizer, self.encoded, rows, self._device))
        if self._loss == "pairwise":
            return -F.logsigmoid(predicted_B[0::2] - predicted_B[1::2]).sum()
        target_B = self.targets_N[rows].to(self._device, non_blocking=True)
        return (predicted_B - target_B).square().sum()

    def metrics(self, model: ScalarEncoder) -> Metrics:
        """How well the model's scores agree with the known ones."""
        model.eval()
        return held_out_metrics(scores(model, self._tokenizer, self.encoded, self._device).numpy(), self.text)


def train_regression(
    model: Any,
    train: ScoredTexts,
    held: ScoredTexts,
    settings: RowTrainingConfig,
    dropout: bool,
    context: StageContext,
) -> Metrics:
    """Train `model` (a `ScalarEncoder`) in place; returns held-out metrics, which the history has for every epoch."""
    batches = Batches(train.lengths, settings.batch_size, context.seed)
    training = Training(model, settings, settings.steps or max(1, round(settings.epochs * batches.per_epoch)), context)
    training.resume()
    parts = [(length,) for length in train.lengths]
    devices = [torch.device(context.device)] if context.device.startswith("cuda") else []
    with torch.random.fork_rng(devices=devices):
        while training.step < training.total:
            items = batches.at(training.step)
            passes = micro_batches(items, parts, settings.micro_batch_tokens)
            model.train(dropout)
            loss = torch.zeros((), device=context.device)
            for number, part in shard(list(enumerate(passes))):
                torch.manual_seed((context.seed * 1_000_003 + training.step) * 10_007 + number)
                share = train.loss_sum(model, part) / len(items)
                share.backward()
                loss += share.detach()
            metrics: dict[str, Tensor | float] = {"loss": all_reduce_sum(loss), "grad_norm": training.update()}
            if (training.step + 1) % batches.per_epoch == 0:
                measured = held.metrics(model)
                metrics |= {
                    name.replace("held_out", "validation"): measured[name] for name in CURVES if name in measured
                }
            training.end_step(metrics, sum(parts[item][0] for item in items), {})
    return training.summary() | held.metrics(model)
