"""Settings shared by training algorithms."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from pipeline_core.models.adapters import LoraSettings
from pipeline_core.models.loading import Precision
from pipeline_core.plugin.specs import PolicyConfig

DecayRate = Annotated[float, Field(ge=0, lt=1)]


class SettingsPart(BaseModel):
    """A part of a configuration."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)


class TrainingConfig(PolicyConfig):
    """Settings of the optimiser (AdamW) and its schedule, of adapters and precision."""

    # Like the number of processes it changes only rounding; users lower it when memory runs out.
    execution_fields: ClassVar[frozenset[str]] = PolicyConfig.execution_fields | {"micro_batch_tokens"}

    learning_rate: float = Field(1e-5, gt=0)
    """Peak step size of AdamW."""
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    """Schedule of the step size after the warm-up: `linear` or `cosine` decay to zero, or `constant`."""
    warmup_ratio: float = Field(0.1, ge=0, lt=1)
    """Share of the steps in the warm-up, in which the step size rises from zero."""
    weight_decay: float = Field(0.0, ge=0)
    """Decoupled weight decay."""
    adam_betas: tuple[DecayRate, DecayRate] = (0.9, 0.999)
    """Decay rates (beta1, beta2) of AdamW's moments."""
    max_grad_norm: float = Field(1.0, gt=0)
    """Maximum norm of the gradient; larger ones are scaled down."""
    lora: LoraSettings | None = None
    """Low-rank adapters, trained instead of all weights; `{}` for default adapters."""
    precision: Precision = "auto"
    """Precision of forward passes. `auto`: bfloat16 on CUDA, float32 elsewhere. Trained weights are always float32."""
    max_length: int = Field(512, ge=2)
    """Maximum tokens of prompt and completion. Longer ones are cut and counted (`training/items/cut_prompts`,
    `training/items/cut_completions`): first the prompt from the left, down to its start token and one more, then the
    completion from the right, with its end token."""
    rendered: bool = False
    """True for rows rendered by a chat template: control tokens named in texts (`<|im_end|>`) are encoded as such.
    Otherwise they are plain text, except a start token before the prompt and an end token after the completion.
    """
    micro_batch_tokens: int = Field(8192, ge=1)
    """Maximum padded tokens of a forward and backward pass. A batch is cut into as many passes as needed."""

    def share_words(self, per_step: int) -> str:
        """Words on each process's share of a step, for `arithmetic`; empty for a single process."""
        if self.processes == 1:
            return ""
        ends = dict.fromkeys((per_step // self.processes, -(-per_step // self.processes)))
        return f" ({' or '.join(map(str, ends))} for each of {self.processes} processes)"

    def optimizer_words(self) -> str:
        """Words on the step size and its schedule, for `arithmetic`."""
        after = "held" if self.schedule == "constant" else f"{self.schedule} to 0"
        return f"step size {self.learning_rate:g} after {self.warmup_ratio:.0%} warm-up, {after}"


class RowTrainingConfig(TrainingConfig):
    """Settings of trainings over a fixed set of rows."""

    epochs: float = Field(1.0, gt=0)
    """Passes over the rows."""
    steps: int | None = Field(None, ge=1)
    """Number of optimiser steps, in place of `epochs`."""
    batch_size: int = Field(16, ge=1)
    """Rows per optimiser step, over all processes."""
    batching: Literal["by_length", "random"] = "by_length"
    """Rows of a batch: of similar length (`by_length`), which saves padding, or at random."""
    append_eos: bool = True
    """Append the end token to each completion."""
    group_by: Literal["domain", "group", "domain/group"] = "domain"
    """Column with the groups; `domain/group` for groups within domains."""

    def arithmetic(self) -> str:
        """Words on steps or passes, rows per step and the optimiser."""
        passes = f"{self.epochs:g} {'pass' if self.epochs == 1 else 'passes'} over the rows"
        return self._words(f"{self.steps} steps" if self.steps else passes)

    def arithmetic_of(self, rows: int) -> str:
        """Like `arithmetic`, with the number of steps for a number of rows."""
        steps = self.steps_over(rows)
        return self._words(f"{rows} rows: {steps} steps = {steps * self.batch_size / rows:.3g} passes")

    def steps_over(self, rows: int) -> int:
        """Number of steps over a number of rows: `steps`, or `epochs` passes."""
        # `Batches` counts like this: the last batch of an epoch may be short.
        return self.steps or max(1, round(self.epochs * math.ceil(rows / self.batch_size)))

    def _words(self, length: str) -> str:
        a_step = f"{self.batch_size} rows a step{self.share_words(self.batch_size)}"
        passes = f"forward passes of at most {self.micro_batch_tokens} tokens"
        return f"{length}, {a_step}, {passes}, {self.optimizer_words()}"
