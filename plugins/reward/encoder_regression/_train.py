"""Trains a scalar encoder on scored texts (squared error) or on pairs (logistic loss of the difference).

A step is one batch, split into passes that are distributed over processes. Dropout is seeded by (seed, step, pass), so
a resumed training and a training with more processes take the same steps.
Shape suffixes: N texts, B texts of a pass.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from pipeline_core.models.distributed import all_reduce_sum, shard
from pipeline_core.models.encoder import ScalarEncoder, by_length, half_on_cuda, padded_batch, scores
from pipeline_core.models.tokens.encoding import EncodingForm, cut_rows, encode
from pipeline_core.plugin.context import StageContext
from pipeline_core.plugin.types import Metrics
from pipeline_core.rewards.measuring import held_out_metrics
from pipeline_core.rewards.scored_text import ScoredText
from pipeline_core.training.batching import Batches, micro_batches
from pipeline_core.training.optimizer import Training
from pipeline_core.training.preference.validation import BestWeights
from pipeline_core.training.settings import RowTrainingConfig

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

RegressionLoss = Literal["mse", "pairwise"]
CURVES = ("held_out/mse", "held_out/pairwise_accuracy", "held_out/worst_domain/pairwise_accuracy")
WATCHED = "validation/loss"


class ScoredTexts:
    """Tokenised texts as items: single texts (`mse`), or pairs of a better and a worse text (`pairwise`)."""

    def __init__(
        self,
        text: ScoredText,
        tokenizer: PreTrainedTokenizerBase,
        loss: RegressionLoss,
        max_length: int,
        reads: EncodingForm,
        device: str,
        *,
        pads: bool = True,
    ) -> None:
        """`pads`: texts of different lengths may be padded to one batch; else a batch has texts of equal length."""
        self.text, self._tokenizer, self._loss, self._device, self._pads = text, tokenizer, loss, device, pads
        self.encoded = encode(tokenizer, text.prompts, text.completions, max_length, reads)
        self.truncated = len(cut_rows(tokenizer, text.prompts, text.completions, self.encoded, max_length, reads))
        self.targets_N = torch.from_numpy(text.scores_N)
        self.items = text.pairs_P2.tolist() if loss == "pairwise" else [[row] for row in range(len(text))]

    def __len__(self) -> int:
        return len(self.items)

    @property
    def lengths(self) -> list[int]:
        """Number of tokens of each item, including padding within the item."""
        return [len(rows) * max(len(self.encoded["input_ids"][row]) for row in rows) for rows in self.items]

    def loss_sum(self, model: ScalarEncoder, items: list[int]) -> Tensor:
        """Sum of the items' losses. `pairwise`: -log sigmoid(better - worse); `mse`: (score - target)^2."""
        rows = [row for item in items for row in self.items[item]]
        predicted_B = self._predicted(model, rows)
        if self._loss == "pairwise":
            return -F.logsigmoid(predicted_B[0::2] - predicted_B[1::2]).sum()
        target_B = self.targets_N[rows].to(self._device, non_blocking=True)
        return (predicted_B - target_B).square().sum()

    def _predicted(self, model: ScalarEncoder, rows: list[int]) -> Tensor:
        """Scores (B,) of `rows`, in that order, with gradients."""
        # a text may be in several pairs of a pass
        runs = [rows] if self._pads else by_length(self.encoded, sorted(set(rows)), len(rows), pads=False)
        with half_on_cuda(self._device):
            outputs = [model(**padded_batch(self._tokenizer, self.encoded, run, self._device)) for run in runs]
        if self._pads:
            return outputs[0]
        place = {row: number for number, row in enumerate(row for run in runs for row in run)}
        return torch.cat(outputs)[[place[row] for row in rows]]

    @property
    def parts(self) -> list[tuple[int]]:
        """`lengths` in the form that `micro_batches` takes."""
        return [(length,) for length in self.lengths]

    def figures(self, model: ScalarEncoder, budget: int) -> dict[str, float]:
        """Loss, and agreement of the model's scores with the known ones, as metrics `validation/...`."""
        loss = self._mean_loss(model, budget)
        scores_N = scores(model, self._tokenizer, self.encoded, self._device, pads=self._pads)
        measured = held_out_metrics(scores_N.numpy(), self.text)
        if self._loss == "pairwise":  # these scores have an arbitrary scale, so a squared error means nothing
            measured.pop("held_out/mse", None)
        curves = {name.replace("held_out", "validation"): measured[name] for name in CURVES if name in measured}
        return {WATCHED: loss} | curves

    @torch.no_grad()
    def _mean_loss(self, model: ScalarEncoder, budget: int) -> float:
        """Mean training loss over the items, without dropout; distributed over processes, equal on all of them."""
        model.eval()
        total = torch.zeros((), dtype=torch.float64, device=self._device)
        for part in shard(micro_batches(range(len(self)), self.parts, budget)):
            total += self.loss_sum(model, part).double()
        return all_reduce_sum(total).item() / len(self)


def train_regression(
    model: Any,
    train: ScoredTexts,
    measured: ScoredTexts,
    settings: RowTrainingConfig,
    context: StageContext,
    *,
    dropout: bool = True,
    patience: int | None = None,
) -> Metrics:
    """Train `model` (a `ScalarEncoder`) in place; the history has metrics on `measured` for every epoch.

    With `patience`, training stops after that many epochs without a smaller loss on `measured`. The weights with the
    smallest loss are always restored at the end; the initial weights count as well.
    """
    batches = Batches(train.lengths, settings.batch_size, context.seed)
    training = Training(model, settings, settings.steps or max(1, round(settings.epochs * batches.per_epoch)), context)
    kept, budget = training.resume().get("validation"), settings.micro_batch_tokens
    best = BestWeights(WATCHED, training, context, kept) if patience else None
    if best and kept is None:
        best.offer(measured.figures(model, budget), 0)
        context.events.log(best.kept["metrics"], 0, training.total)
    parts = train.parts
    devices = [torch.device(context.device)] if context.device.startswith("cuda") else []
    with torch.random.fork_rng(devices=devices):  # by default torch copies the state of every GPU, and warns
        while training.step < training.total:
            items = batches.at(training.step)
            model.train(dropout)
            first_seed = (context.seed * 1_000_003 + training.step) * 10_007  # seeds of steps are 10,007 passes apart
            passes = micro_batches(items, parts, budget)
            loss = _backward(model, train, passes, len(items), first_seed)
            metrics: dict[str, Tensor | float] = {"loss": loss, "grad_norm": training.update()}
            step = training.step + 1
            if len(measured) and (step % batches.per_epoch == 0 or (best and step == training.total)):
                figures = measured.figures(model, budget)
                metrics |= figures
                if best and not best.offer(figures, step) and best.kept["waited"] == patience:
                    best.stop(step)
            training.end_step(metrics, sum(parts[item][0] for item in items), {"validation": best.kept} if best else {})
    return training.summary() | (best.finish() if best else {})


def _backward(model: ScalarEncoder, train: ScoredTexts, passes: list[list[int]], items: int, first_seed: int) -> Tensor:
    """Accumulate the gradient of this process's passes of a step; return the step's mean loss over all processes."""
    loss = torch.zeros((), device=next(model.parameters()).device)
    for number, part in shard(list(enumerate(passes))):
        torch.manual_seed((first_seed + number) % 2**64)  # torch takes 64 bits
        share = train.loss_sum(model, part) / items  # items of the whole step: passes and processes add up to its mean
        share.backward()
        loss += share.detach()
    return all_reduce_sum(loss)
