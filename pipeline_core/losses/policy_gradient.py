"""The clipped surrogate, KL estimators, and averages over tokens."""

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
    """Log importance ratio of each token, (B, T); for `sequence` the mean over the completion, at all its tokens.

    `sequence` is GSPO's ratio (arXiv 2507.18071, eq. 7): (pi(y|x) / pi_old(y|x))^(1/|y|) for every token of y.
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
    """-min(rho A, clip(rho, 1 - low, 1 + high) A) per token, and True where the clip is active.

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

    k1 = l: unbiased, of either sign, with a gradient of 0 on average. k2 = l^2 / 2: biased, but with the gradient of
    the KL. k3 = exp(-l) - 1 + l (arXiv 2402.03300, eq. 4): unbiased, never negative, with the gradient of the reverse
    divergence. (Schulman 2020, "Approximating KL divergence"; gradients: arXiv 2506.09477.)
    """
    log_ratio_BT = logps_BT - reference_logps_BT
    if estimator == "k1":
        return log_ratio_BT
    if estimator == "k2":
        return 0.5 * log_ratio_BT.square()
    return torch.expm1(-log_ratio_BT) + log_ratio_BT  # exp(-l) - 1 loses its digits at small l


def overlong_penalty(length_B: Real[Tensor, "B"], most: int, margin: int) -> Float[Tensor, "B"]:
    """Penalty (B,): 0 up to `most - margin` tokens, then linear to -1 at `most` (DAPO, arXiv 2503.14476, eq. 13)."""
    over_B = (length_B - (most - margin)).clamp(min=0).to(torch.float32)
    return -(over_B / max(margin, 1)).clamp(max=1)


def token_weights(
    mask_BT: Shaped[Tensor, "B T"], aggregation: Aggregation, *, rows: int, tokens: float, max_length: int
) -> Float[Tensor, "B T"]:
    """Weight of each token, (B, T), 0 outside the mask; the loss is the weighted sum of token losses.

    `sequence`: mean over completions of the mean over their tokens (the GRPO paper). `token`: mean over all tokens
    (DAPO). `constant`: sum over tokens divided by rows times `max_length` (Dr. GRPO, arXiv 2503.20783). `rows` and
    `tokens` are counts of the whole batch; `mask_BT` may be a part of it.
    """
    mask_BT = mask_BT.to(torch.get_default_dtype())
    if aggregation == "sequence":
        return mask_BT / (mask_BT.sum(1, keepdim=True).clamp(min=1) * rows)
    if aggregation == "token":
        return mask_BT / max(tokens, 1)
    return mask_BT / (rows * max_length)
