"""The report as Markdown."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline_core.report.all_sections import shown_in
from pipeline_core.report.figures.model import Report


def to_markdown(report: Report) -> str:
    """The whole report without its plots."""
    return "\n".join(_lines(report)) + "\n"


def _lines(report: Report) -> Iterator[str]:
    yield f"# {report.name}"
    if report.description:
        yield from ("", report.description)
    seeds = f"seeds {', '.join(map(str, report.seeds))}" if report.seeds else ""
    facts = [f"run `{report.run_id}`" if report.run_id else "", report.created, seeds]
    yield from ("", " · ".join(fact for fact in facts if fact))
    for section, shown in shown_in(report):
        yield from section.markdown(shown)
