"""Reward `ensemble`: mean or minimum of the standardised scores of several rewards.

A policy that exploits a fault of one member gains little, because the others count too (arXiv 2310.02743: mean and
worst case). Differs from the paper in: members may be of different kinds, so their scores are standardised first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from pipeline_core.data.refs import DataRefs, TakesRows
from pipeline_core.errors import BadInput
from pipeline_core.export.rewards import export_ensemble
from pipeline_core.plugin.context import Inputs, StageContext
from pipeline_core.plugin.hooks import hookimpl
from pipeline_core.plugin.specs import CombiningConfig, RewardModel
from pipeline_core.plugin.types import Metrics, RewardFn
from pipeline_core.rewards.ensembles import choose, hold_apart, keep_parts, open_parts
from pipeline_core.rewards.layout import facts_of, write_facts
from pipeline_core.rewards.measuring import reward_metrics
from pipeline_core.rewards.scored_text import ScoredText, some_of

if TYPE_CHECKING:
    from torch import Tensor

FEWEST_TEXTS = 20
"""Smallest number of held-out texts to standardise on; with fewer, the texts that are not held out are used."""


class EnsembleConfig(CombiningConfig):
    """Mean or minimum of the standardised scores of rewards listed before this one."""

    shares_work: ClassVar[bool] = False
    row_kinds: ClassVar[tuple[str, ...]] = ("preference", "scored")

    name: Literal["ensemble"] = "ensemble"
    members: tuple[str, ...] = ()
    """Labels of the rewards to combine. Default: all rewards listed before this one."""
    combine: Literal["mean", "worst"] = "mean"
    """`mean`: mean of the members' scores; `worst`: their minimum."""
    data: Annotated[DataRefs, TakesRows("preference", "scored")] = ()
    """Labelled rows to standardise scores on and to decide the sign. Default: the pipeline's rows. Use the members' own
    rows, `held_out` and seed, so that the same rows are held out. If a member's differ, it may have learned from rows
    held out here: then `sign/held_out` is 0, and there are no metrics on held-out rows."""
    held_out: float = Field(0.1, ge=0, lt=1)
    """Share of the templates (of the prompts, if templates are few) held out to measure the reward on."""
    texts: int = Field(2000, ge=2)
    """Largest number of texts to standardise scores on. Held-out texts are used, because scores of training texts have
    a different spread; with fewer than `FEWEST_TEXTS` of them, the texts that are not held out. Labels are not used."""

    def takes(self, before: Sequence[str]) -> list[str]:
        """Labels of the members."""
        return choose(before, self.members)


def run(config: EnsembleConfig, inputs: Inputs, out: Path, context: StageContext) -> Metrics:
    """Write the members with mean and standard deviation of their scores, and measure the combined reward."""
    if not context.is_main:
        return {}
    labels = config.takes(list(inputs.part_folders))
    learned, _, held, known = hold_apart(inputs, labels, config.data, config.held_out, context.seed)
    keep_parts(inputs, labels, out)
    members = open_parts(out, context.device, inputs.reward_specs)
    unseen = held if len(held) >= FEWEST_TEXTS else learned
    scales = standards(members, some_of(unseen, config.texts, context.seed))
    write_facts({"combine": config.combine, "scales": scales}, out)
    raw = together(members, scales, config.combine)
    measured = reward_metrics(raw, out, held, known, seed=context.seed, own_scale=True, fitted=True)
    return {"members": float(len(labels))} | measured


def standards(members: Mapping[str, RewardFn], text: ScoredText) -> dict[str, tuple[float, float]]:
    """Mean and standard deviation of each member's scores of the texts.

    Raises:
        BadInput: a member gives all texts the same score.
    """
    scales = {}
    for label, member in members.items():
        scores = member(text.prompts, text.completions).double()
        scales[label] = scores.mean().item(), scores.std(correction=0).item()
        if not scales[label][1] > 0:  # also true for NaN
            raise BadInput(f"the reward {label!r} gives {len(text)} texts the same score: leave it out of `members`")
    return scales


def together(
    members: Mapping[str, RewardFn], scales: Mapping[str, Sequence[float]], combine: Literal["mean", "worst"]
) -> RewardFn:
    """Combined reward: mean or minimum of the members' standardised scores."""
    import torch

    def score(prompts: Sequence[str], completions: Sequence[str]) -> Tensor:
        standard = [
            (member(prompts, completions) - scales[label][0]) / scales[label][1] for label, member in members.items()
        ]
        scores_MN = torch.stack(standard)
        return scores_MN.mean(0) if combine == "mean" else scores_MN.min(0).values

    return score


def load(folder: Path, device: str) -> RewardFn:
    """Combined reward from an artifact; each member's sign is applied."""
    facts = facts_of(folder)
    return together(open_parts(folder, device), facts["scales"], facts["combine"])


@hookimpl
def register_reward_models() -> list[RewardModel]:
    """Register `ensemble`."""
    return [RewardModel(EnsembleConfig, run, revision=2, load=load, combines=True, export=export_ensemble)]
