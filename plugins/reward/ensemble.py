"""A reward from several: the mean of their standardised scores, or the worst of them.

A policy that exploits a fault of one member gains nothing where the others count too (arXiv 2310.02743: mean and worst
case). Differs from the paper in: members may be of different kinds, so their scores are standardised first.
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
from pipeline_core.rewards.ensembles import choose
from pipeline_core.rewards.layout import facts_of, write_facts

if TYPE_CHECKING:
    from torch import Tensor

    from pipeline_core.rewards.scored_text import ScoredText


FEWEST_TEXTS = 20
"""With fewer held-out texts a spread is too uncertain, and is taken of those not held out."""


class EnsembleConfig(CombiningConfig):
    """The mean or the worst of the standardised scores of rewards that stand before it."""

    row_kinds: ClassVar[tuple[str, ...]] = ("preference", "scored")

    name: Literal["ensemble"] = "ensemble"
    members: tuple[str, ...] = ()
    """Labels of the rewards to combine; all that stand before it when not given."""
    combine: Literal["mean", "worst"] = "mean"
    """The mean of the members' scores, or the smallest of them."""
    data: Annotated[DataRefs, TakesRows("preference", "scored")] = ()
    """Labelled rows that scores are standardised on and that decide the sign; the pipeline's when not given. Give the
    members' own: with the same `held_out` and seed, the same rows are held out. Where a member has others, what is held
    out here may be what it learned from: then `sign/held_out` is 0, and there are no figures on held-out rows."""
    held_out: float = Field(0.1, ge=0, lt=1)
    """Share of the templates (of the prompts, where templates are few) kept apart to measure the reward on."""
    texts: int = Field(2000, ge=2)
    """At most so many texts that scores are standardised on: held-out ones, since a member's scores of what it learned
    from have another spread. Labels play no part. Others where less than `FEWEST_TEXTS` are held out."""

    def takes(self, before: Sequence[str]) -> list[str]:
        """The members."""
        return choose(before, self.members)


def run(config: EnsembleConfig, inputs: Inputs, out: Path, context: StageContext) -> Metrics:
    """Keep the members with the mean and spread of their scores, and measure what they say together."""
    from pipeline_core.rewards.ensembles import hold_apart, keep_parts, open_parts
    from pipeline_core.rewards.measuring import reward_metrics
    from pipeline_core.rewards.scored_text import some_of

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
    """Mean and standard deviation of every member's scores of the texts.

    Raises:
        BadInput: for a member that gives all texts the same score.
    """
    scales = {}
    for label, member in members.items():
        scores = member(text.prompts, text.completions).double()
        scales[label] = scores.mean().item(), scores.std(correction=0).item()
        if not scales[label][1] > 0:
            raise BadInput(f"the reward {label!r} gives {len(text)} texts the same score: leave it out of `members`")
    return scales


def together(
    members: Mapping[str, RewardFn], scales: Mapping[str, Sequence[float]], combine: Literal["mean", "worst"]
) -> RewardFn:
    """The members' scores in standard deviations from their means, as one."""
    import torch

    def score(prompts: Sequence[str], completions: Sequence[str]) -> Tensor:
        standard = [
            (member(prompts, completions) - scales[label][0]) / scales[label][1] for label, member in members.items()
        ]
        scores_MN = torch.stack(standard)
        return scores_MN.mean(0) if combine == "mean" else scores_MN.min(0).values

    return score


def load(folder: Path, device: str) -> RewardFn:
    """The members' scores as one; each member's sign is respected."""
    from pipeline_core.rewards.ensembles import open_parts

    facts = facts_of(folder)
    return together(open_parts(folder, device), facts["scales"], facts["combine"])


@hookimpl
def register_reward_models() -> list[RewardModel]:
    """Register `ensemble`."""
    return [RewardModel(EnsembleConfig, run, revision=2, load=load, combines=True, export=export_ensemble)]
