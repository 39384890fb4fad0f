"""Settings of algorithms with group weights, and checks of these settings."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, model_validator

from pipeline_core.data.groups import counts_of, require_groups
from pipeline_core.data.refs import DataRef
from pipeline_core.errors import BadInput
from pipeline_core.training.preference.settings import KnownStartConfig, MinimisedLoss, PreferenceConfig

if TYPE_CHECKING:
    from datasets import Dataset

    from pipeline_core.losses.groups import Weighting

MAX_RISE = 3.0
"""Maximum rise of a log-weight in a step with the losses of the start: a factor of 20."""
LEAST_RISE = 1e-3
"""Minimum rise over a whole training; a smaller one is rejected as a mistake."""
FIRST_RISE = 0.14
"""Default rise of a log-weight in the first step. Being relative to the loss at the start, it suits any beta."""


class GroupedConfig(PreferenceConfig):
    """Settings of trainings in which groups have weights instead of counting by size."""

    minimises: ClassVar[MinimisedLoss] = "group_mean"

    form: Literal["mixed", "mean", "population"] = "mixed"
    """Form of group losses in a batch. `population`: sums times N / N_g, unbiased for any batch (the paper's study of
    opinions). `mean`: batch means; a group absent from batches has less effect. `mixed`: rows weighted as in
    `population`, group weights updated by batch means; an absent group keeps its weight."""

    batching: Literal["by_length", "random"] = "random"
    """Rows of a batch: at random, or of similar length (`by_length`), which saves padding. If groups differ in length,
    such a batch has few groups, and weights change only relative to these."""

    def weighting(self) -> Weighting:
        """Group weighting of rows."""
        from pipeline_core.losses.groups import importance

        return importance(self.form)

    def check_data(self, rows: Dataset, load: Callable[[DataRef], Dataset]) -> None:
        """Reject also rows without groups. Raises `BadInput`."""
        require_groups(rows, self.group_by)
        super().check_data(rows, load)


class RobustConfig(GroupedConfig, KnownStartConfig):
    """Settings of group weights that rise with a group's loss (arXiv 2405.20304)."""

    minimises: ClassVar[MinimisedLoss] = "worst_group"

    eta_alpha: float | None = Field(None, gt=0)
    """Step size of the ascent on group weights. Applies to batch means of the loss; with `form: population` to sums,
    which are `batch_size` times larger. Default: a log-weight rises by 0.14 in the first step."""
    chi: float = Field(1.0, ge=0, le=1)
    """Trade-off: 1 minimises the loss of the worst group, 0 gives all groups equal weight (importance sampling)."""
    domain_chi: float = Field(1.0, ge=0, le=1)
    """Trade-off between domains, with `group_by: domain/group`; `chi` is then the trade-off within domains."""
    weights: Literal["current", "lagged"] = "current"
    """Losses that update the weights of a batch: its own (`current`, as in the paper), at the cost of a forward pass
    if the batch is cut into several passes; or those of earlier batches (`lagged`)."""

    @model_validator(mode="after")
    def _ascent_is_sane(self) -> RobustConfig:
        if self.domain_chi != 1 and not self._two_levels:
            raise ValueError("domain_chi does nothing without `group_by: domain/group`")
        self._refuse_saturation(self._rows_in_a_loss)
        return self

    def weighting(self) -> Weighting:
        """Group weighting of rows."""
        from pipeline_core.losses.groups import exponentiated_gradient

        return exponentiated_gradient(
            self.step_size, self.chi, self.form, domain_chi=self.domain_chi, losses=self.losses
        )

    @property
    def step_size(self) -> float:
        """Step size of the ascent: `eta_alpha` or its default."""
        if self.eta_alpha is not None:
            return self.eta_alpha
        return FIRST_RISE / self.start_loss() / self._rows_in_a_loss

    @property
    def losses(self) -> Literal["none", "current", "lagged"]:
        """Losses that update the weights; `none` if both trade-offs are 0."""
        return self.weights if self._trade_off else "none"

    def check_data(self, rows: Dataset, load: Callable[[DataRef], Dataset]) -> None:
        """Reject also an ascent that a single row of the smallest group saturates, or that hardly changes the weights.

        Raises:
            BadInput: with the step size to use.
        """
        super().check_data(rows, load)
        try:
            self._refuse_saturation(self._largest_loss(rows))
        except ValueError as error:
            raise BadInput(str(error)) from None
        steps = self.steps_over(len(rows))
        total = self._rise(self._rows_in_a_loss) * steps
        if 0 < total < LEAST_RISE:
            raise BadInput(
                f"eta_alpha ({self.step_size:g}) leaves the group weights where they are: with form {self.form!r} they "
                f"would move by less than {total:.1e} in {steps} steps. Use about {self.step_size / total:.1g}, or "
                "the importance-sampling algorithm (is_...) if equal weights are meant"
            )

    @property
    def _two_levels(self) -> bool:
        return self.group_by == "domain/group"

    @property
    def _trade_off(self) -> float:
        return max(self.chi, self.domain_chi if self._two_levels else 0)

    @property
    def _rows_in_a_loss(self) -> int:
        """Average size of a group's loss, in units of a row's loss."""
        return self.batch_size if self.form == "population" else 1

    def _largest_loss(self, rows: Dataset) -> float:
        """Size of a group's loss, in units of a row's loss, for a batch with a row of the smallest group."""
        rarest = len(rows) / min(counts_of(rows, self.group_by).values())
        return max(self._rows_in_a_loss, rarest) if self.form == "population" else 1

    def _rise(self, rows_in_a_loss: float) -> float:
        """Rise of a group's log-weight in the first step, in which all pairs have the loss of the start."""
        return self.step_size * self._trade_off * rows_in_a_loss * self.start_loss()

    def _refuse_saturation(self, rows_in_a_loss: float) -> None:
        if (rise := self._rise(rows_in_a_loss)) <= MAX_RISE:
            return
        most = _rounded_down(self.step_size * MAX_RISE / rise)  # rounded up, the advice would be refused
        # A mean is as large as a row's loss; a sum of `population` grows with the batch and with rare groups.
        steadier = self.form == "population" and rise / rows_in_a_loss <= MAX_RISE
        raise ValueError(
            f"eta_alpha ({self.step_size:g}) saturates the group weights: with form {self.form!r} the first step "
            f"raises a log-weight by {rise:.3g}, since every pair begins with a loss of {self.start_loss():.3g}; "
            f"{MAX_RISE:g} is the most (a factor of {math.exp(MAX_RISE):.0f}). Use at most {most:g}"
            f"{', or `form: mixed`' if steadier else ''}"
        )


def _rounded_down(value: float) -> float:
    """Value rounded down to two significant digits."""
    unit = 10.0 ** (math.floor(math.log10(value)) - 1)
    return math.floor(value / unit) * unit
