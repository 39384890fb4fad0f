"""How steadily policies that sample gained reward: over the steps of a training, and over training seeds."""

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
"""Steps of the rolling mean that the spread over steps is taken about."""
NOTE = (
    "Of the reward that the policy was trained with, in its own scale. End: the mean of the last tenth of the steps. "
    "Spread over steps: standard deviation of a step's mean about its rolling mean of twenty steps; over seeds: of the "
    "end. A policy that has gained no more than one standard error has not learned, and its steadiness says nothing. "
    "A GRPO loss near zero is no sign of that: advantages within a cohort sum to zero, so the loss is near zero in "
    "value, and not its gradient."
)


def steadiness(curves: Sequence[Curve]) -> list[Steadiness]:
    """One line for each policy whose reward was logged in every step, in the order of the curves."""
    found = []
    for label in dict.fromkeys(curve.label for curve in curves):
        series = [np.array(curve.series(REWARD)[1]) for curve in curves if curve.label == label]
        series = [values for values in series if len(values) > 1]
        if series:
            found.append(_of(label, series))
    return found


def _of(label: str, series: Sequence[NDArray[np.float64]]) -> Steadiness:
    """The start is the first step's mean reward, the end that of the last tenth of the steps."""
    starts, ends = [float(values[0]) for values in series], [float(last(values).mean()) for values in series]
    gains = [end - start for start, end in zip(starts, ends, strict=True)]
    spreads = [about_rolling_mean(values) for values in series]
    if len(series) > 1:
        error = plain.stdev(gains) / len(series) ** 0.5
    else:  # a single training: the noise of its steps, at the start and in the mean of the last tenth
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
    """The last tenth."""
    return values[-max(1, len(values) // 10) :]


def about_rolling_mean(values: NDArray[np.float64], window: int = WINDOW) -> float:
    """Standard deviation of the values about the mean of the `window` ones around each; fewer at both ends."""
    half = window // 2
    means = [values[max(0, at - half) : at + window - half].mean() for at in range(len(values))]
    return float(np.sqrt(np.mean((values - np.array(means)) ** 2)))


def _markdown(shown: Shown[list[Steadiness]]) -> Iterator[str]:
    head = ["policy", "seeds", "start", "end", "gained ± se", "spread over steps", "spread over seeds"]
    table = Table(head, "lrrrrrr", list(map(_row, shown.part)))
    yield from ("", "## Reward gained, and how steadily", "", *table.markdown(), "", f"- {NOTE}")


def _row(one: Steadiness) -> list[str]:
    label = one.label if one.learned else f"{one.label} (has not learned)"
    start, end, steps, seeds = map(wording.number, (one.start, one.end, one.over_steps, one.over_seeds))
    gained = f"{wording.number(one.gained, sign=True)} ± {wording.number(one.error)}"
    return [label, str(one.seeds), start, end, gained, steps, seeds]


SECTION = Section(
    name="steadiness",
    title="Reward gained, and how steadily",
    order=80,
    part=list[Steadiness],
    build=lambda sources: steadiness(sources.collected.curves),
    markdown=_markdown,  # on the page its template stands within that of the training
)
