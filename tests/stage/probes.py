"""Small plugins for tests of the core: they write real files and take no time."""

from pathlib import Path
from types import SimpleNamespace
from typing import Literal

from pipeline_core.plugin.hooks import hookimpl
from pipeline_core.plugin.registry import PluginOrigin, Registry
from pipeline_core.plugin.specs import (
    BaseModelSource,
    DataExtender,
    Evaluation,
    PluginConfig,
    PolicyConfig,
    PolicyOptimizer,
)

CALLS: list[str] = []
FAULTS = {
    "no file": lambda out: {"loss": 0.0},
    "no metrics": lambda out: None,
    "no number": lambda out: {"loss": "low"},
    "missing file": lambda out: (out / "missing.txt").read_text(),
}


class ProbeBase(PluginConfig):
    name: Literal["probe_base"] = "probe_base"
    size: int = 3


class ProbeExtend(PluginConfig):
    name: Literal["probe_extend"] = "probe_extend"


class ProbeMix(PluginConfig):
    name: Literal["probe_mix"] = "probe_mix"


class ProbePolicy(PolicyConfig):
    name: Literal["probe_policy"] = "probe_policy"
    beta: float = 0.5
    fail: str = ""


class ProbeRewarded(PolicyConfig):
    name: Literal["probe_rewarded"] = "probe_rewarded"


class ProbeEvaluation(PluginConfig):
    name: Literal["probe_suite"] = "probe_suite"


class ProbeRewardSuite(PluginConfig):
    name: Literal["probe_reward_suite"] = "probe_reward_suite"


def run_base(config, inputs, out: Path, context):
    CALLS.append("base")
    (out / "weights.txt").write_text(f"{context.seed} " * config.size)
    return {"size": config.size, "undefined": float("nan")}


def run_policy(config, inputs, out: Path, context):
    CALLS.append("policy")
    if config.fail in FAULTS:
        return FAULTS[config.fail](out)
    if config.fail:
        raise RuntimeError(config.fail)
    (out / "weights.txt").write_text((inputs.model / "weights.txt").read_text() + str(config.beta))
    context.events.log({"loss": 0.5, "perf/seconds": 1.0}, 1, 1)
    context.events.write_history(out)
    return {"loss": 0.5, "perf/tokens_per_second": 9.0}


def run_evaluation(config, inputs, out: Path, context):
    CALLS.append("evaluate")
    (out / "rows.txt").write_text((inputs.model / "weights.txt").read_text())
    return {"length": len((inputs.model / "weights.txt").read_text())}


class Probes:
    @hookimpl
    def register_base_models(self):
        return [BaseModelSource(ProbeBase, run_base)]

    @hookimpl
    def register_data_extenders(self):
        return [DataExtender(ProbeExtend, run_base), DataExtender(ProbeMix, run_base, combines=True)]

    @hookimpl
    def register_policy_optimizers(self):
        return [PolicyOptimizer(ProbePolicy, run_policy), PolicyOptimizer(ProbeRewarded, run_policy, needs_reward=True)]

    @hookimpl
    def register_evaluations(self):
        return [
            Evaluation(ProbeEvaluation, run_evaluation),
            Evaluation(ProbeRewardSuite, run_evaluation, subject="reward"),
        ]


def origin(module="probes", distribution="probe-package", version="1.0"):
    return PluginOrigin(module, distribution, version)


def probe_registry() -> Registry:
    """The built-in reward plugins are left out: a registry of the probes alone."""
    from pipeline_core.plugin.specs import RewardModel

    class ProbeReward(PluginConfig):
        name: Literal["probe_reward"] = "probe_reward"

    class ProbeEnsemble(PluginConfig):
        name: Literal["probe_ensemble"] = "probe_ensemble"

    specs = [RewardModel(ProbeReward, run_base), RewardModel(ProbeEnsemble, run_base, combines=True)]
    registry = Registry()
    registry.add(Probes(), origin())
    rewards = SimpleNamespace(register_reward_models=hookimpl(lambda: specs))
    registry.add(rewards, origin("rewards"))
    return registry
