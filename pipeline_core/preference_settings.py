"""Settings of algorithms that learn from preference pairs: the loss, validation, weights of groups."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from pipeline_core.catalog import DataRef, Rows
from pipeline_core.errors import BadInput
from pipeline_core.hyperparameters import RowTrainingConfig
from pipeline_core.row_groups import require_groups, require_same_groups

if TYPE_CHECKING:
    from datasets import Dataset

MAX_RISE = 3.0
"""Largest rise of a log-weight that the losses at the start may cause in one step: a factor of 20."""
LEAST_RISE = 1e-3
"""Smallest rise over a whole training that is taken for an intention."""


class ValidationSettings(BaseModel):
    """Held-out pairs, measured while training: slower on a plateau, an early stop, the best weights kept."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)

    data: Annotated[DataRef, Rows("preference")]
    """Pairs that are not trained on; they must have the groups of the training rows."""
    every: int = Field(50, ge=1)
    """Optimiser steps between two measurements."""
    watch: Literal["auto", "mean", "worst_group"] = "auto"
    """Which loss decides: the mean over rows or that of the worst group; `auto` takes what the algorithm minimises."""
    patience: int = Field(2, ge=1)
    """Measurements without a new best that make a plateau."""
    plateaus: int = Field(2, ge=0)
    """Plateaus that slow the training down; the next one stops it."""
    rate_factor: float = Field(0.1, gt=0, le=1)
    """Factor of the step size at a plateau."""
    ascent_factor: float = Field(0.5, gt=0, le=1)
    """Factor of the ascent on the group weights at a plateau."""


class PreferenceConfig(RowTrainingConfig):
    """Passes over preference pairs."""

    minimises: ClassVar[Literal["mean", "worst_group"]] = "mean"

    validation: ValidationSettings | None = None
    """Measure held-out pairs while training; without it the last weights are kept."""
    length_normalized: bool = False
    """Divide each log-ratio by its completion's length; betas of the two forms are not comparable."""
    learning_rate: float = Field(5e-6, gt=0)
    """Peak step size of AdamW; about ten to fifty times larger with adapters."""

    def watched(self) -> str:
        """The loss that decides about validation: `mean` or `worst_group`."""
        chosen = self.validation.watch if self.validation else "auto"
        return self.minimises if chosen == "auto" else chosen

    def check_data(self, rows: Dataset, load: Callable[[DataRef], Dataset]) -> None:
        """Refuse held-out rows with other groups. Raises `BadInput`."""
        if self.validation:
            require_same_groups(load(self.validation.data), rows, self.group_by, "validation.data")

    def start_loss(self) -> float:
        """Loss of every pair while policy and reference are the same."""
        raise NotImplementedError


class LogisticConfig(PreferenceConfig):
    """The loss of DPO, -log sigmoid(beta h)."""

    beta: float = Field(0.1, gt=0)
    """Inverse temperature: the larger, the closer the policy stays to the reference."""
    label_smoothing: float = Field(0.0, ge=0, lt=0.5)
    """Assumed share of pairs with swapped labels (conservative DPO)."""

    def start_loss(self) -> float:
        """The logarithm of 2."""
        return math.log(2)


class SquaredConfig(PreferenceConfig):
    """The loss of IPO, (h - 1 / (2 beta))^2."""

    beta: float = Field(0.1, gt=0)
    """The loss is smallest at h = 1 / (2 beta): the larger, the closer the policy stays to the reference."""

    def start_loss(self) -> float:
        """1 / (2 beta), squared."""
        return 1 / (4 * self.beta**2)


class GroupedConfig(PreferenceConfig):
    """Groups that count by a weight instead of by their size."""

    form: Literal["population", "mean"] = "population"
    """How a group's loss is formed from a batch: its sum times N / N_g, right on average for any batch (the paper's
    study of opinions), or its mean over the batch's rows of the group. `eta_alpha` means different things in them."""

    def check_data(self, rows: Dataset, load: Callable[[DataRef], Dataset]) -> None:
        """Refuse rows without groups as well. Raises `BadInput`."""
        require_groups(rows, self.group_by)
        super().check_data(rows, load)


class RobustConfig(GroupedConfig):
    """Weights that rise with a group's loss (arXiv 2405.20304)."""

    minimises: ClassVar[Literal["mean", "worst_group"]] = "worst_group"

    eta_alpha: float = Field(gt=0)
    """Step size of the ascent on the group weights. With `form: population` it acts on sums over a batch, with
    `form: mean` on means, where it must be `batch_size` times larger for the same pace."""
    chi: float = Field(1.0, ge=0, le=1)
    """Trade-off: 1 minimises the loss of the worst group, 0 weighs all groups alike (importance sampling)."""
    domain_chi: float = Field(1.0, ge=0, le=1)
    """The same between domains, with `group_by: domain/group`; `chi` is then the trade-off within a domain."""
    weights: Literal["current", "lagged"] = "current"
    """Whether a batch is weighted by its own losses, as in the paper, which costs a forward pass where it is cut into
    several passes, or by those of the batches before it."""

    @model_validator(mode="after")
    def _ascent_is_not_absurd(self) -> RobustConfig:
        if (rise := self._rise()) > MAX_RISE:
            most = self.eta_alpha * MAX_RISE / rise
            mean_form = rise / self.batch_size <= MAX_RISE and self.form == "population"
            raise ValueError(
                f"eta_alpha ({self.eta_alpha:g}) saturates the group weights: with form {self.form!r} the first step "
                f"raises a log-weight by about {rise:.3g}, since every pair begins with a loss of "
                f"{self.start_loss():.3g}; {MAX_RISE:g} is the most (a factor of {math.exp(MAX_RISE):.0f}). "
                f"Use at most {most:.2g}{', or `form: mean`' if mean_form else ''}"
            )
        return self

    def _rise(self) -> float:
        """How much a group's log-weight rises in the first step."""
        rows = self.batch_size if self.form == "population" else 1
        return (
            self.eta_alpha
            * max(self.chi, self.domain_chi if self.group_by == "domain/group" else 0)
            * (rows * self.start_loss())
        )

    def check_data(self, rows: Dataset, load: Callable[[DataRef], Dataset]) -> None:
        """Refuse an ascent so slow that the weights stay where they are, too. Raises `BadInput`."""
        super().check_data(rows, load)
        steps = self.steps or self.steps_over(len(rows))
        total = self._rise() * steps
        if 0 < total < LEAST_RISE:
            raise BadInput(
                f"eta_alpha ({self.eta_alpha:g}) leaves the group weights where they are: with form {self.form!r} they "
                f"would move by less than {total:.1e} in {steps} steps. Use about {self.eta_alpha / total:.1g}, or "
                "the importance-sampling algorithm (is_...) if equal weights are meant"
            )
