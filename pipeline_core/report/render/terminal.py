"""The report on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline_core.report.all_sections import ON_TERMINAL, shown_in
from pipeline_core.report.figures.model import Report

if TYPE_CHECKING:
    from rich.console import Console


def render_terminal(console: Console, report: Report) -> None:
    """Print the headline tables of models and of rewards, their notes, and the gate's verdicts."""
    for section, shown in shown_in(report, ordered=ON_TERMINAL, width=console.width):
        for block in section.terminal(shown):
            console.print(block)
