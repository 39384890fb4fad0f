"""Retention loss: keeps the likelihood of given rows while the policy learns from rewards."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pipeline_core.models.collation import collate
from pipeline_core.models.completions import completion_logps
from pipeline_core.models.distributed import shard
from pipeline_core.models.tokens.prompts import as_rendered, encode_pairs
from pipeline_core.training.batching import Batches, micro_batches
from pipeline_core.training.optimizer import autocast

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from pipeline_core.training.online.settings import OnlineConfig, Retention


class RetentionLoss:
    """Adds the gradient of `weight` times the mean negative log-likelihood of a token, on `rows_per_step` rows a step.

    Source: the pretraining term of InstructGPT's PPO-ptx (arXiv 2203.02155, eq. 2). Differs from it in: the rows
    contain the knowledge to keep; they are no pretraining corpus.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        table: Dataset,
        chosen: Retention,
        settings: OnlineConfig,
        seed: int,
    ) -> None:
        self._model, self._settings, self._chosen = model, settings, chosen
        self._pad_id = tokenizer.pad_token_id or 0
        texts = [table[column][:] for column in ("prompt", "chosen")]  # datasets 4 gives lazy columns, `[:]` lists
        prompts, answers = map(as_rendered, texts) if settings.rendered else texts
        pairs = encode_pairs(tokenizer, prompts, answers, settings.max_length)
        self.cut = sum(pair.is_cut for pair in pairs)
        self._rows = [(pair.prompt, pair.completion) for pair in pairs]
        self._parts = [(len(prompt), len(answer)) for prompt, answer in self._rows]
        self._batches = Batches([sum(parts) for parts in self._parts], chosen.rows_per_step, seed)

    def backward(self, update: int) -> Tensor:
        """Add the gradient for optimiser step `update`; returns this process's share of the unweighted mean."""
        rows = self._batches.at(update)
        tokens = sum(self._parts[row][1] for row in rows)  # of all processes, whose gradients are added up
        total = torch.zeros((), dtype=torch.float64, device=self._model.device)
        for part in shard(micro_batches(rows, self._parts, self._settings.micro_batch_tokens)):
            prompts, answers = ([self._rows[row][side] for row in part] for side in (0, 1))
            batch = collate(prompts, answers, self._pad_id, self._model.device)
            with autocast(self._model, self._settings):
                logps_BT, _ = completion_logps(self._model, batch)
            loss = -logps_BT.sum() / max(tokens, 1)
            (self._chosen.weight * loss).backward()
            total += loss.detach().double()
        return total
