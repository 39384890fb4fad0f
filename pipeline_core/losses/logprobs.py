"""Log-probabilities of given tokens: a plain form, and one that computes logits in chunks to save memory."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import linear

CHUNK_LOGITS = 2**25
"""Maximum number of logits in memory at a time: 128 MiB in float32."""


def full_logps(
    logits_BTV: Float[Tensor, "*BT V"], target_BT: Int[Tensor, "*BT"], temperature: float = 1.0
) -> Float[Tensor, "*BT"]:
    """Log-probability of `target_BT` under `logits_BTV`, (..., T); the plain reference implementation."""
    logps_BTV = (logits_BTV.float() if logits_BTV.dtype != torch.float64 else logits_BTV) / temperature
    return logps_BTV.log_softmax(-1).gather(-1, target_BT[..., None]).squeeze(-1)


def token_logps(
    hidden_NH: Float[Tensor, "N H"],
    weight_VH: Float[Tensor, "V H"],
    target_N: Int[Tensor, "N"],
    *,
    bias_V: Float[Tensor, "V"] | None = None,
    temperature: float = 1.0,
    chunk: int | None = None,
    entropy_gradient: bool = False,
) -> tuple[Float[Tensor, "N"], Float[Tensor, "N"]]:
    """Log-probability of `target_N` and entropy of the distribution, (N,) each, from hidden states and the head.

    Logits are computed for `chunk` tokens at a time (default: `CHUNK_LOGITS` logits), in float32 at least, whatever the
    head's dtype and autocast. The gradient with respect to the hidden states is computed in the forward
    pass (it is linear in the gradient of each log-probability); only a trained head needs its logits again in the
    backward pass. The entropy has a gradient only with `entropy_gradient`, which costs another product with the head.
    """
    chunk = chunk or max(1, CHUNK_LOGITS // len(weight_VH))
    logps_entropies: tuple[Tensor, Tensor] = _TokenLogps.apply(
        hidden_NH, weight_VH, bias_V, target_N, temperature, chunk, entropy_gradient
    )
    return logps_entropies


def targets_of_places(
    hidden_UH: Float[Tensor, "U H"],
    weight_VH: Float[Tensor, "V H"],
    target_Q: Int[Tensor, "Q"],
    place_Q: Int[Tensor, "Q"],
    *,
    bias_V: Float[Tensor, "V"] | None = None,
    chunk: int | None = None,
) -> tuple[Float[Tensor, "Q"], Bool[Tensor, "Q"]]:
    """Log-probability of `target_Q` at positions `place_Q` (may repeat), and True where no token is likelier; (Q,).

    Without gradient. Logits are computed once per position, for `chunk` positions at a time, in float32 at least.
    """
    chunk = chunk or max(1, CHUNK_LOGITS // len(weight_VH))
    head = _wide_head(weight_VH, bias_V)
    logps_Q = hidden_UH.new_empty(len(target_Q), dtype=head[0].dtype)
    is_likeliest_Q = torch.empty_like(target_Q, dtype=torch.bool)
    order_Q = place_Q.argsort(stable=True)
    # All bounds at once: each transfer waits for the device.
    bounds = torch.bincount(place_Q, minlength=len(hidden_UH)).cumsum(0)[chunk - 1 :: chunk].tolist()
    starts = [0, *bounds, *([len(target_Q)] if len(hidden_UH) % chunk else [])]
    for number, hidden_uH in enumerate(hidden_UH.split(chunk)):
        asked = order_Q[starts[number] : starts[number + 1]]
        with torch.autocast(hidden_uH.device.type, enabled=False):
            logits_uV = linear(hidden_uH.to(head[0].dtype), *head)
        place = place_Q[asked] - number * chunk
        logits_q = logits_uV[place, target_Q[asked]]
        logps_Q[asked] = logits_q - logits_uV.logsumexp(-1)[place]
        is_likeliest_Q[asked] = logits_q >= logits_uV.amax(-1)[place]
    return logps_Q, is_likeliest_Q


class _TokenLogps(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        target: Tensor,
        temperature: float,
        chunk: int,
        entropy_gradient: bool,
    ) -> tuple[Tensor, Tensor]:
        needs_hidden = ctx.needs_input_grad[0]
        logps, entropies, slopes, entropy_slopes = [], [], [], []
        head = _wide_head(weight, bias)
        for hidden_nH, target_n in zip(hidden.split(chunk), target.split(chunk), strict=True):
            all_nV = _log_softmax(hidden_nH, head, temperature)
            logps.append(all_nV.gather(1, target_n[:, None]).squeeze(1))
            probability_nV = all_nV.exp()
            entropies.append(-(probability_nV * all_nV).sum(1))
            if needs_hidden and entropy_gradient:
                # `_difference` overwrites the probabilities, so the entropy's slope comes first.
                slope_nV = _entropy_slope(probability_nV, all_nV, entropies[-1])
                entropy_slopes.append((_times(slope_nV, weight) / temperature).to(hidden.dtype))
            if needs_hidden:
                slopes.append((_times(_difference(probability_nV, target_n), weight) / temperature).to(hidden.dtype))
        none = hidden.new_zeros(0)
        slope, entropy_slope = (torch.cat(chunks) if chunks else none for chunks in (slopes, entropy_slopes))
        ctx.save_for_backward(hidden, weight, bias, target, slope, entropy_slope)
        ctx.temperature, ctx.chunk, ctx.entropy_gradient = temperature, chunk, entropy_gradient
        entropy = torch.cat(entropies)
        if not entropy_gradient:
            ctx.mark_non_differentiable(entropy)  # else its gradient would be 0 without an error
        return torch.cat(logps), entropy

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        hidden, weight, bias, target, slope, entropy_slope = ctx.saved_tensors
        grad_N, entropy_grad_N = grads
        grad_hidden = None
        if ctx.needs_input_grad[0]:
            grad_hidden = (slope * grad_N[:, None]).to(hidden.dtype)
            if ctx.entropy_gradient:
                grad_hidden += (entropy_slope * entropy_grad_N[:, None]).to(hidden.dtype)
        if not (ctx.needs_input_grad[1] or ctx.needs_input_grad[2]):
            return grad_hidden, None, None, None, None, None, None
        grad_weight = torch.zeros_like(weight)
        grad_bias = None if bias is None else torch.zeros_like(bias)
        head = _wide_head(weight, bias)
        parts = zip(*(values.split(ctx.chunk) for values in (hidden, target, grad_N, entropy_grad_N)), strict=True)
        for hidden_nH, target_n, grad_n, entropy_grad_n in parts:
            all_nV = _log_softmax(hidden_nH, head, ctx.temperature)
            # In place, unless the entropy's slope needs the log-probabilities as well.
            probability_nV = all_nV.exp() if ctx.entropy_gradient else all_nV.exp_()
            of_entropy_nV = None
            if ctx.entropy_gradient:
                entropy_n = -(probability_nV * all_nV).sum(1)
                of_entropy_nV = _entropy_slope(probability_nV, all_nV, entropy_n).mul_(entropy_grad_n[:, None])
            slope_nV = _difference(probability_nV, target_n).mul_(grad_n[:, None])
            if of_entropy_nV is not None:
                slope_nV += of_entropy_nV
            logit_nV = (slope_nV / ctx.temperature).to(weight.dtype)
            grad_weight.addmm_(logit_nV.T, hidden_nH.to(weight.dtype))
            if grad_bias is not None:
                grad_bias += logit_nV.sum(0)
        return grad_hidden, grad_weight, grad_bias, None, None, None, None


def _wide_head(weight_VH: Tensor, bias_V: Tensor | None) -> tuple[Tensor, Tensor | None]:
    wide = torch.promote_types(weight_VH.dtype, torch.float32)
    return weight_VH.to(wide), None if bias_V is None else bias_V.to(wide)


def _log_softmax(hidden_nH: Tensor, head: tuple[Tensor, Tensor | None], temperature: float) -> Tensor:
    weight_VH, bias_V = head
    # Under autocast `linear` would compute in half precision.
    with torch.autocast(hidden_nH.device.type, enabled=False):
        return (linear(hidden_nH.to(weight_VH.dtype), weight_VH, bias_V) / temperature).log_softmax(-1)


def _entropy_slope(probability_nV: Tensor, logps_nV: Tensor, entropy_n: Tensor) -> Tensor:
    """Gradient of the entropy with respect to the logits, -p (log p + H), (n, V)."""
    return -probability_nV * (logps_nV + entropy_n[:, None])


def _difference(probability_nV: Tensor, target_n: Tensor) -> Tensor:
    """Gradient of the log-probability with respect to the logits, onehot - p, (n, V). Overwrites `probability_nV`.

    Computed before the product with the head: W[target] - p W would subtract nearly equal vectors if the model is
    certain of the target, and lose its digits in half precision. For the target, 1 - p is the sum of the other p.
    """
    difference_nV = probability_nV.neg_().scatter_(1, target_n[:, None], 0)
    return difference_nV.scatter_(1, target_n[:, None], -difference_nV.sum(1, keepdim=True))


def _times(difference_nV: Tensor, weight_VH: Tensor) -> Tensor:
    with torch.autocast(weight_VH.device.type, enabled=False):
        return difference_nV.to(weight_VH.dtype) @ weight_VH
