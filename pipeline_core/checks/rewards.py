"""Checks the rewards that score an evaluation's texts: their scores must be probabilities."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline_core.errors import BadInput, UnknownName
from pipeline_core.pipeline.config import PipelineConfig, label_of
from pipeline_core.plugin.specs import RewardModel, ScoringConfig
from pipeline_core.rewards.scorers import no_probability

if TYPE_CHECKING:
    from pipeline_core.plugin.registry import Registry


def check_scorers(config: PipelineConfig, registry: Registry) -> None:
    """Check that the scorers of evaluations are rewards of the run whose plugins give probabilities.

    Raises:
        UnknownName: unknown label; BadInput: the reward gives no probabilities. Both name the place.
    """
    plugin_of = {label_of(entry): entry.name for entry in config.reward}
    for place, suite in enumerate(config.evaluate):
        if not isinstance(suite, ScoringConfig):
            continue
        where = f"evaluate.{place}.scorers ({label_of(suite)})"
        for label in suite.scorers or list(plugin_of)[-1:]:
            if label not in plugin_of:
                raise UnknownName("reward", label, plugin_of, where)
            if RewardModel.named(registry, plugin_of[label]).scale is None:
                raise BadInput(f"{where}: {no_probability(label, plugin_of[label], registry)}")
