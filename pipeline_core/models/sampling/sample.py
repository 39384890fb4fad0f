"""Sampling of completions: a prompt runs once for its whole cohort, and every sample has its own random numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pipeline_core.models.distributed import gathered, shard
from pipeline_core.models.probing import vocabulary_of
from pipeline_core.models.sampling.decoding import DrawnCompletions, SampleRequest, SamplingSettings, StopConditions
from pipeline_core.models.sampling.drawing import uniforms
from pipeline_core.models.sampling.rollouts import Rollout, join_rollouts, sorted_rollout
from pipeline_core.models.sampling.ways import DRAW, SamplingMethod, check_sampling, group_of, way_of
from pipeline_core.models.tokens.prompts import decode_completion, encode_prompt

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


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
    """Sample completions of each prompt. `samples`: one count for all prompts, or a count for each. Sample numbers
    begin at `first_sample`.

    A sample depends on (`seed`, the prompt's number in `prompt_indices`, the sample's number) and the model. It depends
    neither on `batch_rows` nor on the process that draws it, up to rounding: the batch shape changes the last digits of
    logits, and a random number at the very border of two tokens may fall on either side. Without `prompt_indices`
    prompts are numbered from 0.

    Raises:
        BadInput: a prompt leaves no room for `max_new_tokens` among the model's positions; names the prompt.
    """
    indices = list(prompt_indices) if prompt_indices is not None else list(range(len(prompts)))
    sizes = [samples] * len(prompts) if isinstance(samples, int) else list(samples)
    prompt_ids = [encode_prompt(tokenizer, prompt, max_prompt_tokens) for prompt in prompts]
    way = _checked_way(model, prompt_ids, settings, names)
    drawn: dict[int, DrawnCompletions] = {}
    groups = [group_of(model, way, len(ids)) for ids in prompt_ids]
    for chosen in _batches(prompt_ids, sizes, batch_rows, groups):
        numbers = [
            uniforms(seed, indices[row], first_sample + number, settings.max_new_tokens)
            for row in chosen
            for number in range(sizes[row])
        ]
        ids, size_of_each = [prompt_ids[row] for row in chosen], [sizes[row] for row in chosen]
        endings = endings_of(model, tokenizer, settings, [prompts[row] for row in chosen for _ in range(sizes[row])])
        rows = iter(DRAW[way](model, SampleRequest(ids, size_of_each, torch.stack(numbers), settings, endings)))
        drawn |= {row: list(islice(rows, sizes[row])) for row in chosen}
    whole = [completion for row in range(len(prompts)) for completion in drawn.get(row, ())]  # size 0: in no batch
    completion_ids = [tokens for tokens, _ in whole]
    row_prompts = [prompt for prompt, size in zip(prompts, sizes, strict=True) for _ in range(size)]
    texts, ended = completion_texts(model, tokenizer, row_prompts, completion_ids, settings)
    logps = [values for _, values in whole]
    padded = torch.nn.utils.rnn.pad_sequence(logps, batch_first=True) if whole else torch.zeros(0, 0)
    return Rollout(list(prompts), sizes, prompt_ids, completion_ids, texts, padded, ended, indices)


def generate_shared(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    settings: SamplingSettings,
    *,
    names: Sequence[str] = (),
    **options: Any,
) -> Rollout:
    """`generate` with the prompts shared among the processes; all of them get all completions, in the prompts' order.

    A sample does not depend on the number of processes, see `generate`, which takes the `options`.

    Raises:
        BadInput: a prompt leaves no room for `max_new_tokens` among the model's positions; names the prompt.
    """
    mine = shard(range(len(prompts)))
    own = generate(
        model,
        tokenizer,
        [prompts[place] for place in mine],
        settings,
        prompt_indices=mine,
        names=[names[place] for place in mine] if names else (),
        **options,
    )
    return sorted_rollout(join_rollouts(*gathered(own)))


def sampled_texts(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    settings: SamplingSettings,
    *,
    seed: int,
    samples: int = 1,
    max_prompt_tokens: int = 512,
    batch_rows: int = 64,
    names: Sequence[str] = (),
) -> list[list[str]]:
    """Texts of `samples` completions of each prompt, independent of the number of processes; see `generate`.

    Raises:
        BadInput: a prompt leaves no room for `max_new_tokens` among the model's positions; names the prompt.
    """
    rollout = generate_shared(
        model,
        tokenizer,
        prompts,
        settings,
        seed=seed,
        samples=samples,
        max_prompt_tokens=max_prompt_tokens,
        batch_rows=batch_rows,
        names=names,
    )
    return [rollout.texts[rows.start : rows.stop] for rows in rollout.rows_of]


def _checked_way(
    model: PreTrainedModel, prompt_ids: Sequence[Sequence[int]], settings: SamplingSettings, names: Sequence[str]
) -> SamplingMethod:
    """Sampling method for the prompts. Refuses prompts that leave no room for their completions, the longest first."""
    for place in sorted(range(len(prompt_ids)), key=lambda place: -len(prompt_ids[place])):
        name = names[place] if names else ""
        check_sampling(model, len(prompt_ids[place]), settings.max_new_tokens, name)
    if not prompt_ids:
        return SamplingMethod.PADDED
    return way_of(model, max(map(len, prompt_ids)) + settings.max_new_tokens)


def _batches(
    prompt_ids: Sequence[Sequence[int]], sizes: Sequence[int], batch_rows: int, groups: Sequence[int]
) -> Iterator[list[int]]:
    """Batches of prompts of one group and similar length, with at most `batch_rows` completions or a single prompt."""
    chosen: list[int] = []
    for row in sorted(range(len(prompt_ids)), key=lambda row: len(prompt_ids[row])):
        if sizes[row] == 0:
            continue
        full = chosen and sum(sizes[prompt] for prompt in chosen) + sizes[row] > batch_rows
        if full or (chosen and groups[row] != groups[chosen[0]]):
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
    """Text of each completion up to a stop string, and True if it ended by itself."""
    endings = end_tokens(model, tokenizer)
    texts, ended = [], []
    for prompt, tokens in zip(prompts, completion_ids, strict=True):
        text, cut = text_before_stop(tokenizer, prompt, tokens, settings)
        texts.append(text)
        ended.append(cut or (bool(tokens) and tokens[-1] in endings))
    return texts, ended


def end_tokens(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Ids that end a completion, from the tokenizer and the model's generation settings.

    Ids without a logit are left out: the model never draws them.
    """
    configured: Any = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    listed = configured if isinstance(configured, list) else [configured]
    known = vocabulary_of(model)
    ends = {int(token) for token in [tokenizer.eos_token_id, *listed] if token is not None}
    return sorted(token for token in ends if 0 <= token < known)


