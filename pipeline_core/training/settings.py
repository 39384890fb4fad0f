"""Settings that training algorithms share, each declared once."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from pipeline_core.models.adapters import LoraSettings
from pipeline_core.models.loading import Precision
from pipeline_core.plugin.specs import PolicyConfig

DecayRate = Annotated[float, Field(ge=0, lt=1)]


class TrainingConfig(PolicyConfig):
    """The optimiser (AdamW) and its schedule, adapters, precision."""

    # Like the number of processes it changes rounding only, and is what one lowers when memory has run out.
    execution_fields: ClassVar[frozenset[str]] = PolicyConfig.execution_fields | {"micro_batch_tokens"}

    learning_rate: float = Field(1e-5, gt=0)
    """Peak step size of AdamW."""
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    """Fall of the step size after the warm-up: to zero on a line or a half cosine, or none."""
    warmup_ratio: float = Field(0.1, ge=0, lt=1)
    """Share of the steps over which the step size rises from zero."""
    weight_decay: float = Field(0.0, ge=0)
    """Decoupled weight decay."""
    adam_betas: tuple[DecayRate, DecayRate] = (0.9, 0.999)
    """Decay rates of AdamW's moments."""
    max_grad_norm: float = Field(1.0, gt=0)
    """Gradients are scaled down to this norm."""
    lora: LoraSettings | None = None
    """Train low-rank adapters instead of all weights; `{}` takes their defaults."""
    precision: Precision = "auto"
    """Precision of forward passes. `auto`: bfloat16 on CUDA, float32 elsewhere. Trained weights are always float32."""
    max_length: int = Field(512, ge=2)
    """Longest prompt with completion, in tokens. What is longer is cut and counted (`training/items/cut_prompts`,
    `training/items/cut_completions`): the prompt from the left, down to its start and one token, then the completion,
    which loses its end token with its end."""
    rendered: bool = False
    """A chat template has rendered the rows, so that control tokens named in their texts (`<|im_end|>`) are meant.
    Otherwise they are text, but for the tokenizer's start before a prompt and its end token after a completion.
    """
    micro_batch_tokens: int = Field(8192, ge=1)
    """Padded tokens of one forward and backward pass. A batch is cut into as many passes as needed."""

    def share_words(self, per_step: int) -> str:
        """Share of each of several processes in a step, for `arithmetic`."""
        if self.processes == 1:
            return ""
        ends = dict.fromkeys((per_step // self.processes, -(-per_step // self.processes)))
        return f" ({' or '.join(map(str, ends))} for each of {self.processes} processes)"

    def optimizer_words(self) -> str:
        """The step size and its schedule, for `arithmetic`."""
        after = "held" if self.schedule == "constant" else f"{self.schedule} to 0"
        return f"step size {self.learning_rate:g} after {self.warmup_ratio:.0%} warm-up, {after}"


class RowTrainingConfig(TrainingConfig):
    """Passes over a fixed set of rows."""

    epochs: float = Field(1.0, gt=0)
    """Passes over the rows."""
    steps: int | None = Field(None, ge=1)
    """Optimiser steps, instead of `epochs`."""
    batch_size: int = Field(16, ge=1)
    """Rows of an optimiser step, over all processes."""
    batching: Literal["by_length", "random"] = "by_length"
    """Rows of a like length in a batch, which saves padding, or rows at random."""
    append_eos: bool = True
    """End each completion in the end token."""
    group_by: Literal["domain", "group", "domain/group"] = "domain"
    """The column whose values are the groups, or both: groups within domains."""

    def arithmetic(self) -> str:
        """Rows per step, and passes or steps."""
        passes = f"{self.epochs:g} {'pass' if self.epochs == 1 else 'passes'} over the rows"
        return self._words(f"{self.steps} steps" if self.steps else passes)

    def arithmetic_of(self, rows: int) -> str:
        """Rows per step, and the number of steps for a number of rows."""
        steps = self.steps or self.steps_over(rows)
        return self._words(f"{rows} rows: {steps} steps = {steps * self.batch_size / rows:.3g} passes")

    def steps_over(self, rows: int) -> int:
        """Steps of `epochs` passes over a number of rows."""
        return max(1, round(self.epochs * math.ceil(rows / self.batch_size)))

    def _words(self, length: str) -> str:
        a_step = f"{self.batch_size} rows a step{self.share_words(self.batch_size)}"
        passes = f"forward passes of at most {self.micro_batch_tokens} tokens"
        return f"{length}, {a_step}, {passes}, {self.optimizer_words()}"
