"""Judges models by the limits of the gate, on the figures and the paired resamples of the report's tables.

A figure that does not exist, is undefined or lacks an interval that the limit needs never passes.
"""

from __future__ import annotations

import statistics as plain
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from pipeline_core.gate.names import NamedMeasure, find, find_group
from pipeline_core.gate.settings import Limit, keeps, limits_on
from pipeline_core.report.figures.cells import BASE, BetterDirection, Figure
from pipeline_core.report.figures.measured import MeasureRuns
from pipeline_core.report.figures.model import GateVerdict
from pipeline_core.report.figures.resampled import as_facts
from pipeline_core.report.render import wording

SeedsByModel = Mapping[str, Sequence[int | None]]
"""Seeds at which each model must have been evaluated; None for the base."""


class UndefinedFigure(Exception):
    """No figure to judge; the message gives the reason."""


@dataclass(frozen=True)
class JudgedFigure:
    """A figure of the report: a measure, a summary of its groups, or a single group."""

    one: MeasureRuns
    part: str
    group: str

    @property
    def better(self) -> BetterDirection:
        """Better direction; `lower` for gaps."""
        return "lower" if self.part == "gap" else self.one.better

    def figure(self, model: str, seeds: SeedsByModel) -> Figure:
        """Figure of a model over all its seeds. Raises `UndefinedFigure`."""
        runs = self.one.runs.get(model, ())
        # Without this a gate could pass because the bad seed was not evaluated.
        missing = [seed for seed in seeds.get(model, ()) if seed not in {run.seed for run in runs}]
        if missing or not runs:
            # The base has no seed to name.
            at = f" at seed {', '.join(map(str, missing))}" if missing not in ([], [None]) else ""
            raise UndefinedFigure(f"{model} was not evaluated{at}")
        figure = self._of_group(model) if self.group else self._of_all(model)
        if figure.value is None:
            raise UndefinedFigure(f"the figure of {model} is undefined: no item counts for it, or all are of one class")
        return figure

    def _of_all(self, model: str) -> Figure:
        values = list(self.one.values(model, self.part).values())
        if None in values:  # as in the table: one undefined seed leaves the figure undefined
            return Figure()
        if self.one.has_items(model, self.part):
            return self.one.figure(model, self.part)
        # A plugin that leaves no table has values without intervals.
        return Figure(value=plain.fmean(value for value in values if value is not None))

    def _of_group(self, model: str) -> Figure:
        by_seed = [(entry.get("groups") or {}).get(self.group, {}) for entry in self.one.entries(model)]
        if any(entry.get("value") is None for entry in by_seed):  # resamples would average the other seeds
            return Figure()
        return self.one.group_figures[model].get(self.group, Figure())

    def worsening(self, model: str, value: float, base: float) -> Figure:
        """Difference to the base, positive if the model is worse. Raises `UndefinedFigure` without common items.

        `value`, `base`: figures of both, for a plugin that leaves no table of items.
        """
        difference = self._difference(model) or Figure(value=value - base)
        if difference.value is None:
            raise UndefinedFigure(f"{model} and the base have no item in common")
        return difference if self.better == "lower" else difference.negated()

    def beyond_share(self, model: str, share: float) -> Figure:
        """`worsening` minus a share of the base's figure; the interval includes the uncertainty of both."""
        # If higher is better: (base - mine) - s |base| = -((mine - base) + s |base|).
        sign = 1 if self.better == "lower" else -1
        excess = self.one.beyond_share(model, BASE, sign * share, self.part, self.group)
        return excess if sign == 1 else excess.negated()

    def _difference(self, model: str) -> Figure | None:
        if self.group:
            difference = self.one.group_differences(model, BASE).get(self.group)
        elif self.one.has_items(model, self.part) and self.one.has_items(BASE, self.part):
            difference = self.one.difference(model, BASE, self.part)
        else:
            return None
        return Figure() if difference is None else Figure(**as_facts(difference))

    def worst(self, model: str) -> str:
        """Group that the figure is about; empty if it is about no single group."""
        return (self.one.worst(model) or "") if self.part == "worst_group" else self.group


class LimitComparison(NamedTuple):
    """A figure and its limit. `is_ceiling`: larger figures are worse."""

    figure: Figure
    limit: float
    is_ceiling: bool = True

    def reached(self, by: str) -> float | None:
        """The figure itself; by `interval` the worse end of its interval, None without one."""
        if by == "value":
            return self.figure.value
        return self.figure.high if self.is_ceiling else self.figure.low


