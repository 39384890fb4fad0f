"""The report as a self-contained HTML page."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple

from pipeline_core.report.all_sections import shown_in
from pipeline_core.report.figures.cells import BASE, MeasureRow
from pipeline_core.report.figures.collect import Curve
from pipeline_core.report.figures.model import Report
from pipeline_core.report.render import charts, gate_words, wording
from pipeline_core.report.render.notes import lacking
from pipeline_core.report.section import Names, Section

if TYPE_CHECKING:
    from jinja2 import Environment


class Drawn(NamedTuple):
    """A section of the page, its data, and the variables of its template."""

    section: Section[Any]
    part: Any
    names: Names


def drawn_sections(report: Report, curves: Sequence[Curve] = ()) -> list[Drawn]:
    """The sections of the page with their plots; `curves`: training curves of the run."""
    chosen = ((section, shown) for section, shown in shown_in(report, curves=curves) if section.template)
    drawn = ((section, shown.part, section.draw(shown)) for section, shown in chosen)
    return [Drawn(section, part, names) for section, part, names in drawn if names is not None]


def to_html(report: Report, drawn: Sequence[Drawn]) -> str:
    """The page as HTML."""
    environment = _environment(report)
    sections = [
        environment.get_template(f"sections/{section.template}").render(part=part, **names)
        for section, part, names in drawn
    ]
    links = [link for section, _, names in drawn for link in section.linked(names)]
    return environment.get_template("page.html.j2").render(style=style(), sections=sections, links=links)


def _environment(report: Report) -> Environment:
    """Environment that loads the templates, with the variables that all of them share."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("pipeline_core.report", ""),
        autoescape=True,  # people choose labels; templates mark our own SVG and CSS as `safe`
        undefined=StrictUndefined,  # a misspelt variable fails instead of printing nothing
        trim_blocks=True,
        lstrip_blocks=True,
    )
    palette = charts.colours_of(report)
    environment.globals.update(
        report=report,
        wording=wording,
        words=gate_words,
        lacking=lacking,
        BASE=BASE,
        by_section=_by_section,
        swatches={model: charts.VARIABLES[colour] for model, colour in palette.items()},
    )
    return environment


def style() -> str:
    """The page's style sheet."""
    return (files("pipeline_core.report") / "style.css").read_text(encoding="utf-8")


def _by_section(rows: Sequence[MeasureRow]) -> list[tuple[str, list[MeasureRow]]]:
    return [(name, list(members)) for name, members in groupby(rows, key=wording.section)]
