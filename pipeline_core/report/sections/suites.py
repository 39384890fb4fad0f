"""A section of the page for every suite: plots of its measures, plots by group, and tables of further measures."""

from __future__ import annotations

from typing import Any

from pipeline_core.report.figures.cells import MeasureRow
from pipeline_core.report.figures.model import Report
from pipeline_core.report.render import charts, wording
from pipeline_core.report.render.comparison import group_lines
from pipeline_core.report.render.notes import counted_lines
from pipeline_core.report.section import Section, Shown

OPEN_GROUP_PLOTS = 4
"""Plots by group of a suite that are open on the page; further plots are folded."""


def _draw(shown: Shown[Report]) -> dict[str, Any]:
    """Variables of all suites, in the order of the table."""
    report = shown.part
    names = dict.fromkeys(row.suite for row in (*report.rows, *report.details))
    return {"suites": [_suite(report, name) for name in names]}


def _suite(report: Report, name: str) -> dict[str, Any]:
    """Variables of one suite. Plots are pairs: row or table, and SVG."""
    tables = [(table, charts.group_chart(table)) for table in report.group_tables if table.suite == name]
    return {
        "title": wording.plain(name),
        "plots": [(row, charts.measure_chart(row)) for row in report.rows if row.suite == name and _is_plotted(row)],
        "by_group": tables[:OPEN_GROUP_PLOTS],
        "folded": tables[OPEN_GROUP_PLOTS:],
        "details": [row for row in report.details if row.suite == name],
        "items": counted_lines(report, name),
    }


def _is_plotted(row: MeasureRow) -> bool:
    """True for a measure with a value; rows on its groups are shown in the plots by group."""
    return not row.part and any(cell.value is not None for cell in row.cells)


SECTION = Section(
    name="suites",
    title="",  # each suite has a link of its own
    order=40,
    part=Report,
    template="suites.html.j2",
    draw=_draw,
    links=lambda names: ((f"suite-{index}", suite["title"]) for index, suite in enumerate(names["suites"], 1)),
    markdown=lambda shown: group_lines(shown.part.group_tables),
)
