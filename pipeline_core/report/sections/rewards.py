"""The rewards of the run side by side, each compared with the first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from pipeline_core.report.figures.cells import Figure, GroupColumn, GroupDifference, GroupTable
from pipeline_core.report.figures.compare import tables_of, verdict_of
from pipeline_core.report.figures.model import ReportModel, ReportStage, RewardComparison
from pipeline_core.report.figures.sources import Sources
from pipeline_core.report.render import charts, wording
from pipeline_core.report.render.comparison import comparison_blocks, comparison_lines, group_lines
from pipeline_core.report.render.notes import lacking, notes
from pipeline_core.report.section import Section, Shown

if TYPE_CHECKING:
    from rich.console import RenderableType


def _build(sources: Sources) -> RewardComparison | None:
    """Comparison of the rewards in the order of the plan; None if no evaluation measured rewards."""
    evaluations, made = sources.collected.about("reward"), list(sources.collected.made)
    plugins = {stage.label: stage.plugin for stage, _ in made if stage.stage == "reward"}
    measured = {one.label for one in evaluations}
    models = [ReportModel(label=label, plugin=plugin) for label, plugin in plugins.items() if label in measured]
    if not models:
        return None
    first = models[0].label
    tables = tables_of(evaluations, [one.label for one in models], against=first, group_by_group=True)
    stages = [(stage, manifest.get("metrics", {})) for stage, manifest in made]
    signs = {stage.label: metrics for stage, metrics in stages if stage.stage == "reward" and "sign" in metrics}
    lines = [
        "Larger scores mean better texts; a reward's scale has no meaning of its own.",
        *(_on_sign(label, metrics) for label, metrics in signs.items()),
        *notes(models, tables, first),
        *_on_every_group(tables.group_tables, first),
        *_on_chance(tables.group_tables),
        *(line for stage, metrics in stages if stage.stage == "evaluate" for line in _on_cut(stage, metrics)),
    ]
    return RewardComparison(
        models=models, rows=tables.rows, details=tables.details, group_tables=tables.group_tables, notes=lines
    )


def _on_cut(stage: ReportStage, metrics: Mapping[str, float]) -> Iterator[str]:
    """Note on texts of a suite that a reward could not read in full."""
    if cut := int(metrics.get(f"{stage.plugin}/truncated", 0)):
        texts = int(metrics.get(f"{stage.plugin}/texts", 0))
        yield f"{stage.label} could not read {cut} of {texts} texts of {stage.suite} in full."


def _on_sign(label: str, metrics: Mapping[str, float]) -> str:
    known = {1.0: "larger raw scores are better", -1.0: "smaller raw scores are better, so they are turned around"}
    direction = known.get(metrics["sign"], "its sign is undecided")
    held_out = "held out" if metrics.get("sign/held_out") else "learned from"
    return (
        f"{label}: {direction}, by {metrics.get('sign/pairs', 0):.0f} units of labelled pairs that were {held_out} "
        f"(p = {metrics.get('sign/p_value', 1):.2g})."
    )


def _on_every_group(tables: Sequence[GroupTable], against: str) -> Iterator[str]:
    """Notes on the groups where each reward is better or worse than the first reward, or unclear."""
    for table in tables:
        for column in table.columns:
            sides = {group: _verdict(difference, table) for group, difference in column.differences.items()}
            how = f"{against} (p adjusted over the groups)"
            yield from _told(table, column, how, sides, ("better", "worse", "unclear"))


def _on_chance(tables: Sequence[GroupTable]) -> Iterator[str]:
    """Notes on the groups where each reward is above or below chance, or unclear."""
    for table in tables:
        for column in table.columns if table.chance is not None else ():
            known = {group: figure for group, figure in column.groups.items() if figure.value is not None}
            sides = {group: _side(figure, table.chance or 0.0) for group, figure in known.items()}
            how = f"chance ({table.chance:g}{table.unit and ' '}{table.unit}), by unadjusted intervals"
            yield from _told(table, column, how, sides, ("above", "below", "unclear"))


def _told(
    table: GroupTable, column: GroupColumn, against: str, sides: Mapping[str, str], order: Sequence[str]
) -> Iterator[str]:
    """Line that lists the groups by side; no line without groups."""
    named = {side: [wording.plain(group) for group, own in sides.items() if own == side] for side in order}
    if words := "; ".join(f"{side} in {', '.join(groups)}" for side, groups in named.items() if groups):
        yield f"{wording.measure(table.title)} by {table.axis}, {column.model} against {against}: {words}."


FEWEST = 10
"""Fewest units of a group for a comparison with chance. With fewer, the bootstrap interval is too narrow: with six it
excludes chance for one of nine groups that are at chance."""


def _side(one: Figure, chance: float) -> str:
    if (one.n_clusters or one.n) < FEWEST or one.low is None or one.high is None or one.low <= chance <= one.high:
        return "unclear"
    return "above" if one.low > chance else "below"


def _verdict(difference: GroupDifference, table: GroupTable) -> str:
    if difference.value is None or difference.p_holm is None:
        return "unclear"
    return verdict_of(difference.value, difference.p_holm, table.better, table.unit)


def _markdown(shown: Shown[RewardComparison]) -> Iterator[str]:
    rewards = shown.part
    yield from ("", "## Rewards", "", *comparison_lines(rewards.rows, rewards.models), "")
    yield from (f"- {line}" for line in (*rewards.notes, *lacking(rewards)))
    yield from group_lines(rewards.group_tables, level="###")


def _terminal(shown: Shown[RewardComparison]) -> Iterator[RenderableType]:
    return comparison_blocks(shown.part, shown.part.first, f"{shown.report.name} · rewards", shown.width)


SECTION = Section(
    name="rewards",
    title="Rewards",
    order=50,
    part=RewardComparison,
    build=_build,
    template="rewards.html.j2",
    draw=lambda shown: {"plots": [(table, charts.group_chart(table)) for table in shown.part.group_tables]},
    markdown=_markdown,
    terminal=_terminal,
)
