"""The clipped surrogate, the KL estimate and the ways to average over tokens."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Aggregation = Literal["sequence", "token", "constant"]


def clipped_surrogate(
    logps_BT: Tensor, old_logps_BT: Tensor, advantage_B1: Tensor, clip_low: float = 0.2, clip_high: float = 0.2
) -> tuple[Tensor, Tensor]:
    """-min(rho A, clip(rho, 1 - low, 1 + high) A) per token and whether the clip took hold, both (B, T).

    PPO, arXiv 1707.06347, eq. 7; a larger `clip_high` is DAPO's, arXiv 2503.14476, eq. 10.
    """
    ratio_BT = (logps_BT - old_logps_BT).exp()
    plain_BT = ratio_BT * advantage_B1
    clipped_BT = ratio_BT.clamp(1 - clip_low, 1 + clip_high) * advantage_B1
    return -torch.minimum(plain_BT, clipped_BT), clipped_BT < plain_BT


def k3(logps_BT: Tensor, reference_logps_BT: Tensor) -> Tensor:
    """KL(pi || pi_ref) per token, estimated from samples of pi: pi_ref/pi - log(pi_ref/pi) - 1, (B, T), never negative.

    arXiv 2402.03300, eq. 4.
    """
    log_ratio_BT = reference_logps_BT - logps_BT
    return torch.expm1(log_ratio_BT) - log_ratio_BT


def token_weights(mask_BT: Tensor, aggregation: Aggregation, *, rows: int, tokens: float, max_length: int) -> Tensor:
    """Weight (B, T) of every token, 0 outside the mask: a loss is the sum of weighted token losses.

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
