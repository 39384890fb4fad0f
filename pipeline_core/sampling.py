"""Sampling completions: the prompt is run once for its whole cohort, and every sample has random numbers of its own."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pipeline_core.modeling import check_positions
from pipeline_core.tokens import decode_completion, encode_prompt, pad

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True)
class SamplingSettings:
    """How tokens are drawn: temperature 0 takes the most probable; text ends before any of the `stop` strings."""

    max_new_tokens: int = 32
    temperature: float = 1.0
    top_p: float = 1.0
    stop: tuple[str, ...] = ()


@dataclass(frozen=True)
class Rollout:
    """Completions of P prompts, `samples_per_prompt` each, a prompt's cohort being consecutive (B rows in all).

    `logps` (B, T) are the log-probabilities of the drawn tokens under the tempered distribution before `top_p`, 0
    beyond a row's end. `ended` tells the rows that stopped by themselves; `completion_ids` hold their end token.
    """

    prompts: list[str]
    samples_per_prompt: int
    prompt_ids: list[list[int]]
    completion_ids: list[list[int]]
    texts: list[str]
    logps: Tensor
    ended: list[bool]
    prompt_indices: list[int] = field(default_factory=list)

    @property
    def row_prompts(self) -> list[str]:
        """The prompt of every row, B in all."""
        return [prompt for prompt in self.prompts for _ in range(self.samples_per_prompt)]


def uniforms(seed: int, index: int, sample: int, length: int) -> Tensor:
    """`length` numbers in [0, 1) that belong to one sample of one prompt, whatever else is drawn beside it."""
    digest = hashlib.sha256(f"{seed}/{index}/{sample}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
    return torch.rand(length, generator=generator, dtype=torch.float64)


def draw(logits_BV: Tensor, uniform_B: Tensor, temperature: float = 1.0, top_p: float = 1.0) -> tuple[Tensor, Tensor]:
    """Inverse-CDF sampling: token (B,) and its log-probability (B,) for one uniform number a row."""
    scaled_BV = logits_BV.to(torch.promote_types(logits_BV.dtype, torch.float32))
    if temperature not in (0.0, 1.0):
        scaled_BV = scaled_BV / temperature
    top_B1 = scaled_BV.amax(-1, keepdim=True)
    weight_BV = (scaled_BV - top_B1).exp_()
    total_B1 = weight_BV.sum(-1, keepdim=True, dtype=torch.float64)
    kept_BV = weight_BV if top_p >= 1 else _nucleus(weight_BV / total_B1, top_p)
    token_B1 = scaled_BV.argmax(-1, keepdim=True) if temperature == 0 else _invert(kept_BV, uniform_B)
    logp_B1 = scaled_BV.gather(-1, token_B1) - top_B1 - total_B1.log().to(scaled_BV)
    return token_B1.squeeze(-1), logp_B1.squeeze(-1)


def _invert(weight_BV: Tensor, uniform_B: Tensor, width: int = 256) -> Tensor:
    """The token (B, 1) whose stretch of the cumulated weights holds the uniform number.

    Weights that are not finite give some token: on a GPU an index out of range would end the process before anything
    could say what had happened.
    Sums of `width` tokens are searched first and one such piece after: cumulating a whole vocabulary takes longer.
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
    """Index (B, 1) of the first edge above the target: always one with weight, whatever was lost in rounding."""
    below_end_B1 = edges_BN[:, -1:] * (1 - 2**-40)
    found_B1 = torch.searchsorted(edges_BN, target_B1.clamp(min=0).minimum(below_end_B1), right=True)
    return found_B1.clamp(max=edges_BN.shape[-1] - 1)


