"""The verdicts of a run: its configuration's gate applied to what its report measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pipeline_core.gate.settings import Limit, Registration
from pipeline_core.report.figures.collect import Evaluated
from pipeline_core.report.figures.judging import judge
from pipeline_core.report.figures.measured import Measured, measured
from pipeline_core.report.figures.model import BASE, Verdict
from pipeline_core.stats.resampling import RESAMPLES


def verdicts(
    config: Mapping[str, Any], found: Sequence[Measured], evaluations: Sequence[Evaluated]
) -> Iterator[Verdict]:
    """Every policy over all its seeds; then, of what is to be registered, the one seed that is, by itself."""
    limits = [Limit.model_validate(one) for one in config.get("gate") or ()]
    if not limits:
        return
    seeds = _seeds(config)
    yield from judge(limits, found, seeds)
    wanted = config.get("register_as")
    for label in registered_labels(config) if wanted else ():
        if len(seeds[label]) > 1:
            yield from _alone(limits, evaluations, label, seeds[label][0])


def registered_labels(config: Mapping[str, Any]) -> list[str]:
    """Labels of the policies that a passed gate registers."""
    wanted = Registration.model_validate(config["register_as"])
    return list(wanted.models) or [_label(entry) for entry in config["policy"]]


def registered_seed(config: Mapping[str, Any]) -> int:
    """The seed whose model is registered: the first one listed. A choice by figures would overstate these."""
    return int(next(iter(config["seeds"])))


def _seeds(config: Mapping[str, Any]) -> dict[str, list[int | None]]:
    base: dict[str, list[int | None]] = {BASE: [None]} if config.get("base") else {}
    return base | {_label(entry): list(config["seeds"]) for entry in config.get("policy") or ()}


def _label(entry: Mapping[str, Any]) -> str:
    return str(entry.get("label") or entry["name"])


def _alone(
    limits: Sequence[Limit], evaluations: Sequence[Evaluated], label: str, seed: int | None
) -> Iterator[Verdict]:
    chosen = [one for one in evaluations if one.label == BASE or (one.label == label and one.seed == seed)]
    judged = judge(limits, measured(chosen, [BASE, label], RESAMPLES), {BASE: [None], label: [seed]}, seed)
    return (verdict for verdict in judged if verdict.model == label)
