"""Reward `pretrained`: a published sequence classifier, with its sign decided on labelled pairs.

Published scorers seldom document if a larger number is better; a model whose sign stays undecided is refused.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from pipeline_core.data.refs import DataRefs, TakesRows
from pipeline_core.errors import BadInput
from pipeline_core.export.rewards import export_classifier
from pipeline_core.models.published import PublishedModelConfig
from pipeline_core.plugin.context import Inputs, StageContext
from pipeline_core.plugin.hooks import hookimpl
from pipeline_core.plugin.specs import RewardModel
from pipeline_core.plugin.types import Metrics
from pipeline_core.rewards.classifiers import load, open_classifier, save_classifier, scale, scorer
from pipeline_core.rewards.measuring import reward_metrics
from pipeline_core.rewards.scored_text import ScoredText
from pipeline_core.rewards.sign import deciding_pairs
from pipeline_core.rewards.sources import given_text
from pipeline_core.rewards.truncation import cut_by_tokens, held_out_truncated


class PretrainedConfig(PublishedModelConfig):
    """Sequence classifier from a local folder or the hub, used as a score."""

    shares_work: ClassVar[bool] = False
    row_kinds: ClassVar[tuple[str, ...]] = ("preference", "scored")
    learns: ClassVar[bool] = False
    stage: ClassVar[str] = "reward"

    name: Literal["pretrained"] = "pretrained"
    model: str = Field(min_length=1)
    """Folder (`/...`, `./...`, `~/...`) or hub id of a model with a classification or regression head."""
    output: int | str | None = None
    """Number or label of the output that is the score; required if the model has several."""
    reads: Literal["pair", "joined", "completion", "rendered"] = "joined"
    """Input of the model, as in its training. `pair`: prompt and completion as two segments; `joined`: as one text;
    `completion`: no prompt; `rendered`: a chat-template text, where names of control tokens are tokens (else text)."""
    max_length: int = Field(256, ge=4)
    """Longest text in tokens; longer texts lose their beginning."""
    data: Annotated[DataRefs, TakesRows("preference", "scored")] = ()
    """Labelled rows, from one or several catalog entries, whose pairs decide the sign. Default: the pipeline's rows."""
    pairs: int = Field(500, ge=10)
    """Largest number of pairs to decide the sign on, drawn with the seed."""
    alpha: float = Field(0.01, gt=0, lt=1)
    """Largest p-value at which the sign counts as decided."""


def run(config: PretrainedConfig, inputs: Inputs, out: Path, context: StageContext) -> Metrics:
    """Copy the model, score labelled pairs, and record the sign that they decide."""
    import torch

    if not context.is_main:
        return {}
    text = _some_pairs(given_text(inputs, config.data), config.pairs, context.seed)
    model, tokenizer, column = open_classifier(config.folder(), config.output, config.max_length)
    model.to(torch.device(context.device))  # type: ignore[arg-type]
    raw = scorer(model, tokenizer, column, config.reads, config.max_length, context.device)
    measured = reward_metrics(raw, out, text, seed=context.seed, own_scale=True, alpha=config.alpha)
    _check_decided(measured, config)  # refused here, and not by the first stage that opens it
    save_classifier(model, tokenizer, column, config.reads, config.max_length, out)
    return measured | held_out_truncated(out, text)


def _some_pairs(text: ScoredText, most: int, seed: int) -> ScoredText:
    """Texts of at most `most` pairs, drawn by `seed`."""
    pairs_P2 = deciding_pairs(text, seed)
    return text.take(np.random.default_rng(seed).permutation(pairs_P2)[:most].ravel())


def _check_decided(measured: Metrics, config: PretrainedConfig) -> None:
    if not measured["sign"]:
        raise BadInput(
            f"the sign of {config.model} is undecided on {measured['sign/pairs']:g} labelled pairs (ties left out, "
            f"pairs of one unit counted once; two-sided binomial test, "
            f"p = {measured['sign/p_value']:.3g} > {config.alpha:g}); "
            "give more pairs, other `reads`, or another `output`"
        )


@hookimpl
def register_reward_models() -> list[RewardModel]:
    """Register `pretrained`."""
    return [
        RewardModel(
            PretrainedConfig,
            run,
            revision=6,
            sources=PretrainedConfig.sources,
            load=load,
            cut=cut_by_tokens,
            export=export_classifier,
            scale=scale,
        )
    ]