def generate(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    settings: SamplingSettings,
    *,
    seed: int,
    samples: int = 1,
    prompt_indices: Sequence[int] | None = None,
    max_prompt_tokens: int = 512,
    batch_rows: int = 64,
) -> Rollout:
    """Sample `samples` completions of every prompt.

    A sample depends on (`seed`, the prompt's number in `prompt_indices`, the sample's number) and the model, neither
    on `batch_rows` nor on which process draws it, up to rounding: logits differ in their last digits with the shape of
    a batch, and a random number at the very border of two tokens may fall on either side. Prompts are numbered from 0
    when no numbers are given.

    Raises:
        BadInput: for a prompt that leaves no room for `max_new_tokens` among the model's positions.
    """
    indices = list(prompt_indices) if prompt_indices is not None else list(range(len(prompts)))
    prompt_ids = [encode_prompt(tokenizer, prompt, max_prompt_tokens) for prompt in prompts]
    check_positions(model, max(map(len, prompt_ids), default=0) + settings.max_new_tokens)
    order = sorted(range(len(prompts)), key=lambda index: len(prompt_ids[index]))
    size = max(1, batch_rows // samples)
    ids: dict[int, list[list[int]]] = {}
    logps: dict[int, list[Tensor]] = {}
    for start in range(0, len(order), size):
        chosen = order[start : start + size]
        numbers = [uniforms(seed, indices[row], s, settings.max_new_tokens) for row in chosen for s in range(samples)]
        drawn = _sample(
            model,
            tokenizer,
            [prompt_ids[row] for row in chosen],
            samples=samples,
            uniform_BT=torch.stack(numbers),
            settings=settings,
        )
        for place, row in enumerate(chosen):
            cohort = drawn[place * samples : (place + 1) * samples]
            ids[row], logps[row] = [tokens for tokens, _ in cohort], [values for _, values in cohort]
    rows = range(len(prompts))
    completion_ids = [tokens for row in rows for tokens in ids[row]]
    row_prompts = [prompt for prompt in prompts for _ in range(samples)]
    endings = end_tokens(model, tokenizer)
    texts, stopped = [], []
    for prompt, tokens in zip(row_prompts, completion_ids, strict=True):
        text, cut = _before_stop(decode_completion(tokenizer, prompt, tokens), settings.stop)
        texts.append(text)
        stopped.append(cut or (bool(tokens) and tokens[-1] in endings))
    padded = (
        torch.nn.utils.rnn.pad_sequence([values for row in rows for values in logps[row]], batch_first=True)
        if prompts
        else torch.zeros(0, 0)
    )
    return Rollout(list(prompts), samples, prompt_ids, completion_ids, texts, padded, stopped, indices)


def end_tokens(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Ids that end a completion, by the tokenizer and by the model's generation settings."""
    configured: Any = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    listed = configured if isinstance(configured, list) else [configured]
    return sorted({int(token) for token in [tokenizer.eos_token_id, *listed] if token is not None})


@torch.no_grad()
def _sample(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompt_ids: list[list[int]],
    *,
    samples: int,
    uniform_BT: Tensor,
    settings: SamplingSettings,
) -> list[tuple[list[int], Tensor]]:
    """Tokens and log-probabilities of every row of one batch; a row that has ended leaves the batch."""
    device = model.device
    ids, mask = (part.to(device) for part in pad(prompt_ids, tokenizer.pad_token_id or 0, "left"))
    position = (mask.cumsum(1) - 1).clamp(min=0)
    out: Any = model(input_ids=ids, attention_mask=mask.long(), position_ids=position, use_cache=True, logits_to_keep=1)
    cache = out.past_key_values
    cache.batch_repeat_interleave(samples)
    logits, mask = out.logits[:, -1].repeat_interleave(samples, 0), mask.repeat_interleave(samples, 0)
    position = position[:, -1:].repeat_interleave(samples, 0)
    endings = torch.tensor(end_tokens(model, tokenizer), device=device)
    uniform_BT = uniform_BT.to(device)
    tokens_BT = torch.full(uniform_BT.shape, -1, device=device)
    logps_BT = torch.zeros(uniform_BT.shape, device=device, dtype=torch.promote_types(logits.dtype, torch.float32))
    row = torch.arange(len(uniform_BT), device=device)
    for step in range(settings.max_new_tokens):
        token, logps_BT[row, step] = draw(logits, uniform_BT[row, step], settings.temperature, settings.top_p)
        tokens_BT[row, step] = token
        going = ~torch.isin(token, endings) & ~_stopped(tokenizer, tokens_BT[row, : step + 1], settings.stop)
        if step + 1 == settings.max_new_tokens or not going.any():
            break
        if not going.all():
            keep = going.nonzero().squeeze(1)
            cache.batch_select_indices(keep)
            row, token, mask, position = row[keep], token[keep], mask[keep], position[keep]
        mask, position = torch.cat([mask, mask.new_ones(len(mask), 1)], 1), position + 1
        out = model(
            input_ids=token[:, None],
            attention_mask=mask.long(),
            position_ids=position,
            past_key_values=cache,
            use_cache=True,
        )
        logits = out.logits[:, -1]
    lengths = (tokens_BT >= 0).sum(1).tolist()
    return [
        (tokens[:length], logps[:length])
        for tokens, logps, length in zip(tokens_BT.tolist(), logps_BT.cpu(), lengths, strict=True)
    ]


def _nucleus(probabilities_BV: Tensor, top_p: float) -> Tensor:
    """Probabilities with everything outside the smallest set of mass `top_p` set to 0."""
    if top_p >= 1:
        return probabilities_BV
    ordered, places = probabilities_BV.sort(-1, descending=True)
    kept = ordered.where(ordered.cumsum(-1) - ordered < top_p, 0)
    return torch.zeros_like(probabilities_BV).scatter(-1, places, kept)


def _stopped(tokenizer: PreTrainedTokenizerBase, tokens_BT: Tensor, stop: tuple[str, ...]) -> Tensor:
    if not stop:
        return torch.zeros(len(tokens_BT), dtype=torch.bool, device=tokens_BT.device)
    texts = tokenizer.batch_decode(tokens_BT.tolist(), skip_special_tokens=True)
    return torch.tensor([_before_stop(text, stop)[1] for text in texts], device=tokens_BT.device)


def _before_stop(text: str, stop: tuple[str, ...]) -> tuple[str, bool]:
    places = [place for word in stop if (place := text.find(word)) >= 0]
    return (text[: min(places)], True) if places else (text, False)
