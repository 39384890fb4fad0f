"""The stages of a run and what each needs, known before anything is carried out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pipeline_core.catalog import DataRef
from pipeline_core.config import PipelineConfig, label_of, policy_order
from pipeline_core.registry import Registry
from pipeline_core.specs import Evaluation, PluginConfig, PolicyOptimizer


@dataclass(frozen=True)
class PlannedStage:
    """One stage of the plan. `needs` maps a role (`model`, `preferences`, ...) to the id of the stage that makes it.

    An evaluation has the label of the model it measures and that model's seed as `model_seed` (None for the base); its
    own `seed` is the same for all models, so that all are asked the same.
    """

    id: str
    stage: str
    label: str
    seed: int
    config: PluginConfig
    needs: Mapping[str, str] = field(default_factory=dict)
    data: DataRef | None = None
    suite: str = ""
    model_seed: int | None = None

    @property
    def record_seed(self) -> int:
        """The seed that tells it apart in records: the measured model's, else its own."""
        return self.seed if self.model_seed is None else self.model_seed


def plan(config: PipelineConfig, registry: Registry) -> list[PlannedStage]:
    """All stages of `config`; every stage comes after those it needs, and no two share an id."""
    stages = _shared_stages(config)
    policies = _policy_stages(config, registry, {stage.stage for stage in stages})
    stages = [*stages, *policies, *_evaluations(config, registry, policies)]
    assert len({stage.id for stage in stages}) == len(stages), "two stages have one id"
    return stages


def _shared_stages(config: PipelineConfig) -> list[PlannedStage]:
    stages = [PlannedStage("base", "base", label_of(config.base), config.seed, config.base)]
    if config.extend:
        stages.append(
            PlannedStage("extend", "extend", label_of(config.extend), config.seed, config.extend, data=config.data)
        )
    if config.reward:
        needs = {"preferences": "extend"} if config.extend else {}
        data = None if config.extend else config.data
        stages.append(
            PlannedStage("reward", "reward", label_of(config.reward), config.seed, config.reward, needs, data)
        )
    return stages


def _policy_stages(config: PipelineConfig, registry: Registry, present: set[str]) -> list[PlannedStage]:
    stages = []
    for entry in policy_order(config):
        spec = registry.get("policy", entry.name)
        assert isinstance(spec, PolicyOptimizer)
        for seed in config.seeds:
            start = _policy_id(entry.start_from, seed, config) if entry.start_from else "base"
            needs = {"model": start, "reference": start}
            if "extend" in present:
                needs["preferences"] = "extend"
            if spec.needs_reward:
                needs["reward"] = "reward"
            data = None if "extend" in present else config.data
            label = label_of(entry)
            stages.append(PlannedStage(_policy_id(label, seed, config), "policy", label, seed, entry, needs, data))
    return stages


def _policy_id(label: str, seed: int, config: PipelineConfig) -> str:
    return f"policy:{label}" + (f":seed{seed}" if len(config.seeds) > 1 else "")


def _evaluations(config: PipelineConfig, registry: Registry, policies: list[PlannedStage]) -> list[PlannedStage]:
    measured: list[tuple[str, str, int | None, str]] = [("base", "base", None, "base")]
    measured += [(stage.id, stage.label, stage.seed, stage.needs["reference"]) for stage in policies]
    stages = []
    for model_id, label, model_seed, start in measured:
        for entry in config.evaluate:
            spec = registry.get("evaluate", entry.name)
            assert isinstance(spec, Evaluation)
            needs = {"model": model_id}
            if spec.needs_reference:
                needs["reference"] = start if getattr(entry, "reference", "base") == "start" else "base"
            if spec.needs_reward:
                needs["reward"] = "reward"
            suite = label_of(entry)
            name = f"evaluate:{suite}:{model_id.removeprefix('policy:')}"
            stages.append(
                PlannedStage(name, "evaluate", label, config.seed, entry, needs, suite=suite, model_seed=model_seed)
            )
    return stages
