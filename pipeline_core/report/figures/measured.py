"""A measure of all models; all its figures share the same resamples of its items."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from pipeline_core.evaluation.relations import ScorePair, bootstrap_of
from pipeline_core.report.figures.cells import BetterDirection, Figure
from pipeline_core.report.figures.collect import ModelEvaluation
from pipeline_core.report.figures.resampled import Resamples, of_one_seed
from pipeline_core.stats.across import Across
from pipeline_core.stats.bootstrap import Bootstrap
from pipeline_core.stats.estimates import Difference
from pipeline_core.stats.intervals import correlation, mover
from pipeline_core.stats.ranking import RELATIONS
from pipeline_core.stats.relation_bootstrap import RelationBootstrap
from pipeline_core.stats.resampling import RESAMPLES, Items
from pipeline_core.stats.statistic import STATISTICS, Statistic, effect_size

MeasureEntry = Mapping[str, Any]


@dataclass(frozen=True)
class MeasureRuns:
    """A measure of a suite with the evaluations of every model by that suite, sorted by seed."""

    suite: str
    name: str
    title: str
    entry: MeasureEntry
    runs: Mapping[str, Sequence[ModelEvaluation]]
    resamples: int

    @property
    def is_relation(self) -> bool:
        """True for a statistic of two scores, such as a correlation."""
        return self.entry.get("statistic") in RELATIONS

    @property
    def can_be_resampled(self) -> bool:
        """False for figures of a plugin that leaves no table."""
        return self.is_relation or self.entry.get("statistic") in STATISTICS

    @property
    def statistic(self) -> Statistic:
        """The measure as a function of a mean; only for measures that are no relation."""
        return STATISTICS[self.entry["statistic"]]

    @property
    def better(self) -> BetterDirection:
        """Better direction."""
        better: BetterDirection = self.entry.get("better", "neither")
        return better

    @property
    def headline(self) -> bool:
        """True if it belongs to the comparison table."""
        return bool(self.entry.get("headline", True))

    @property
    def mean_over(self) -> str:
        """Axis over whose groups the measure is a mean; empty for most measures."""
        return str(self.entry.get("mean_over", ""))

    @property
    def axis(self) -> str:
        """Axis of its groups."""
        return self.mean_over or str(self.entry.get("group_by", ""))

    def entries(self, model: str) -> list[MeasureEntry]:
        """Entry of the measure in each evaluation of a model; empty where an evaluation lacks the measure."""
        return [run.measures.get(self.name, {}) for run in self.runs.get(model, ())]

    def columns(self, model: str) -> slice:
        """Columns of a model's seeds in the resamples."""
        before = 0
        for label, runs in self.runs.items():
            if label == model:
                return slice(before, before + len(runs))
            before += len(runs)
        raise KeyError(model)

    def across(self, part: str = "") -> Across:
        """Aggregation over groups that gives the measure itself (`part` empty) or a part of its row."""
        # If lower is better, the highest group is the worst.
        extreme: Across = "highest" if self.better == "lower" else "lowest"
        parts: Mapping[str, Across] = {"worst_group": extreme, "gap": "gap", "mean": "mean"}
        return parts[part] if part else "mean" if self.mean_over else "all"

    def has_items(self, model: str, part: str = "") -> bool:
        """True if any item of a model counts; otherwise there is no estimate."""
        return self.can_be_resampled and self._resampled(part).has_items(self.columns(model))

    def figure(self, model: str, part: str = "") -> Figure:
        """Figure of a model, or a part of its row, with its interval.

        It has the numbers of items and clusters of one seed; for a worst group, those of that group.
        """
        resamples, worst = self._resampled(part), self.worst(model) if part == "worst_group" else None
        counted = resamples if worst is None else self.grouped.group(self.labels.index(worst))
        columns = self.columns(model)
        return of_one_seed(resamples.estimate(columns, self.across(part)), counted, columns)

    def difference(self, model: str, against: str, part: str = "") -> Difference:
        """Figure of a model, or a part of its row, minus that of another model."""
        return self._compare(self._resampled(part), model, against, self.across(part))

    def _compare(self, resamples: Resamples, model: str, against: str, across: Across) -> Difference:
        """Difference over the same resamples, paired by seed if both models have the same seeds."""
        # Other seeds make no pairs.
        by_seed = [run.seed for run in self.runs[model]] == [run.seed for run in self.runs[against]]
        return resamples.difference(self.columns(model), self.columns(against), across, by_seed=by_seed)

    def beyond_share(self, model: str, against: str, share: float, part: str = "", group: str = "") -> Figure:
        """Figure of `model` minus that of `against`, minus `share` of the latter's absolute value, with its interval.

        The interval combines those of the difference and the share, and the correlation of their resamples (`mover`).
        """
        resamples = self.grouped.group(self.labels.index(group)) if group else self._resampled(part)
        across: Across = "all" if group else self.across(part)
        difference = self._compare(resamples, model, against, across)
        mine, base = (resamples.resampled(self.columns(label), across) for label in (model, against))
        other = resamples.estimate(self.columns(against), across)
        if difference.low is None or other.low is None or difference.value is None or other.value is None:
            return Figure()
        factor = share if other.value >= 0 else -share  # share * |base| = factor * base
        ends = [factor * end for end in (other.low, other.high) if end is not None]  # a negative factor swaps the ends
        scaled = replace(other, value=factor * other.value, low=min(ends), high=max(ends))
        # The base is part of both: without their correlation the interval would have another width.
        low, high = mover(difference, scaled, correlation(mine - base, base * factor))
        return Figure(value=difference.value - factor * other.value, low=low, high=high)

    def effect(self, model: str, against: str) -> float | None:
        """Cohen's d of the measure itself over items; None for a relation or a mean over groups."""
        bootstrap = self.pooled
        if isinstance(bootstrap, RelationBootstrap) or self.across() != "all":
            return None
        mine, base = (bootstrap.items.part(slice(None), self.columns(label)) for label in (model, against))
        return effect_size(self.statistic, mine, base)

    def _resampled(self, part: str) -> Resamples:
        """Resamples of all items, or, for an aggregation over groups, of the items within groups."""
        return self.pooled if self.across(part) == "all" else self.grouped  # groups may overlap, or leave items out

    @cached_property
    def pooled(self) -> Resamples:
        """Resamples of all items as one group."""
        if self.is_relation:
            everything = {item for run in self._every_run() for item in run.values(self.entry)}
            return self._related([everything])
        columns = [run.values(self.entry) for run in self._every_run()]
        return self._of_items(Items.collect(*columns, clusters=self._clusters))

    @cached_property
    def _clusters(self) -> dict[str, str]:
        """Cluster by item, for items with one; the same for all models."""
        return {item: name for run in self._every_run() for item, name in run.clusters(self.entry).items()}

    @property
    def resampled(self) -> str:
        """Noun of the unit that is resampled: `item`, `template`, `prompt`."""
        return str(self.entry.get("resampled") or ("cluster" if self.entry.get("cluster") else "item"))

    @cached_property
    def labels(self) -> list[str]:
        """Sorted names of the groups that any model was measured on."""
        return sorted({label for run in self._every_run() for label in run.labels(self.entry, self.axis)})

    @cached_property
    def grouped(self) -> Resamples:
        """Resamples of the items within each group of `labels`."""
        runs = list(self._every_run())
        groups = [[run.values(self.entry, self.axis, label) for run in runs] for label in self.labels]
        if self.is_relation:
            return self._related([{item for values in members for item in values} for members in groups])
        return self._of_items(Items.of_groups(groups, self._clusters))

    def _of_items(self, items: Items) -> Bootstrap:
        return Bootstrap.of(self.statistic, items, resamples=self.resamples)

    def _related(self, members: Sequence[Set[str]]) -> RelationBootstrap:
        # A relation's entry names its second score `against`.
        x, y = ({**self.entry, "score": self.entry[key]} for key in ("score", "against"))
        columns = [ScorePair(run.values(x), run.values(y), self._clusters) for run in self._every_run()]
        return bootstrap_of(self.entry["statistic"], columns, members, resamples=self.resamples)

    @cached_property
    def group_figures(self) -> dict[str, dict[str, Figure]]:
        """Figures by model and group, for the groups that the model was measured on."""
        return {model: dict(self._figures_of(model)) for model in self.runs}

    def _figures_of(self, model: str) -> Iterator[tuple[str, Figure]]:
        groups = {label for entry in self.entries(model) for label in entry.get("groups", {})}
        for index, label in enumerate(self.labels):
            if label in groups and self.can_be_resampled:  # `labels` has the groups of other models too
                resamples, columns = self.grouped.group(index), self.columns(model)
                yield label, of_one_seed(resamples.estimate(columns), resamples, columns)

    def group_differences(self, model: str, against: str) -> dict[str, Difference]:
        """Figure of a model minus that of another, by group, for groups where both have a value."""
        figures = [self.group_figures[name] for name in (model, against)]
        differences = {}
        for index, label in enumerate(self.labels):
            if all(label in by_label and by_label[label].value is not None for by_label in figures):
                differences[label] = self._compare(self.grouped.group(index), model, against, "all")
        return differences

    def worst(self, model: str) -> str | None:
        """Group with the worst figure, averaged over seeds; None if no direction is better or no group has a value."""
        known = {label: figure.value for label, figure in self.group_figures[model].items() if figure.value is not None}
        if not known or self.better == "neither":
            return None
        return (max if self.better == "lower" else min)(known, key=lambda label: known[label])

    def _every_run(self) -> Iterator[ModelEvaluation]:
        return (run for runs in self.runs.values() for run in runs)

    def values(self, model: str, part: str = "") -> dict[str, float | None]:
        """Recorded figure, or a part of it, by seed (base: empty seed); empty for a model without evaluation."""
        seeds = ("" if run.seed is None else str(run.seed) for run in self.runs.get(model, ()))
        return {seed: _value(entry, part) for seed, entry in zip(seeds, self.entries(model), strict=True)}


