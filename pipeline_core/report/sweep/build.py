"""Builds a sweep's report from the evaluations of its points."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from pipeline_core.report.figures.cells import BASE
from pipeline_core.report.figures.collect import ModelEvaluation
from pipeline_core.report.figures.compare import headline_rows
from pipeline_core.report.figures.measured import measured
from pipeline_core.report.sweep.candidates import PointEvaluations, candidates_of
from pipeline_core.report.sweep.choice import Chosen, chosen
from pipeline_core.report.sweep.front import Trade, place
from pipeline_core.report.sweep.model import Candidate, SweepReport


def build_sweep_report(
    points: Sequence[PointEvaluations], facts: Mapping[str, Any], bias: str = "", capability: str = ""
) -> SweepReport:
    """The report. `facts`: its fields about the sweep and the points; `bias`, `capability`: titles of measures.

    Raises:
        BadInput: a measure is unknown.
    """
    candidates, evaluations = candidates_of(points)
    labels = [candidate.label for candidate in candidates]
    pair = chosen(measured(evaluations, labels), bias, capability)
    report = SweepReport(**facts, candidates=candidates, rows=headline_rows(_without_groups(evaluations, pair), labels))
    if pair:
        report.bias, report.capability = pair.bias.title, pair.capability.title
        place(candidates, Trade((pair.bias, pair.capability), labels))
    report.notes = list(_notes(report))
    return report


def _without_groups(evaluations: Sequence[ModelEvaluation], pair: Chosen | None) -> list[ModelEvaluation]:
    """Evaluations without rows on groups, which the points' reports have; the chosen measures are headline measures."""
    titles = {measure.title for measure in pair} if pair else set()

    def plain(one: ModelEvaluation) -> dict[str, dict[str, Any]]:
        return {
            name: {**entry, "summary_rows": (), "headline": entry.get("headline", True) or one.title(name) in titles}
            for name, entry in one.measures.items()
        }

    return [replace(one, measures=plain(one)) for one in evaluations]


def _notes(report: SweepReport) -> Iterator[str]:
    if report.bias:
        yield (
            "The front holds the settings that no other beats in both values. A setting is behind it if another one "
            "is no worse in both values and clearly better in one: the 95 % interval of the difference, over the same "
            "items, leaves out zero. It is not clearly behind if the values say so, but no interval does."
        )
        yield (
            "Intervals are not corrected for the number of settings, and a front is chosen after looking: the values "
            "on it are optimistic. Measure the chosen setting with new seeds before you rely on it."
        )
    if any(len(candidate.seeds) > 1 for candidate in report.candidates):
        yield (
            "Figures are means over seeds, s is their standard deviation. Intervals generalise to new items and, with "
            "several seeds, to new seeds."
        )
    elif any(candidate.seeds for candidate in report.candidates):
        yield "Every setting has one training seed: intervals generalise to new items and not to new seeds."
    for title in (report.bias, report.capability):
        reasons = {one.reason for one in report.row(title).cells if one.value is None} if title else set()
        if reasons and not report.placed:
            yield f"{title} is measured nowhere ({'; '.join(sorted(reasons))}), so there is no front."
    most = max((len(candidate.seeds) for candidate in report.candidates), default=0)
    for candidate in report.candidates:
        if candidate.model != BASE and len(candidate.seeds) < most:
            yield f"{candidate.label} has {len(candidate.seeds)} of {most} seeds, since points have failed."
    yield from _elsewhere(report.candidates, [axis.path for axis in report.axes])


def _elsewhere(candidates: Sequence[Candidate], paths: Sequence[str]) -> Iterator[str]:
    for path in paths:
        untouched = [one.label for one in candidates if one.model != BASE and path not in one.values]
        if untouched and any(path in one.values for one in candidates):
            yield f"{path} does not reach {', '.join(untouched)}: all points have the same artifact of it."
