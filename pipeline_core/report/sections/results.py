"""Every model on every headline measure, compared with the base."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from pipeline_core.report.figures.cells import BASE, MeasureRow, ReportCell
from pipeline_core.report.figures.model import Report
from pipeline_core.report.render.comparison import comparison_blocks, comparison_lines
from pipeline_core.report.render.notes import lacking, measured_lines
from pipeline_core.report.render.tables import said
from pipeline_core.report.section import Section, Shown

if TYPE_CHECKING:
    from rich.console import RenderableType


def _draw(shown: Shown[Report]) -> dict[str, Any]:
    others = [model.label for model in shown.part.models if model.label != BASE]
    return {"changes": {model: _changes(shown.part.rows, model) for model in others}}


def _changes(rows: Sequence[MeasureRow], model: str) -> dict[str, list[tuple[MeasureRow, ReportCell]]]:
    """Measures and worst groups with the cell of one model, by the verdict of its comparison with the base."""
    changes: dict[str, list[tuple[MeasureRow, ReportCell]]] = {
        verdict: [] for verdict in ("better", "worse", "different", "unclear")
    }
    for row in rows:
        if row.part in ("", "worst_group") and (verdict := row.cell(model).verdict):
            changes[verdict].append((row, row.cell(model)))
    return changes


def _markdown(shown: Shown[Report]) -> Iterator[str]:
    report = shown.part
    yield from ("", "## Measures", "") if report.gate else ("",)
    if report.models:
        yield from (*comparison_lines(report.rows, report.models), "")
    yield from (f"- {line}" for line in (*report.notes, *lacking(report)))


def _terminal(shown: Shown[Report]) -> Iterator[RenderableType]:
    report = shown.part
    if not report.rows and not report.rewards:
        yield said("This run evaluated nothing.")
    if report.rows:
        seeds = f" · {len(report.seeds)} seeds" if len(report.seeds) > 1 else ""
        yield from comparison_blocks(report, BASE, f"{report.name}{seeds}", shown.width)


def _card(shown: Shown[Report]) -> Iterator[str]:
    report = shown.part
    yield from ("## Measured", "", *(f"- {line}" for line in measured_lines(report)), "")
    yield from (*comparison_lines(report.rows, report.models), "", *(f"- {note}" for note in report.notes))


SECTION = Section(
    name="results",
    title="Results",
    order=20,
    part=Report,
    template="results.html.j2",
    draw=_draw,
    markdown=_markdown,
    terminal=_terminal,
    card=_card,
)
