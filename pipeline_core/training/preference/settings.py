"""Settings of algorithms that learn from preference pairs: the loss and validation."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from pipeline_core.data.groups import require_apart, require_known_groups
from pipeline_core.data.refs import DataRef, TakesRows
from pipeline_core.errors import BadInput
from pipeline_core.training.settings import RowTrainingConfig

if TYPE_CHECKING:
    from datasets import Dataset

    from pipeline_core.losses.groups import Weighting

MinimisedLoss = Literal["mean", "group_mean", "worst_group"]


class ValidationSettings(BaseModel):
    """Held-out pairs, measured before and while training: slower on a plateau, an early stop, the best weights kept."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)

    data: Annotated[DataRef, TakesRows("preference")]
    """Pairs that are not trained on; they must have the groups of the training rows."""
    every: int = Field(50, ge=1)
    """Optimiser steps between two measurements."""
    watch: Literal["auto", "mean", "group_mean", "worst_group"] = "auto"
    """The loss that decides: the mean over rows (`auto` for dpo and ipo), the mean over groups (for is_dpo and is_ipo),
    or that of the worst group (for gr_dpo and gr_ipo, whatever their trade-off)."""
    patience: int = Field(2, ge=1)
    """Measurements without a new best that make a plateau."""
    plateaus: int = Field(2, ge=0)
    """Plateaus that slow the training down; the next one stops it."""
    rate_factor: float = Field(0.1, gt=0, le=1)
    """Factor of the step size at a plateau."""
    ascent_factor: float = Field(0.5, gt=0, le=1)
    """Factor of the ascent on the group weights at a plateau, where there is one."""


class PreferenceConfig(RowTrainingConfig):
    """Passes over preference pairs."""

    minimises: ClassVar[MinimisedLoss] = "mean"

    validation: ValidationSettings | None = None
    """Measure held-out pairs while training; without it the last weights are kept."""
    length_normalized: bool = False
    """Divide each log-ratio by its completion's length; betas of the two forms are not comparable."""
    learning_rate: float = Field(5e-6, gt=0)
    """Peak step size of AdamW; about ten to fifty times larger with adapters."""

    def weighting(self) -> Weighting:
        """Group weighting of rows: all count alike."""
        from pipeline_core.losses.groups import uniform

        return uniform()

    def watched(self) -> str:
        """The loss that decides about validation."""
        chosen = self.validation.watch if self.validation else "auto"
        return self.minimises if chosen == "auto" else chosen

    def check_data(self, rows: Dataset, load: Callable[[DataRef], Dataset]) -> None:
        """Refuse held-out rows with other groups, rows that are trained on, and a validation that never takes place.

        Raises:
            BadInput: naming the setting.
        """
        if self.validation is None:
            return
        held_out, watched = load(self.validation.data), self.watched()
        require_known_groups(held_out, rows, self.group_by, "validation.data", all_of_them=watched != "mean")
        require_apart(held_out, rows, "validation.data")
        steps = self.steps or self.steps_over(len(rows))
        if self.validation.every > steps:
            raise BadInput(f"validation.every ({self.validation.every}) is more than the {steps} steps of the training")


class KnownStartConfig(PreferenceConfig):
    """A loss that is known while policy and reference are the same; what a robust weighting takes its pace from."""

    @abstractmethod
    def start_loss(self) -> float:
        """Loss of every pair at the start."""


class LogisticConfig(KnownStartConfig):
    """The loss of DPO, -log sigmoid(beta h)."""

    beta: float = Field(0.1, gt=0)
    """Inverse temperature: the larger, the closer the policy stays to the reference."""
    label_smoothing: float = Field(0.0, ge=0, lt=0.5)
    """Assumed share of pairs with swapped labels (conservative DPO)."""

    def start_loss(self) -> float:
        """The logarithm of 2."""
        return math.log(2)


class SquaredConfig(KnownStartConfig):
    """The loss of IPO, (h - 1 / (2 beta))^2."""

    beta: float = Field(0.1, gt=0)
    """The loss is smallest at h = 1 / (2 beta): the larger, the closer the policy stays to the reference."""

    def start_loss(self) -> float:
        """1 / (2 beta), squared."""
        return 1 / (4 * self.beta**2)
