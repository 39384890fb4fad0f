"""Pairwise preference losses, unreduced: a value per pair."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from jaxtyping import Float, Real
from torch import Tensor
from torch.nn.functional import logsigmoid


@dataclass(frozen=True)
class PairLogps:
    """Log-probabilities of chosen and rejected completions (sums over tokens), and lengths in tokens; usually (B,)."""

    chosen: Float[Tensor, "*B"]
    rejected: Float[Tensor, "*B"]
    reference_chosen: Float[Tensor, "*B"]
    reference_rejected: Float[Tensor, "*B"]
    chosen_length: Real[Tensor, "*B"]
    rejected_length: Real[Tensor, "*B"]
    means: Mapping[str, Tensor] = field(default_factory=dict, kw_only=True)
    """Batch means by name, scalars without gradient, for losses that need statistics of the batch."""

    @property
    def chosen_log_ratio(self) -> Float[Tensor, "*B"]:
        """Log-ratio of the chosen completion, log pi(y_w|x) - log pi_ref(y_w|x)."""
        return self.chosen - self.reference_chosen

    @property
    def rejected_log_ratio(self) -> Float[Tensor, "*B"]:
        """Log-ratio of the rejected completion, log pi(y_l|x) - log pi_ref(y_l|x)."""
        return self.rejected - self.reference_rejected

    @property
    def margin(self) -> Float[Tensor, "*B"]:
        """Log-ratio of the chosen minus that of the rejected completion: h of arXiv 2310.12036, eq. 17."""
        return self.chosen_log_ratio - self.rejected_log_ratio


PairLoss = Callable[[PairLogps], Tensor]
"""Maps pairs to a loss per pair, (B,)."""


def logistic_loss(beta: float, label_smoothing: float = 0.0, length_normalized: bool = False) -> PairLoss:
    """DPO (arXiv 2305.18290, eq. 7): -log sigmoid(beta h), with `label_smoothing` e its conservative form, eq. 3 of
    "A note on DPO with noisy preferences": -(1 - e) log sigmoid(beta h) - e log sigmoid(-beta h).

    With `length_normalized` each log-ratio in h is a mean over its completion's tokens instead of a sum; betas of the
    two forms are not comparable.
    """

    def loss(pairs: PairLogps) -> Float[Tensor, "*B"]:
        logit_B = beta * _margin(pairs, length_normalized)
        if label_smoothing == 0:  # the general form has 0 * inf = nan at an infinite logit
            return -logsigmoid(logit_B)
        return -(1 - label_smoothing) * logsigmoid(logit_B) - label_smoothing * logsigmoid(-logit_B)

    return loss


def squared_loss(beta: float, length_normalized: bool = False) -> PairLoss:
    """IPO (arXiv 2310.12036, eq. 17): (h - 1 / (2 beta))^2, `length_normalized` as in `logistic_loss` (TRL's form)."""

    def loss(pairs: PairLogps) -> Float[Tensor, "*B"]:
        return (_margin(pairs, length_normalized) - 1 / (2 * beta)).square()

    return loss


def _margin(pairs: PairLogps, length_normalized: bool) -> Tensor:
    if not length_normalized:
        return pairs.margin
    return pairs.chosen_log_ratio / pairs.chosen_length - pairs.rejected_log_ratio / pairs.rejected_length
