"""Formulas of a learned critic: generalised advantages, critic loss and explained variance.

Shape suffixes: B completions, T tokens.
"""

from __future__ import annotations

import torch
from torch import Tensor


def token_rewards(scores_B: Tensor, log_ratio_BT: Tensor, mask_BT: Tensor, kl_coef: float) -> Tensor:
    """Reward of each token (B, T): -`kl_coef` (log pi - log pi_ref), plus the score at the last token."""
    rewards_BT = -kl_coef * log_ratio_BT * mask_BT
    last_B1 = (mask_BT.sum(1, keepdim=True) - 1).clamp(min=0)
    has_B1 = mask_BT.any(1, keepdim=True).to(rewards_BT.dtype)  # a completion without tokens has no last one
    return rewards_BT.scatter_add(1, last_B1, scores_B[:, None].to(rewards_BT.dtype) * has_B1)


def generalised_advantages(
    rewards_BT: Tensor, values_BT: Tensor, mask_BT: Tensor, gamma: float = 1.0, lam: float = 0.95
) -> tuple[Tensor, Tensor]:
    """Advantages and returns (B, T), 0 outside the mask (GAE, arXiv 1506.02438, eq. 16).

    delta_t = r_t + gamma V_t+1 - V_t, A_t = delta_t + gamma lam A_t+1, with V = 0 after the last token, whether the
    text ended or was cut. Returns are A + V.
    """
    advantages_BT = torch.zeros_like(values_BT)
    mask_BT = mask_BT.to(values_BT.dtype)
    after_B, next_value_B = values_BT.new_zeros(len(values_BT)), values_BT.new_zeros(len(values_BT))
    for step in range(values_BT.shape[1] - 1, -1, -1):
        inside_B = mask_BT[:, step]
        delta_B = rewards_BT[:, step] + gamma * next_value_B - values_BT[:, step]
        after_B = (delta_B + gamma * lam * after_B) * inside_B
        next_value_B = values_BT[:, step] * inside_B
        advantages_BT[:, step] = after_B
    return advantages_BT, (advantages_BT + values_BT) * mask_BT


def moments(values_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """Count, sum and sum of squares of the values inside the mask, (3,) float64; summed over passes for whitening."""
    inside = values_BT.double()[mask_BT.bool()]
    return torch.stack(
        [torch.tensor(float(len(inside)), dtype=torch.float64), inside.sum().cpu(), inside.square().sum().cpu()]
    )


def whitened(values_BT: Tensor, mask_BT: Tensor, moments_3: Tensor) -> Tensor:
    """(x - mean) / sqrt(var + 1e-8) inside the mask, with the moments of all processes; 0 outside."""
    count, total, _ = moments_3.tolist()
    # Over n - 1, and with 1e-8, as in TRL.
    variance = _variance(moments_3) * count / max(count - 1, 1)
    return (values_BT - total / max(count, 1)) / (variance + 1e-8) ** 0.5 * mask_BT


def value_loss(
    values_BT: Tensor, old_values_BT: Tensor, returns_BT: Tensor, clip: float | None
) -> tuple[Tensor, Tensor]:
    """0.5 max((V - R)^2, (clip(V, V_old +- clip) - R)^2), and True where the clip is active, both (B, T).

    The clip keeps values near those of the advantages (as in the PPO reference implementation); None for no clip.
    """
    if clip is None:
        return 0.5 * (values_BT - returns_BT).square(), torch.zeros_like(values_BT, dtype=torch.bool)
    near_BT = torch.maximum(torch.minimum(values_BT, old_values_BT + clip), old_values_BT - clip)
    plain_BT, clipped_BT = (values_BT - returns_BT).square(), (near_BT - returns_BT).square()
    return 0.5 * torch.maximum(plain_BT, clipped_BT), clipped_BT > plain_BT


def explained_variance(error_moments_3: Tensor, return_moments_3: Tensor) -> float:
    """1 - var(R - V) / var(R): 1 for a perfect critic, 0 for a constant one, negative for a harmful one.

    0 if the returns do not vary.
    """
    error, whole = (_variance(moments_3) for moments_3 in (error_moments_3, return_moments_3))
    return 1 - error / whole if whole > 0 else 0.0


def _variance(moments_3: Tensor) -> float:
    count, total, squares = moments_3.tolist()
    return max(squares / max(count, 1) - (total / max(count, 1)) ** 2, 0.0)


def adapted_kl_coef(coefficient: float, kl: float, target: float | None, completions: int, horizon: int) -> float:
    """KL coefficient times 1 + clip(kl / target - 1, +-.2) n / horizon (arXiv 1909.08593, section 2.2).

    `kl`: mean KL of n `completions`. The coefficient is unchanged without a target.
    """
    if target is None:
        return coefficient
    error = min(max(kl / target - 1, -0.2), 0.2)
    return coefficient * (1 + error * completions / horizon)
