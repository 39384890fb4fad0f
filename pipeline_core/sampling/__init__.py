"""Sampling completions: the prompt is run once for its whole cohort, and every sample has random numbers of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pipeline_core.modeling import check_positions
from pipeline_core.sampling.drawing import draw, uniforms
from pipeline_core.tokens import decode_completion, encode_prompt, pad

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True)
class SamplingSettings:
    """How tokens are drawn: temperature 0 takes the most probable; text ends before any of the `stop` strings.

    No end token is drawn before `min_new_tokens` others.
    """

    max_new_tokens: int = 32
    temperature: float = 1.0
    top_p: float = 1.0
    stop: tuple[str, ...] = ()
    top_k: int | None = None
    min_new_tokens: int = 0


@dataclass(frozen=True)
class Rollout:
    """Completions of P prompts, `sizes` of them each, a prompt's cohort being consecutive (B rows in all).

    `logps` (B, T) are the log-probabilities of the drawn tokens under the tempered distribution before `top_p` and
    its like, 0 beyond a row's end. `ended` tells the rows that stopped by themselves; `completion_ids` hold their end
    token.
    """

    prompts: list[str]
    sizes: list[int]
    prompt_ids: list[list[int]]
    completion_ids: list[list[int]]
    texts: list[str]
    logps: Tensor
    ended: list[bool]
    prompt_indices: list[int] = field(default_factory=list)

    @property
    def row_prompts(self) -> list[str]:
        """The prompt of every row, B in all."""
        return [prompt for prompt, size in zip(self.prompts, self.sizes, strict=True) for _ in range(size)]

    @cached_property
    def rows_of(self) -> list[range]:
        """The rows of every prompt."""
        ends = list(accumulate(self.sizes))
        return [range(end - size, end) for end, size in zip(ends, self.sizes, strict=True)]

    def take(self, rows_of: Sequence[Sequence[int]]) -> Rollout:
        """Some rows of every prompt, in this order; prompts without any are left out."""
        kept = [(prompt, rows) for prompt, rows in enumerate(rows_of) if rows]
        places = [row for _, rows in kept for row in rows]
        return Rollout(
            prompts=[self.prompts[prompt] for prompt, _ in kept],
            sizes=[len(rows) for _, rows in kept],
            prompt_ids=[self.prompt_ids[prompt] for prompt, _ in kept],
            completion_ids=[self.completion_ids[row] for row in places],
            texts=[self.texts[row] for row in places],
            logps=self.logps[places],
            ended=[self.ended[row] for row in places],
            prompt_indices=[self.prompt_indices[prompt] for prompt, _ in kept],
        )


def joined(first: Rollout, *others: Rollout) -> Rollout:
    """One rollout of several of the same prompts, or of other ones: cohorts of one number are put together."""
    parts = [first, *others]
    starts = [0, *accumulate(len(part.texts) for part in parts)]
    rows_of: dict[int, list[int]] = {}
    known: dict[int, tuple[str, list[int]]] = {}
    for start, part in zip(starts, parts, strict=False):
        for number, prompt, ids, rows in zip(
            part.prompt_indices, part.prompts, part.prompt_ids, part.rows_of, strict=True
        ):
            rows_of.setdefault(number, []).extend(start + row for row in rows)
            known.setdefault(number, (prompt, ids))
    width = max(part.logps.shape[1] for part in parts)
    whole = Rollout(
        prompts=[prompt for prompt, _ in known.values()],
        sizes=[0] * len(known),
        prompt_ids=[ids for _, ids in known.values()],
        completion_ids=[ids for part in parts for ids in part.completion_ids],
        texts=[text for part in parts for text in part.texts],
        logps=torch.cat([torch.nn.functional.pad(part.logps, (0, width - part.logps.shape[1])) for part in parts]),
        ended=[end for part in parts for end in part.ended],
        prompt_indices=list(known),
    )
    return whole.take(list(rows_of.values()))


def generate(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    settings: SamplingSettings,
    *,
    seed: int,
    samples: int | Sequence[int] = 1,
    first_sample: int = 0,
    prompt_indices: Sequence[int] | None = None,
    max_prompt_tokens: int = 512,
    batch_rows: int = 64,
    names: Sequence[str] = (),
) -> Rollout:
    """Sample completions of every prompt, `samples` of all or as many as it lists for each; their numbers begin at
    `first_sample`.

    A sample depends on (`seed`, the prompt's number in `prompt_indices`, the sample's number) and the model, neither
    on `batch_rows` nor on which process draws it, up to rounding: logits differ in their last digits with the shape of
    a batch, and a random number at the very border of two tokens may fall on either side. Prompts are numbered from 0
    when no numbers are given.

    Raises:
        BadInput: for a prompt that leaves no room for `max_new_tokens` among the model's positions; by its name.
    """
    indices = list(prompt_indices) if prompt_indices is not None else list(range(len(prompts)))
    sizes = [samples] * len(prompts) if isinstance(samples, int) else list(samples)
    prompt_ids = [encode_prompt(tokenizer, prompt, max_prompt_tokens) for prompt in prompts]
    longest = max(range(len(prompts)), key=lambda place: len(prompt_ids[place]), default=None)
    if longest is not None:
        name = names[longest] if names else ""
        check_positions(model, len(prompt_ids[longest]) + settings.max_new_tokens, name=name)
    drawn: dict[int, list[tuple[list[int], Tensor]]] = {place: [] for place in range(len(prompts))}
    for chosen in _batches(prompt_ids, sizes, batch_rows):
        numbers = [
            uniforms(seed, indices[row], first_sample + number, settings.max_new_tokens)
            for row in chosen
            for number in range(sizes[row])
        ]
        rows = iter(
            _sample(
                model,
                tokenizer,
                [prompt_ids[row] for row in chosen],
                sizes=[sizes[row] for row in chosen],
                uniform_BT=torch.stack(numbers),
                settings=settings,
            )
        )
        for row in chosen:
            drawn[row] = [next(rows) for _ in range(sizes[row])]
    whole = [one for row in range(len(prompts)) for one in drawn[row]]
    completion_ids = [tokens for tokens, _ in whole]
    row_prompts = [prompt for prompt, size in zip(prompts, sizes, strict=True) for _ in range(size)]
    texts, ended = completion_texts(model, tokenizer, row_prompts, completion_ids, settings)
    logps = [values for _, values in whole]
    padded = torch.nn.utils.rnn.pad_sequence(logps, batch_first=True) if whole else torch.zeros(0, 0)
    return Rollout(list(prompts), sizes, prompt_ids, completion_ids, texts, padded, ended, indices)


def _batches(prompt_ids: Sequence[Sequence[int]], sizes: Sequence[int], batch_rows: int) -> Iterator[list[int]]:
    """Prompts of similar length, together as many as have `batch_rows` completions, or one."""
    chosen: list[int] = []
    for row in sorted(range(len(prompt_ids)), key=lambda row: len(prompt_ids[row])):
        if sizes[row] == 0:
            continue
        if chosen and sum(sizes[one] for one in chosen) + sizes[row] > batch_rows:
            yield chosen
            chosen = []
        chosen.append(row)
    if chosen:
        yield chosen


def completion_texts(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    completion_ids: Sequence[list[int]],
    settings: SamplingSettings,
) -> tuple[list[str], list[bool]]:
    """Every completion's text up to a stop string, and whether it ended by itself."""
    endings = end_tokens(model, tokenizer)
    texts, ended = [], []
    for prompt, tokens in zip(prompts, completion_ids, strict=True):
        least = len(decode_completion(tokenizer, prompt, tokens[: settings.min_new_tokens]))
        text, cut = _before_stop(decode_completion(tokenizer, prompt, tokens), settings.stop, least)
        texts.append(text)
        ended.append(cut or (bool(tokens) and tokens[-1] in endings))
    return texts, ended


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
    sizes: list[int],
    uniform_BT: Tensor,
    settings: SamplingSettings,
) -> list[tuple[list[int], Tensor]]:
    """Tokens and log-probabilities of every row of one batch; a row that has ended leaves the batch."""
    device = model.device
    ids, mask = (part.to(device) for part in pad(prompt_ids, tokenizer.pad_token_id or 0, "left"))
    position = (mask.cumsum(1) - 1).clamp(min=0)
    out: Any = model(input_ids=ids, attention_mask=mask.long(), position_ids=position, use_cache=True, logits_to_keep=1)
    cache = out.past_key_values
    owner_B = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes)).to(device)
    cache.batch_select_indices(owner_B)
    logits, mask, position = out.logits[:, -1][owner_B], mask[owner_B], position[:, -1:][owner_B]
    endings = torch.tensor(end_tokens(model, tokenizer), device=device)
    uniform_BT = uniform_BT.to(device)
    tokens_BT = torch.full(uniform_BT.shape, -1, device=device)
    logps_BT = torch.zeros(uniform_BT.shape, device=device, dtype=torch.promote_types(logits.dtype, torch.float32))
    row = torch.arange(len(uniform_BT), device=device)
    for step in range(settings.max_new_tokens):
        token, logps_BT[row, step] = draw(
            logits,
            uniform_BT[row, step],
            settings.temperature,
            settings.top_p,
            top_k=settings.top_k,
            banned=endings if step < settings.min_new_tokens else None,
        )
        tokens_BT[row, step] = token
        going = ~torch.isin(token, endings) & ~_stopped(tokenizer, tokens_BT[row, : step + 1], settings)
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


def _stopped(tokenizer: PreTrainedTokenizerBase, tokens_BT: Tensor, settings: SamplingSettings) -> Tensor:
    if not settings.stop:
        return torch.zeros(len(tokens_BT), dtype=torch.bool, device=tokens_BT.device)
    least, texts = (
        tokenizer.batch_decode(some_BT.tolist(), skip_special_tokens=True)
        for some_BT in (tokens_BT[:, : settings.min_new_tokens], tokens_BT)
    )
    found = [_before_stop(text, settings.stop, len(kept))[1] for text, kept in zip(texts, least, strict=True)]
    return torch.tensor(found, device=tokens_BT.device)


def _before_stop(text: str, stop: tuple[str, ...], least: int) -> tuple[str, bool]:
    """The text up to the first stop string that begins after `least` characters, and whether there is one."""
    places = [place for word in stop if (place := text.find(word, least)) >= 0]
    return (text[: min(places)], True) if places else (text, False)