def _value(entry: MeasureEntry, part: str) -> float | None:
    value = (entry.get("worst_group") or {}).get("value") if part == "worst_group" else entry.get(part or "value")
    return None if value is None else float(value)


def measured(
    evaluations: Sequence[ModelEvaluation], models: Sequence[str], resamples: int = RESAMPLES
) -> list[MeasureRuns]:
    """All measures, sorted by suite, then in the order of the suite's evaluation."""
    suites = list(dict.fromkeys(evaluated.suite for evaluated in evaluations))
    first: dict[tuple[str, str], ModelEvaluation] = {}
    for evaluated in evaluations:
        for name in evaluated.measures:
            first.setdefault((evaluated.suite, name), evaluated)  # unit, statistic and direction are the same in all
    runs = {suite: {model: _of_model(evaluations, suite, model) for model in models} for suite in suites}
    return [
        MeasureRuns(suite, name, run.title(name), run.measures[name], runs[suite], resamples)
        for (suite, name), run in sorted(first.items(), key=lambda item: suites.index(item[0][0]))
    ]


def _of_model(evaluations: Sequence[ModelEvaluation], suite: str, model: str) -> list[ModelEvaluation]:
    chosen = [evaluation for evaluation in evaluations if evaluation.suite == suite and evaluation.label == model]
    # The base has no seed.
    return sorted(chosen, key=lambda evaluation: -1 if evaluation.seed is None else evaluation.seed)