def judge(
    limits: Sequence[Limit], found: Sequence[MeasureRuns], seeds: SeedsByModel, alone: int | None = None
) -> Iterator[GateVerdict]:
    """Verdicts for every limit and every model it applies to.

    Args:
        limits: Limits of the gate.
        found: Measures of the report with their resamples.
        seeds: Models to judge, with the seeds at which each must have been evaluated.
        alone: The seed, if `found` and `seeds` hold a single seed of a model that has several.
    """
    known = {_named(measure): measure for measure in found}
    # With policies the base is only what they are compared with.
    default = [label for label in seeds if label != BASE] or [BASE]
    for limit in limits:
        for label in seeds:
            if limits_on([limit], label, judged=label in default):
                yield _verdict(limit, label, known, seeds).model_copy(update={"seed": alone})


def _named(measure: MeasureRuns) -> NamedMeasure:
    plugin = next(run.plugin for runs in measure.runs.values() for run in runs)
    axis = measure.axis if measure.entry.get("groups") is not None else None
    return NamedMeasure.of(measure.suite, plugin, measure.name, measure.better, axis)


def _verdict(limit: Limit, label: str, known: Mapping[NamedMeasure, MeasureRuns], seeds: SeedsByModel) -> GateVerdict:
    verdict = GateVerdict(
        model=label, measure=limit.measure, group=limit.group or "", kind=limit.kind, bound=limit.bound, by=limit.by
    )
    try:
        asked, measure = _asked(limit, known)
        verdict = verdict.model_copy(
            update={
                "measure": measure,
                "part": asked.part,
                "unit": asked.one.entry.get("unit", ""),
                "axis": asked.one.axis,
            }
        )
        facts = _judged(asked, limit, label, seeds)
    except UndefinedFigure as reason:
        return verdict.model_copy(update={"outcome": "undefined", "reason": str(reason)})
    return verdict.model_copy(update=facts)


def _asked(limit: Limit, known: Mapping[NamedMeasure, MeasureRuns]) -> tuple[JudgedFigure, str]:
    result = find(limit.measure, list(known))
    if isinstance(result, str):
        raise UndefinedFigure(result)
    named, part = result
    # Not all suites declare their measures, by which the limit is checked before the run.
    if problem := named.problem(part, limit.kind, limit.group):
        raise UndefinedFigure(problem)
    measure, group = known[named], ""
    if limit.group is not None:
        entries = (entry for model in measure.runs for entry in measure.entries(model))
        groups = sorted({name for entry in entries for name in entry.get("groups") or {}})
        if (match := find_group(limit.group, groups)) is None:
            raise UndefinedFigure(f"unknown group {limit.group!r}. Known: {', '.join(groups) or 'none'}.")
        group = match
    return JudgedFigure(measure, part, group), f"{named.name}/{part}" if part else named.name


def _judged(asked: JudgedFigure, limit: Limit, label: str, seeds: SeedsByModel) -> dict[str, object]:
    figure, noun = asked.figure(label, seeds), asked.one.resampled
    facts: dict[str, object] = figure.model_dump() | {"resampled": noun, "group": asked.worst(label)}
    if limit.compares:
        base, is_share = asked.figure(BASE, seeds).value, limit.kind == "worse_by_share"
        assert figure.value is not None
        assert base is not None
        worse = asked.worsening(label, figure.value, base)
        compared = LimitComparison(worse, limit.bound * (abs(base) if is_share else 1))
        facts |= {"base": base, "worse": worse, "limit": compared.limit}
        # The base's figure is uncertain as well (ADR 12).
        if is_share and limit.by == "interval" and worse.high is not None:
            compared = LimitComparison(asked.beyond_share(label, limit.bound), 0.0)
            facts |= {"beyond": compared.figure}
    else:
        compared = LimitComparison(figure, limit.bound, limit.kind == "at_most")
        facts["limit"] = limit.bound
    if (reached := compared.reached(limit.by)) is None:
        # If the figure has an interval, it is the difference that lacks one.
        why = wording.why_no_interval(figure, noun) or f"its items and the base's are of one {noun} at most"
        return facts | {"outcome": "undefined", "reason": f"it has no interval: {why}"}
    passed = keeps(reached, compared.limit, is_ceiling=compared.is_ceiling)
    return facts | {"outcome": "passed" if passed else "failed"}
