"""Sampling of one token per row from logits; random numbers belong to a sample, not to a batch."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor


def sample_seed(seed: int, index: int, sample: int) -> int:
    """Seed below 2**56 for one sample of one prompt."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{index}/{sample}".encode()).digest()[:7], "big")


def uniforms(seed: int, index: int, sample: int, length: int) -> Tensor:
    """`length` random numbers in [0, 1) for one sample of one prompt, independent of all other draws."""
    generator = torch.Generator().manual_seed(sample_seed(seed, index, sample))
    # float32 knows 2**24 numbers: a token of less probability would never be drawn, or too often.
    return torch.rand(length, generator=generator, dtype=torch.float64)


def draw_tokens(
    logits_BV: Tensor,
    uniform_B: Tensor,
    temperature: float = 1.0,
    top_p: float = 1.0,
    *,
    top_k: int | None = None,
    banned: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Inverse-CDF sampling: token (B,) and its log-probability (B,) from one uniform number per row.

    Candidates are the `top_k` likeliest tokens (ties included), of these the smallest set of mass `top_p`, and none of
    the `banned` ids. The log-probability is that of the tempered distribution before these restrictions.
    """
    scaled_BV = logits_BV.to(torch.promote_types(logits_BV.dtype, torch.float32))
    if temperature not in (0.0, 1.0):  # no copy of the logits for 1, no division by 0
        scaled_BV = scaled_BV / temperature
    top_B1 = scaled_BV.amax(-1, keepdim=True)
    weight_BV = (scaled_BV - top_B1).exp_()
    total_B1 = weight_BV.sum(-1, keepdim=True, dtype=torch.float64)
    kept_BV = weight_BV
    if banned is not None:
        # Relative to the likeliest token that is left: a banned one may lead by so much that all others underflow.
        kept_BV = scaled_BV.index_fill(-1, banned, -torch.inf)
        kept_BV = (kept_BV - kept_BV.amax(-1, keepdim=True)).exp_()
    if top_k is not None and top_k < kept_BV.shape[-1]:
        kept_BV = kept_BV.where(kept_BV >= kept_BV.topk(top_k).values[:, -1:], 0.0)
    if top_p < 1:
        mass_B1 = total_B1 if kept_BV is weight_BV else kept_BV.sum(-1, keepdim=True, dtype=torch.float64)
        kept_BV = _nucleus(kept_BV / mass_B1, top_p)
    if temperature == 0:
        token_B1 = scaled_BV.masked_fill(kept_BV == 0, -torch.inf).argmax(-1, keepdim=True)
    else:
        token_B1 = _invert(kept_BV, uniform_B)
    logp_B1 = scaled_BV.gather(-1, token_B1) - top_B1 - total_B1.log().to(scaled_BV)
    return token_B1.squeeze(-1), logp_B1.squeeze(-1)


def _invert(weight_BV: Tensor, uniform_B: Tensor, width: int = 256) -> Tensor:
    """Token (B, 1) whose interval of the cumulated weights holds the uniform number.

    Weights that are not finite give an arbitrary token: on a GPU an index out of range would end the process before an
    error could be reported.
    The sums of `width` tokens are searched first, then one such piece: cumulating a whole vocabulary takes longer.
    """
    vocabulary = weight_BV.shape[-1]
    if rest := -vocabulary % width:
        weight_BV = torch.nn.functional.pad(weight_BV, (0, rest))
    pieces_BKW = weight_BV.view(len(weight_BV), -1, width)
    sum_BK = pieces_BKW.sum(-1, dtype=torch.float64)
    edge_BK = sum_BK.cumsum(-1)
    target_B1 = uniform_B.to(edge_BK)[:, None] * edge_BK[:, -1:]
    piece_B1 = _first_above(edge_BK, target_B1)
    inside_BW = pieces_BKW[torch.arange(len(weight_BV), device=weight_BV.device), piece_B1[:, 0]].double().cumsum(-1)
    rest_B1 = target_B1 - (edge_BK - sum_BK).gather(-1, piece_B1)
    return (piece_B1 * width + _first_above(inside_BW, rest_B1)).clamp(max=vocabulary - 1)


def _first_above(edges_BN: Tensor, target_B1: Tensor) -> Tensor:
    """Index (B, 1) of the first edge above the target; despite rounding, its token always has weight."""
    # A target rounded up to the last edge would point behind the last token with weight; `right` passes over tokens
    # without weight, whose edge is that of the token before.
    below_end_B1 = edges_BN[:, -1:] * (1 - 2**-40)
    found_B1 = torch.searchsorted(edges_BN, target_B1.clamp(min=0).minimum(below_end_B1), right=True)
    return found_B1.clamp(max=edges_BN.shape[-1] - 1)


def _nucleus(probabilities_BV: Tensor, top_p: float) -> Tensor:
    """Probabilities with all tokens outside the smallest set of mass `top_p` set to 0."""
    ordered, places = probabilities_BV.sort(-1, descending=True)
    # Mass before a token decides, so that the likeliest is always kept.
    kept = ordered.where(ordered.cumsum(-1) - ordered < top_p, 0)
    return torch.zeros_like(probabilities_BV).scatter(-1, places, kept)
