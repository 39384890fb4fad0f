"""Revisions of the core's packages, and the packages that each plugin computes with."""

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
"""Revision of each package of the core; raised when a change in it or its imports changes results for an unchanged
configuration. A stage's key contains those of its plugin's packages (`packages_of`), of their parent packages, and of
`data` if the stage reads the catalog. A change of a plugin itself raises the `revision` of its spec."""
STAGE_REVISIONS = {"base": 2, "extend": 1, "reward": 4, "policy": 6, "evaluate": 7}
"""Part of every stage key: counts of changes made before packages had revisions. Never changed any more."""

USUAL = {
    "base": ("models",),
    "extend": ("augmentation",),
    "reward": ("models", "rewards"),
    "policy": ("models", "training.preference"),
    "evaluate": ("evaluation", "models.likelihood", "models.sampling", "rewards"),
}
"""Default packages of a stage's plugins."""
ONLINE = ("models.sampling", "rewards", "training.online")
LIKELIHOODS = ("evaluation", "models.likelihood")
CONTINUATIONS = ("evaluation", "models.sampling", "rewards")
SCORES = ("evaluation", "rewards")
"""Packages of policies with a reward (`ONLINE`), and of suites that use likelihoods, sampled continuations, or scores
of rewards."""


def packages_of(spec: Spec) -> tuple[str, ...]:
    """Packages of the core that a plugin computes with: its spec's `core`, else the default of its stage."""
    if isinstance(spec, PolicyOptimizer) and spec.needs_reward:
        return spec.core or ONLINE
    if isinstance(spec, Evaluation) and spec.subject == "reward":
        return spec.core or SCORES
    return spec.core or USUAL[spec.stage]


def raised(packages: Iterable[str]) -> dict[str, int]:
    """Revisions above 1 of packages and their parent packages. Revisions of 1 are omitted: older keys have none."""
    above = {name: number for name, number in CORE_REVISIONS.items() if number > 1}
    return {name: above[name] for name in above if any(f"{package}.".startswith(f"{name}.") for package in packages)}
