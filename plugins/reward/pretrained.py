"""A reward model that somebody else trained, with its sign decided on labelled pairs.

Published scorers seldom say whether a larger number is better: a model whose sign the pairs cannot decide is refused.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

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
from pipeline_core.rewards.truncation import cut_by_tokens

if TYPE_CHECKING:
    from pipeline_core.rewards.scored_text import ScoredText


class PretrainedConfig(PublishedModelConfig):
    """A sequence classifier from a local folder or the hub, as a score."""

    row_kinds: ClassVar[tuple[str, ...]] = ("preference", "scored")
    learns: ClassVar[bool] = False
    stage: ClassVar[str] = "reward"

    name: Literal["pretrained"] = "pretrained"
    model: str = Field(min_length=1)
    """A folder (`/...`, `./...`, `~/...`) or a hub id with a classification or regression head."""
    output: int | str | None = None
    """Which output is the score, by number or by label; needed when the model has several."""
    reads: Literal["pair", "joined", "completion", "rendered"] = "joined"
    """Prompt and completion as two segments, as one text, or the completion alone: what the model was trained on.
    `rendered`: one text that a chat template rendered: control tokens named in it are meant; else they are text."""
    max_length: int = Field(256, ge=4)
    """Longest text in tokens; longer ones lose their beginning."""
    data: Annotated[DataRefs, TakesRows("preference", "scored")] = ()
    """Labelled rows, of a catalog entry or of a list of them, whose pairs decide the sign; the pipeline's when not
    given."""
    pairs: int = Field(500, ge=10)
    """Pairs that are scored for it, the first ones of a seeded order."""
    alpha: float = Field(0.01, gt=0, lt=1)
    """Largest p-value at which the sign counts as decided."""


def run(config: PretrainedConfig, inputs: Inputs, out: Path, context: StageContext) -> Metrics:
    """Copy the model, score labelled pairs, and write down the sign they decide."""
    import torch

    from pipeline_core.rewards.measuring import reward_metrics
    from pipeline_core.rewards.sources import given_text
    from pipeline_core.rewards.truncation import held_out_truncated

    if not context.is_main:
        return {}
    text = _some_pairs(given_text(inputs, config.data), config.pairs, context.seed)
    model, tokenizer, column = open_classifier(config.folder(), config.output, config.max_length)
    model.to(torch.device(context.device))  # type: ignore[arg-type]
    raw = scorer(model, tokenizer, column, config.reads, config.max_length, context.device)
    measured = reward_metrics(raw, out, text, seed=context.seed, own_scale=True, alpha=config.alpha)
    _check_decided(measured, config)
    save_classifier(model, tokenizer, column, config.reads, config.max_length, out)
    return measured | held_out_truncated(out, text)


def _some_pairs(text: ScoredText, most: int, seed: int) -> ScoredText:
    """The texts of `most` pairs alone, the first of a seeded order."""
    import numpy as np

    from pipeline_core.rewards.sign import deciding_pairs

    pairs_P2 = deciding_pairs(text, seed)
    chosen = np.random.default_rng(seed).permutation(len(pairs_P2))[:most]
    keep_N = np.zeros(len(text), dtype=bool)
    keep_N[pairs_P2[chosen].ravel()] = True
    return text.take(keep_N)


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
