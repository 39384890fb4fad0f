"""Reward gained by policies that sample, and its spread over training steps and over seeds."""

from __future__ import annotations

import statistics as plain
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline_core.report.figures.collect import Curve
from pipeline_core.report.figures.model import Steadiness
from pipeline_core.report.render import wording
from pipeline_core.report.render.tables import Table
from pipeline_core.report.section import Section, Shown

REWARD = "reward/mean"
WINDOW = 20
"""Steps of the rolling mean from which the spread over steps is measured."""
NOTE = (
    "Figures of the reward that the policy was trained with, in its own scale. End: mean of the last tenth of the "
    "steps. Spread over steps: standard deviation of a step's mean around its rolling mean of twenty steps. Spread "
    "over seeds: standard deviation of the end. A policy that gained no more than one standard error has not learned, "
    "and its spread has no meaning. A GRPO loss near zero does not show that: advantages within a cohort sum to zero, "
    "so the value of the loss is near zero, but its gradient is not."
)


def steadiness(curves: Sequence[Curve]) -> list[Steadiness]:
    """Steadiness of each policy whose reward was logged at two or more steps, in the order of the curves."""
    rows = []
    for label in dict.fromkeys(curve.label for curve in curves):
        series = [np.array(curve.series(REWARD)[1]) for curve in curves if curve.label == label]
        series = [values for values in series if len(values) > 1]  # one value has neither gain nor spread
        if series:
            rows.append(_of(label, series))
    return rows


def _of(label: str, series: Sequence[NDArray[np.float64]]) -> Steadiness:
    """Steadiness of a policy. Start: mean reward of the first step; end: mean of the last tenth of the steps."""
    starts, ends = [float(values[0]) for values in series], [float(last(values).mean()) for values in series]
    gains = [end - start for start, end in zip(starts, ends, strict=True)]
    spreads = [about_rolling_mean(values) for values in series]
    if len(series) > 1:
        error = plain.stdev(gains) / len(series) ** 0.5
    else:  # a single training: noise of its first step and of the mean of its last tenth
        error = spreads[0] * (1 + 1 / len(last(series[0]))) ** 0.5
    gained = plain.fmean(gains)
    return Steadiness(
        label=label,
        seeds=len(series),
        start=plain.fmean(starts),
        end=plain.fmean(ends),
        gained=gained,
        error=error,
        over_steps=plain.fmean(spreads),
        over_seeds=plain.stdev(ends) if len(series) > 1 else None,
        learned=gained > error,
    )


def last(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The last tenth of values (S,), at least one value."""
    return values[-max(1, len(values) // 10) :]


def about_rolling_mean(values: NDArray[np.float64]) -> float:
    """Standard deviation of values (S,) around their rolling mean of `WINDOW` values, fewer at both ends."""
    half = WINDOW // 2
    means = [values[max(0, at - half) : at + WINDOW - half].mean() for at in range(len(values))]
    return float(np.sqrt(np.mean((values - np.array(means)) ** 2)))


def _markdown(shown: Shown[list[Steadiness]]) -> Iterator[str]:
    head = ["policy", "seeds", "start", "end", "gained ± se", "spread over steps", "spread over seeds"]
    table = Table(head, "lrrrrrr", list(map(_row, shown.part)))
    yield from ("", "## Reward gained, and how steadily", "", *table.markdown(), "", f"- {NOTE}")


def _row(policy: Steadiness) -> list[str]:
    label = policy.label if policy.learned else f"{policy.label} (has not learned)"
    start, end, steps, seeds = map(wording.number, (policy.start, policy.end, policy.over_steps, policy.over_seeds))
    gained = f"{wording.number(policy.gained, sign=True)} ± {wording.number(policy.error)}"
    return [label, str(policy.seeds), start, end, gained, steps, seeds]


SECTION = Section(
    name="steadiness",
    title="Reward gained, and how steadily",
    order=80,
    part=list[Steadiness],
    build=lambda sources: steadiness(sources.collected.curves),
    markdown=_markdown,  # no template: on the page it is part of the section on training
)
