"""The clipped surrogate, the KL estimate and the ways to average over tokens."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Bool, Float, Real, Shaped
from torch import Tensor

Aggregation = Literal["sequence", "token", "constant"]
RatioLevel = Literal["token", "sequence"]
KlEstimator = Literal["k1", "k2", "k3"]


def log_ratios(
    logps_BT: Float[Tensor, "B T"],
    old_logps_BT: Float[Tensor, "B T"],
    mask_BT: Shaped[Tensor, "B T"],
    level: RatioLevel = "token",
) -> Float[Tensor, "B T"]:
    """Log of the importance ratio: of every token, or for all tokens of a completion the mean of theirs.

    The second is GSPO's (arXiv 2507.18071, eq. 7): (pi(y|x) / pi_old(y|x))^(1/|y|) for every token of y.
    """
    log_ratio_BT = logps_BT - old_logps_BT
    if level == "token":
        return log_ratio_BT
    length_B1 = mask_BT.sum(1, keepdim=True).clamp(min=1)
    return ((log_ratio_BT * mask_BT).sum(1, keepdim=True) / length_B1).expand_as(log_ratio_BT)


def clipped_surrogate(
    log_ratio_BT: Float[Tensor, "B T"],
    advantages_BT: Float[Tensor, "B #T"],
    clip_low: float = 0.2,
    clip_high: float = 0.2,
) -> tuple[Float[Tensor, "B T"], Bool[Tensor, "B T"]]:
    """-min(rho A, clip(rho, 1 - low, 1 + high) A) per token and whether the clip took hold.

    PPO, arXiv 1707.06347, eq. 7; a larger `clip_high` is DAPO's, arXiv 2503.14476, eq. 10. Advantages (B, T) or (B, 1).
    """
    ratio_BT = log_ratio_BT.exp()
    plain_BT = ratio_BT * advantages_BT
    clipped_BT = ratio_BT.clamp(1 - clip_low, 1 + clip_high) * advantages_BT
    return -torch.minimum(plain_BT, clipped_BT), clipped_BT < plain_BT


def kl_estimate(
    logps_BT: Float[Tensor, "*BT"], reference_logps_BT: Float[Tensor, "*BT"], estimator: KlEstimator = "k3"
) -> Float[Tensor, "*BT"]:
    """KL(pi || pi_ref) per token, estimated from samples of pi with l = log pi - log pi_ref.

    k1 = l: without bias, of any sign, and without a gradient on average. k2 = l^2 / 2: biased, but its gradient is that
    of the KL. k3 = exp(-l) - 1 + l (arXiv 2402.03300, eq. 4): without bias, never negative; its gradient is that of the
    reverse divergence. (Schulman 2020, "Approximating KL divergence"; gradients: arXiv 2506.09477.)
    """
    log_ratio_BT = logps_BT - reference_logps_BT
    if estimator == "k1":
        return log_ratio_BT
    if estimator == "k2":
        return 0.5 * log_ratio_BT.square()
    return torch.expm1(-log_ratio_BT) + log_ratio_BT


def overlong_penalty(length_B: Real[Tensor, "B"], most: int, margin: int) -> Float[Tensor, "B"]:
    """0 up to `most - margin` tokens, then falling on a line to -1 at `most` (DAPO, arXiv 2503.14476, eq. 13)."""
    over_B = (length_B - (most - margin)).clamp(min=0).to(torch.float32)
    return -(over_B / max(margin, 1)).clamp(max=1)


def token_weights(
    mask_BT: Shaped[Tensor, "B T"], aggregation: Aggregation, *, rows: int, tokens: float, max_length: int
) -> Float[Tensor, "B T"]:
    """Weight of every token, 0 outside the mask: a loss is the sum of weighted token losses.

    `sequence`: mean over completions of the mean over their tokens (the GRPO paper). `token`: mean over all tokens
    (DAPO). `constant`: sum over tokens divided by rows times `max_length` (Dr. GRPO, arXiv 2503.20783). `rows` and
    `tokens` count the whole batch, of which `mask_BT` may be a part.
    """
    mask_BT = mask_BT.to(torch.get_default_dtype())
    if aggregation == "sequence":
        return mask_BT / (mask_BT.sum(1, keepdim=True).clamp(min=1) * rows)
    if aggregation == "token":
        return mask_BT / max(tokens, 1)
    return mask_BT / (rows * max_length)
