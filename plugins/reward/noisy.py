"""Reward `noisy`: adds Gaussian noise to another reward, to test how training depends on reward quality.

The error of a text is a function of the text and the seed, so a text always has the same error, as with a learned
reward; more samples of a prompt do not average it out.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from statistics import NormalDist
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from pipeline_core.data.refs import DataRefs, TakesRows
from pipeline_core.plugin.context import Inputs, StageContext
from pipeline_core.plugin.hooks import hookimpl
from pipeline_core.plugin.specs import RewardModel
from pipeline_core.plugin.types import Metrics, RewardFn
from pipeline_core.rewards.ensembles import OneRewardConfig, keep_parts, open_parts
from pipeline_core.rewards.layout import facts_of, write_facts
from pipeline_core.rewards.measuring import declared, reward_metrics
from pipeline_core.rewards.sources import given_text

if TYPE_CHECKING:
    from torch import Tensor


class NoisyConfig(OneRewardConfig):
    """Reward listed before this one, with Gaussian noise."""

    learns: ClassVar[bool] = False

    name: Literal["noisy"] = "noisy"
    noise: float = Field(1.0, ge=0)
    """Standard deviation of the noise, in standard deviations of the reward over the labelled texts."""
    data: Annotated[DataRefs, TakesRows("preference", "scored")] = ()
    """Labelled rows for the standard deviation of the reward, and to measure the accuracy of the noisy reward.
    Default: the pipeline's rows."""


def run(config: NoisyConfig, inputs: Inputs, out: Path, context: StageContext) -> Metrics:
    """Write the inner reward and the size of the noise, and measure the noisy reward."""
    if not context.is_main:
        return {}
    labels = config.takes(list(inputs.part_folders))
    text = given_text(inputs, config.data)
    keep_parts(inputs, labels, out)
    (whole,) = open_parts(out, context.device, inputs.reward_specs).values()
    spread = float(whole(text.prompts, text.completions).double().std(correction=0))
    facts = {"deviation": config.noise * spread, "seed": context.seed}
    write_facts(facts, out)
    raw = with_noise(whole, facts["deviation"], context.seed)
    measured = reward_metrics(raw, out, text, seed=context.seed, own_scale=True)
    # The sign of the inner reward is decided already; with noise a test could fail to detect it.
    return declared(1, measured, out) | {"noise/deviation": facts["deviation"]}


def with_noise(whole: RewardFn, deviation: float, seed: int) -> RewardFn:
    """Reward `whole` plus the error of each text."""
    import torch

    def score(prompts: Sequence[str], completions: Sequence[str]) -> Tensor:
        pairs = zip(prompts, completions, strict=True)
        return whole(prompts, completions) + torch.tensor([deviation * error(*pair, seed) for pair in pairs])

    return score


def error(prompt: str, completion: str, seed: int) -> float:
    """Standard normal number derived from a hash of the text and the seed."""
    written = json.dumps([seed, prompt, completion]).encode("utf-8", "surrogatepass")
    # + 0.5: the quantile of 0 is infinite
    uniform = (int.from_bytes(hashlib.blake2b(written, digest_size=7).digest()) + 0.5) / 2**56
    return NormalDist().inv_cdf(min(uniform, 1 - 2**-53))  # 56 bits may round to 1, whose quantile is infinite too


def load(folder: Path, device: str) -> RewardFn:
    """Noisy score; the sign of the inner reward is applied."""
    (whole,) = open_parts(folder, device).values()
    facts = facts_of(folder)
    return with_noise(whole, facts["deviation"], facts["seed"])


@hookimpl
def register_reward_models() -> list[RewardModel]:
    """Register `noisy`."""
    return [RewardModel(NoisyConfig, run, example={"of": "lexicon"}, load=load, combines=True)]
