"""Reward `tfidf_ridge`: ridge regression of scores on TF-IDF features of prompt and completion.

A word in the completion and the same word in the prompt are different features; n-grams can cross the boundary. Prompt
and completion are normalised separately, so that a long prompt does not dilute a short completion.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from pipeline_core.data.refs import DataRefs, TakesRows
from pipeline_core.data.words import WordFeatures
from pipeline_core.errors import BadInput
from pipeline_core.export.rewards import export_words
from pipeline_core.plugin.context import Inputs, StageContext
from pipeline_core.plugin.hooks import hookimpl
from pipeline_core.plugin.specs import PluginConfig, RewardModel
from pipeline_core.plugin.types import Metrics, RewardFn
from pipeline_core.rewards.layout import FACTS, facts_of
from pipeline_core.rewards.measuring import reward_metrics
from pipeline_core.rewards.scored_text import ScoredText, hold_out
from pipeline_core.rewards.sources import given_text

if TYPE_CHECKING:
    from torch import Tensor


class TfidfRidgeConfig(PluginConfig):
    """Ridge regression on TF-IDF of word n-grams."""

    shares_work: ClassVar[bool] = False
    row_kinds: ClassVar[tuple[str, ...]] = ("preference", "scored")

    name: Literal["tfidf_ridge"] = "tfidf_ridge"
    data: Annotated[DataRefs, TakesRows("preference", "scored")] = ()
    """Training rows from one or several catalog entries, preference or scored. Default: the pipeline's rows. Scores are
    mapped to 0 to 1 by the entry's `score_range` and reversed if its `score_better` is `lower`."""
    target: Literal["pair", "label"] = "pair"
    """Targets of chosen and rejected in a preference row. `pair`: 1 and 0; `label`: `label` and 1 - `label`."""
    ngrams: int = Field(2, ge=1, le=4)
    """Longest word n-gram. 1 generalises best from little data and is the hardest for a policy to exploit."""
    min_count: int = Field(2, ge=1)
    """Smallest number of texts in which an n-gram must occur."""
    max_features: int = Field(200_000, ge=1)
    """Largest number of n-grams; the most frequent are kept."""
    l2: float = Field(3.0, gt=0)
    """Ridge penalty."""
    held_out: float = Field(0.1, ge=0, lt=1)
    """Share of the templates (of the prompts, if templates are few) held out to measure the reward on."""
    clip: bool = True
    """Clip scores to the range of the training scores; a policy would exploit extrapolated scores."""


def run(config: TfidfRidgeConfig, inputs: Inputs, out: Path, context: StageContext) -> Metrics:
    """Fit on the texts that are not held out, and measure on the held-out texts."""
    if not context.is_main:
        return {}
    train, held = hold_out(given_text(inputs, config.data, config.target), config.held_out, context.seed)
    features = WordFeatures.learn(
        train.prompts, train.completions, config.ngrams, config.min_count, config.max_features
    )
    _write(config, features, train, out)
    sizes = {"train/texts": float(len(train)), "train/features": float(len(features.terms))}
    return sizes | reward_metrics(load(out, "cpu"), out, held, train, seed=context.seed, fitted=True)


def _write(config: TfidfRidgeConfig, features: WordFeatures, train: ScoredText, out: Path) -> None:
    """Fit, and write `reward.json` (n-grams, range) and `weights.safetensors` (idf, weights, intercept)."""
    from safetensors.numpy import save_file
    from sklearn.linear_model import Ridge
    from threadpoolctl import threadpool_limits

    # sparse features stay sparse; the default tolerance of 1e-4 stops in the fourth digit
    ridge = Ridge(alpha=config.l2, solver="lsqr", tol=1e-8)
    # One thread, because a different summation order changes the last digits and so the artifact's bytes.
    with threadpool_limits(1):
        ridge.fit(features.transform(train.prompts, train.completions), train.scores_N.astype(np.float64))
    limits = [float(train.scores_N.min()), float(train.scores_N.max())] if config.clip else None
    facts = {"ngrams": features.ngrams, "limits": limits, "terms": features.terms}
    (out / FACTS).write_text(json.dumps(facts, ensure_ascii=False, indent=0) + "\n", encoding="utf-8")
    numbers = {"idf": features.idf_F, "weights": ridge.coef_, "intercept": np.array([ridge.intercept_])}
    save_file({name: value.astype(np.float32) for name, value in numbers.items()}, out / "weights.safetensors")


def load(folder: Path, device: str) -> RewardFn:  # noqa: ARG001 - a sparse product needs no GPU
    """Raw score of the fitted regression."""
    import torch
    from safetensors.numpy import load_file

    facts = facts_of(folder)
    numbers = load_file(folder / "weights.safetensors")
    if len(facts["terms"]) != len(numbers["weights"]):
        raise BadInput(f"{folder}: {len(facts['terms'])} n-grams and {len(numbers['weights'])} weights")
    features = WordFeatures(facts["ngrams"], facts["terms"], numbers["idf"].astype(np.float64))
    low, high = facts["limits"] or (-np.inf, np.inf)

    def score(prompts: Sequence[str], completions: Sequence[str]) -> Tensor:
        if not prompts:
            return torch.zeros(0)  # scikit-learn's `normalize` refuses a matrix without rows
        scores_N = features.transform(prompts, completions) @ numbers["weights"] + numbers["intercept"]
        return torch.from_numpy(np.clip(scores_N, low, high).astype(np.float32))

    return score


@hookimpl
def register_reward_models() -> list[RewardModel]:
    """Register `tfidf_ridge`."""
    example = {"min_count": 1}
    return [
        RewardModel(
            TfidfRidgeConfig,
            run,
            revision=2,
            example=example,
            load=load,
            batch_free=True,
            export=export_words,
            scale=lambda _: "unit",  # scores are fitted to targets from 0 to 1
        )
    ]
