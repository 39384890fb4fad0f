"""Log-likelihoods of a model that many evaluations share (the reference), kept by content."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file, save_file

from pipeline_core.canonical import digest_of, digest_of_file
from pipeline_core.distributed import all_reduce_sum, barrier, world_size
from pipeline_core.loops.scoring import CompletionLogps, score_completions
from pipeline_core.modeling import Precision, load_model

if TYPE_CHECKING:
    from pipeline_core.context import StageContext

VERSION = 1
"""Goes up when the numbers for equal inputs change."""


def cached_scores(
    folder: Path,
    prompts: Sequence[str],
    completions: Sequence[str],
    context: StageContext,
    precision: Precision = "auto",
    **settings: Any,
) -> CompletionLogps:
    """`score_completions` of the model in `folder`; the model is only loaded when its scores are not in the cache.

    The cache is `context.scratch`; its key is made of the model's files, the texts, the settings and the device.
    """
    file = (
        context.scratch
        / "scores"
        / f"{_key(folder, prompts, completions, [context.device, precision, settings])}.safetensors"
    )
    found = all_reduce_sum(torch.tensor(float(file.is_file()), device=context.device))
    if int(found) == world_size():
        return CompletionLogps(**load_file(file))
    model, tokenizer = load_model(folder, context.device, precision)
    scored = score_completions(model, tokenizer, prompts, completions, **settings)
    if context.is_main:
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_suffix(f".{os.getpid()}.partial")
        save_file({"logps": scored.logps, "tokens": scored.tokens}, partial)
        partial.replace(file)
    barrier()
    return scored


def _key(folder: Path, prompts: Sequence[str], completions: Sequence[str], settings: list[Any]) -> str:
    files = {path.name: digest_of_file(path) for path in sorted(folder.iterdir()) if path.is_file()}
    return digest_of([VERSION, files, list(prompts), list(completions), settings])
