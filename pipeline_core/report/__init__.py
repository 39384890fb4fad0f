"""The report of a run: figures of every model, their intervals, and comparisons with the base.

`write_report` reads the artifacts of a run's stages and writes `report.json`, `report.md` and `report.html`;
`render_terminal` prints the tables of a report, new or read back with `load_report`.
"""

from pipeline_core.report.figures.model import Report, ReportPaths, load_report
from pipeline_core.report.render.terminal import render_terminal
from pipeline_core.report.write import build_report, write_report

__all__ = ["Report", "ReportPaths", "build_report", "load_report", "render_terminal", "write_report"]
