"""Completions for evaluations: the processes of a stage share the prompts, and all of them get every text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipeline_core.models.distributed import gathered, shard
from pipeline_core.models.sampling.sample import generate
from pipeline_core.models.sampling.settings import SamplingSettings

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


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
    """Texts of `samples` completions of every prompt, the same for any number of processes; see `generate`.

    Raises:
        BadInput: for a prompt that leaves no room for `max_new_tokens` among the model's positions; by its name.
    """
    mine = shard(range(len(prompts)))
    rollout = generate(
        model,
        tokenizer,
        [prompts[place] for place in mine],
        settings,
        seed=seed,
        samples=samples,
        prompt_indices=mine,
        max_prompt_tokens=max_prompt_tokens,
        batch_rows=batch_rows,
        names=[names[place] for place in mine] if names else (),
    )
    texts = {place: rollout.texts[own.start : own.stop] for place, own in zip(mine, rollout.rows_of, strict=True)}
    everything = {place: of_one for part in gathered(texts) for place, of_one in part.items()}
    return [everything[place] for place in range(len(prompts))]
