"""Revisions of the core: which of its packages have changed results, and which plugins compute with which package."""

from __future__ import annotations

from collections.abc import Iterable

from pipeline_core.plugin.specs import Evaluation, PolicyOptimizer, Spec

CORE_REVISIONS = {
    "augmentation": 1,
    "data": 1,
    "evaluation": 1,
    "models": 1,
    "models.likelihood": 1,
    "models.sampling": 1,
    "quality": 1,
    "rewards": 1,
    "training": 1,
    "training.online": 1,
    "training.preference": 1,
}
"""Goes up for a package of the core when a change of it, or of what it imports, changes results for an unchanged
configuration. In the key of a stage are those of its plugin's packages (`packages_of`), of what these lie in, and of
`data` where the stage reads the catalog. A plugin's own change raises the `revision` of its spec."""
STAGE_REVISIONS = {"base": 2, "extend": 1, "reward": 4, "policy": 6, "evaluate": 7}
"""In every key of a stage. They count changes from the time before packages had revisions, and stay as they are."""

USUAL = {
    "base": ("models",),
    "extend": ("augmentation",),
    "reward": ("models", "rewards"),
    "policy": ("models", "training.preference"),
    "evaluate": ("evaluation", "models.likelihood", "models.sampling", "rewards"),
}
"""Packages that most plugins of a stage compute with."""
ONLINE = ("models.sampling", "rewards", "training.online")
LIKELIHOODS = ("evaluation", "models.likelihood")
CONTINUATIONS = ("evaluation", "models.sampling", "rewards")
SCORES = ("evaluation", "rewards")
"""Of policies with a reward; of suites that ask for likelihoods alone, that have a model continue texts, that measure
rewards."""


def packages_of(spec: Spec) -> tuple[str, ...]:
    """The packages of the core that a plugin computes with: those it names as its `core`, else the usual ones."""
    if isinstance(spec, PolicyOptimizer) and spec.needs_reward:
        return spec.core or ONLINE
    if isinstance(spec, Evaluation) and spec.subject == "reward":
        return spec.core or SCORES
    return spec.core or USUAL[spec.stage]


def raised(packages: Iterable[str]) -> dict[str, int]:
    """Revisions of packages and of what these lie in, without those that are 1: older keys hold none."""
    above = {name: number for name, number in CORE_REVISIONS.items() if number > 1}
    return {name: above[name] for name in above if any(f"{package}.".startswith(f"{name}.") for package in packages)}
