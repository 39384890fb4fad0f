"""Settings of algorithms that learn from preference pairs: loss and validation."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from pipeline_core.data.groups import require_apart, require_known_groups
from pipeline_core.data.refs import DataRef, TakesRows
from pipeline_core.errors import BadInput
from pipeline_core.training.settings import RowTrainingConfig, SettingsPart

if TYPE_CHECKING:
    from datasets import Dataset

    from pipeline_core.losses.groups import Weighting

MinimisedLoss = Literal["mean", "group_mean", "worst_group"]


class ValidationSettings(SettingsPart):
    """Validation on held-out pairs before and during training: decay on plateaus, early stop, best weights kept."""

    data: Annotated[DataRef, TakesRows("preference")]
    """Held-out pairs; they must have the groups of the training rows."""
    every: int = Field(50, ge=1)
    """Optimiser steps between validations."""
    watch: Literal["auto", "mean", "group_mean", "worst_group"] = "auto"
    """Validation loss to watch: mean over rows (`auto` for dpo and ipo), mean over groups (`auto` for is_dpo and
    is_ipo), or worst group (`auto` for gr_dpo and gr_ipo, for any trade-off)."""
    patience: int = Field(2, ge=1)
    """Validations without a new best that make a plateau."""
    plateaus: int = Field(2, ge=0)
    """Number of plateaus that reduce the step size; the next one stops the training."""
    rate_factor: float = Field(0.1, gt=0, le=1)
    """Factor of the step size at each plateau."""
    ascent_factor: float = Field(0.5, gt=0, le=1)
    """Factor of the ascent on group weights at each plateau."""


class PreferenceConfig(RowTrainingConfig):
    """Settings of trainings on preference pairs."""

    minimises: ClassVar[MinimisedLoss] = "mean"

    validation: ValidationSettings | None = None
    """Validation on held-out pairs; without it the last weights are kept."""
    learning_rate: float = Field(5e-6, gt=0)
    """Peak step size of AdamW; with adapters use 10 to 50 times more."""

    def weighting(self) -> Weighting:
        """Group weighting of rows: uniform."""
        from pipeline_core.losses.groups import uniform

        return uniform()

    def watched(self) -> str:
        """Validation loss to watch, `auto` resolved."""
        chosen = self.validation.watch if self.validation else "auto"
        return self.minimises if chosen == "auto" else chosen

    def check_data(self, rows: Dataset, load: Callable[[DataRef], Dataset]) -> None:
        """Reject held-out rows with other groups or among the training rows, and a validation that never takes place.

        Raises:
            BadInput: naming the setting.
        """
        if self.validation is None:
            return
        held_out, watched = load(self.validation.data), self.watched()
        require_known_groups(held_out, rows, self.group_by, "validation.data", all_of_them=watched != "mean")
        require_apart(held_out, rows, "validation.data")
        if self.validation.every > (steps := self.steps_over(len(rows))):
            raise BadInput(f"validation.every ({self.validation.every}) is more than the {steps} steps of the training")


class KnownStartConfig(PreferenceConfig):
    """Settings of a loss of the margin h with a known value at h = 0, from which the default step size of the ascent
    follows.
    """

    length_normalized: bool = False
    """Divide each log-ratio by its completion's length; betas with and without are not comparable."""

    @abstractmethod
    def start_loss(self) -> float:
        """Loss of every pair at the start, where policy and reference are equal, without further terms."""


class LogisticConfig(KnownStartConfig):
    """Settings of DPO's loss, -log sigmoid(beta h)."""

    beta: float = Field(0.1, gt=0)
    """Inverse temperature: the larger, the closer the policy stays to the reference."""
    label_smoothing: float = Field(0.0, ge=0, lt=0.5)
    """Assumed share of pairs with swapped labels (conservative DPO)."""

    def start_loss(self) -> float:
        """Loss at h = 0: log 2."""
        return math.log(2)


class SquaredConfig(KnownStartConfig):
    """Settings of IPO's loss, (h - 1 / (2 beta))^2."""

    beta: float = Field(0.1, gt=0)
    """Target h = 1 / (2 beta): the larger beta, the closer the policy stays to the reference."""

    def start_loss(self) -> float:
        """Loss at h = 0: 1 / (2 beta), squared."""
        return 1 / (4 * self.beta**2)
