"""The plan of a run: its stages and their inputs, before any stage runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pipeline_core.data.refs import DataRef
from pipeline_core.pipeline.config import PipelineConfig, label_of, policy_order, scorers_of
from pipeline_core.plugin.context import PART, REWARD
from pipeline_core.plugin.registry import Registry
from pipeline_core.plugin.specs import (
    Evaluation,
    PluginConfig,
    PolicyOptimizer,
    ReferenceConfig,
    ScoringConfig,
    taken_by,
)
from pipeline_core.stage.key import Job
from pipeline_core.stage.settings import ExecutionSettings
from pipeline_core.store.artifacts import ArtifactRef


@dataclass(frozen=True)
class PlannedStage:
    """A stage of the plan. `needs` maps a role (`model`, `preferences`, ...) to the id of the stage that makes it.

    An evaluation has the label of the measured model or reward, and the model's seed as `model_seed` (None for the
    base and for rewards). Its own `seed` is equal for all models, so that all get the same questions.
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
        """Seed shown in records: that of the measured model, else the stage's own."""
        return self.seed if self.model_seed is None else self.model_seed

    def job(self, made: Mapping[str, ArtifactRef], runner: ExecutionSettings) -> Job:
        """Job of this stage; `made` maps roles to artifacts."""
        return Job(
            stage=self.stage,
            config=self.config.model_dump(mode="json"),
            label=self.label,
            seed=self.seed,
            inputs=dict(made),
            data=self.data,
            runner=runner,
        )


def plan(config: PipelineConfig, registry: Registry) -> list[PlannedStage]:
    """All stages of `config`, each after the stages it needs, with unique ids."""
    base = [PlannedStage("base", "base", label_of(config.base), config.seed, config.base)] if config.base else []
    extensions = _extensions(config, registry)
    rows = extensions[-1].id if extensions else None
    rewards = _rewards(config, registry, rows)
    policies = _policies(config, registry, rows)
    stages = [*base, *extensions, *rewards, *policies, *_evaluations(config, registry, policies, rewards)]
    assert len({stage.id for stage in stages}) == len(stages), "two stages have one id"
    return stages


def _extensions(config: PipelineConfig, registry: Registry) -> list[PlannedStage]:
    """Extend stages. An entry reads the rows of the last combining entry before it, else the pipeline's own. The parts
    of a combining entry are the results of the entries since the last combining one, and that one's own.
    """
    stages: list[PlannedStage] = []
    rows: dict[str, str] = {}
    parts: dict[str, str] = {}
    for entry in config.extend:
        label, id_ = label_of(entry), _chain_id("extend", entry, config.extend)
        combines = registry.combines("extend", entry.name)
        needs = {PART + part: made for part, made in parts.items()} if combines else rows
        data = None if rows else config.data
        stages.append(PlannedStage(id_, "extend", label, config.seed, entry, needs, data))
        if combines:
            rows, parts = {"preferences": id_}, {label: id_}
        else:
            parts = parts | {label: id_}
    return stages


def _rewards(config: PipelineConfig, registry: Registry, rows: str | None) -> list[PlannedStage]:
    """Reward stages, all on the same rows. A combining reward takes earlier rewards: all, or those it names."""
    stages: list[PlannedStage] = []
    for entry in config.reward:
        needs = {"preferences": rows} if rows else {}
        if registry.combines("reward", entry.name):
            before = {stage.label: stage.id for stage in stages}
            needs |= {PART + label: before[label] for label in taken_by(entry, list(before))}
        data = None if rows else config.data
        id_ = _chain_id("reward", entry, config.reward)
        stages.append(PlannedStage(id_, "reward", label_of(entry), config.seed, entry, needs, data))
    return stages


def _chain_id(stage: str, entry: PluginConfig, entries: list[PluginConfig]) -> str:
    # A single entry has the id it had before chains (ADR 10): tracked runs and records name it so.
    return stage if len(entries) == 1 else f"{stage}:{label_of(entry)}"


def _policies(config: PipelineConfig, registry: Registry, rows: str | None) -> list[PlannedStage]:
    stages = []
    for entry in policy_order(config):
        spec = PolicyOptimizer.named(registry, entry.name)
        for seed in config.seeds:
            # Each seed goes on from the start of the same seed.
            start = _policy_id(entry.start_from, seed, config) if entry.start_from else "base"
            needs = {"model": start, "reference": start}
            if rows:
                needs["preferences"] = rows
            if spec.needs_reward:
                needs |= _reward_needs(entry.named_rewards(), config)
            data = None if rows else config.data
            label = label_of(entry)
            stages.append(PlannedStage(_policy_id(label, seed, config), "policy", label, seed, entry, needs, data))
    return stages


def _reward_needs(labels: Sequence[str], config: PipelineConfig) -> dict[str, str]:
    """Roles and stage ids of the rewards with these labels; without labels, the last reward as `reward`."""
    made = {label_of(entry): _chain_id("reward", entry, config.reward) for entry in config.reward}
    return {REWARD + label: made[label] for label in labels} if labels else {"reward": list(made.values())[-1]}


def _policy_id(label: str, seed: int, config: PipelineConfig) -> str:
    return f"policy:{label}" + (f":seed{seed}" if len(config.seeds) > 1 else "")


def _evaluations(
    config: PipelineConfig, registry: Registry, policies: list[PlannedStage], rewards: list[PlannedStage]
) -> list[PlannedStage]:
    suites: dict[str, list[tuple[PluginConfig, Evaluation]]] = {"model": [], "reward": []}
    for entry in config.evaluate:
        spec = Evaluation.named(registry, entry.name)
        suites[spec.subject].append((entry, spec))
    measured: list[tuple[str, str, int | None, str]] = [("base", "base", None, "base")] if config.base else []
    measured += [(stage.id, stage.label, stage.seed, stage.needs["reference"]) for stage in policies]
    stages: list[PlannedStage] = []

    def add(label: str, of: str, entry: PluginConfig, needs: Mapping[str, str], model_seed: int | None = None) -> None:
        suite, seed = label_of(entry), config.seed
        id_ = f"evaluate:{suite}:{of}"
        stages.append(PlannedStage(id_, "evaluate", label, seed, entry, needs, suite=suite, model_seed=model_seed))

    for model_id, label, model_seed, start in measured:
        for entry, spec in suites["model"]:
            needs = {"model": model_id}
            if spec.needs_reference:
                from_start = isinstance(entry, ReferenceConfig) and entry.reference == "start"
                needs["reference"] = start if from_start else "base"
            if spec.needs_reward:
                scorers = scorers_of(entry, config) if isinstance(entry, ScoringConfig) else ()
                needs |= _reward_needs(scorers, config)
            add(label, model_id.removeprefix("policy:"), entry, needs, model_seed)
    for reward in rewards:
        for entry, _ in suites["reward"]:
            add(reward.label, f"reward:{reward.label}", entry, {"reward": reward.id})
    return stages