def endings_of(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, settings: SamplingSettings, row_prompts: Sequence[str]
) -> StopConditions:
    """Stop conditions of the completions to draw, one completion for each of the prompts."""
    tokens = torch.tensor(end_tokens(model, tokenizer), dtype=torch.long, device=model.device)
    stopped = partial(_stopped, tokenizer, settings, row_prompts)
    return StopConditions(tokens, stopped, int(tokenizer.pad_token_id or 0))


def _stopped(
    tokenizer: PreTrainedTokenizerBase,
    settings: SamplingSettings,
    row_prompts: Sequence[str],
    tokens_RT: Tensor,
    row_R: Tensor,
) -> Tensor:
    """True (R,) for rows whose text holds a stop string, from their tokens and places."""
    is_stopped = torch.zeros(len(tokens_RT), dtype=torch.bool, device=tokens_RT.device)
    if settings.stop:
        words = [word.strip(" ") for word in settings.stop]  # `batch_decode` may write other spaces at the border
        texts = tokenizer.batch_decode(tokens_RT.tolist(), skip_special_tokens=True, clean_up_tokenization_spaces=False)
        for place, (text, tokens, row) in enumerate(zip(texts, tokens_RT.tolist(), row_R.tolist(), strict=True)):
            if any(word in text for word in words):  # decoding after the prompt is slow, and few get here
                is_stopped[place] = text_before_stop(tokenizer, row_prompts[row], tokens, settings)[1]
    return is_stopped


def text_before_stop(
    tokenizer: PreTrainedTokenizerBase, prompt: str, tokens: Sequence[int], settings: SamplingSettings
) -> tuple[str, bool]:
    """Text of a completion up to the first stop string, and True if there is one.

    A stop string begins after the text of the first `min_new_tokens` tokens. The space between prompt and completion is
    no part of the text.
    """
    text = decode_completion(tokenizer, prompt, tokens)
    if not settings.stop:
        return text, False
    least = len(decode_completion(tokenizer, prompt, tokens[: settings.min_new_tokens]))
    places = [place for word in settings.stop if (place := text.find(word, least)) >= 0]
    return (text[: min(places)], True) if places else (text, False)


def until_stop(
    tokenizer: PreTrainedTokenizerBase, prompt: str, tokens: Sequence[int], settings: SamplingSettings
) -> list[int]:
    """Tokens up to and including the token that completes the first stop string."""
    if not text_before_stop(tokenizer, prompt, tokens, settings)[1]:
        return list(tokens)
    lengths = range(1, len(tokens) + 1)
    least = next(n for n in lengths if text_before_stop(tokenizer, prompt, tokens[:n], settings)[1])
    return list(tokens[:least])
