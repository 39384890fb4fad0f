"""A section of the report: what it is made of, and how each form of the report shows it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from pydantic import TypeAdapter

from pipeline_core.report.figures.collect import Curve
from pipeline_core.report.figures.model import Report
from pipeline_core.report.figures.sources import Sources

if TYPE_CHECKING:
    from rich.console import RenderableType

P = TypeVar("P")
Names = Mapping[str, Any]
"""What a template knows by name."""


@dataclass(frozen=True)
class Shown(Generic[P]):
    """A section's part and what stands around it where it is shown."""

    part: P
    report: Report
    curves: Sequence[Curve] = ()
    """Of the run's trainings; the page alone has them."""
    width: int = 80
    """Columns of the terminal."""


def _nothing(_: object) -> tuple[()]:
    return ()


def _no_names(_: object) -> Names:
    return {}


@dataclass(frozen=True)
class Section(Generic[P]):
    """A section; a form that it gives nothing for leaves it out."""

    name: str
    """Key of its part: in `sections` of `report.json`, or at its top where `Report` has a field of that name."""
    title: str
    """In the page's list of links, where `template` has an element of the id `name`."""
    order: int
    """Its place among the sections; those here are ten apart."""
    part: type[P]
    """Type of its part: a pydantic model, or a list of them."""
    build: Callable[[Sources], P | None] | None = None
    """Makes its part of a run's results. None for a section that shows what others made: its part is the report."""
    template: str = ""
    """File beside the section with its HTML, which knows `part`, `report` and what `draw` names."""
    draw: Callable[[Shown[P]], Names | None] = _no_names
    """Names for the template, such as plots; None leaves the section out of the page."""
    links: Callable[[Names], Iterable[tuple[str, str]]] | None = None
    """Ids and titles in the page's list of links, where these are not its name and title."""
    files: Callable[[Names], Iterable[tuple[str, str]]] = _nothing
    """Plots that are files of their own as well: path below `figures` without its ending, and SVG."""
    markdown: Callable[[Shown[P]], Iterable[str]] = _nothing
    """Lines of `report.md`: an empty one, the heading, and so on."""
    terminal: Callable[[Shown[P]], Iterable[RenderableType]] = _nothing
    """What a terminal prints."""
    terminal_order: int | None = None
    """Its place on the terminal, where that is not `order`."""
    card: Callable[[Shown[P]], Iterable[str]] = _nothing
    """Lines of `model_card.md`, between the data and the settings of the training."""

    def linked(self, names: Names) -> list[tuple[str, str]]:
        """Ids and titles in the page's list of links."""
        return list(self.links(names)) if self.links else [(self.name, self.title)]

    def of(self, report: Report) -> P | None:
        """Its part of a report; None where it has none."""
        if self.build is None:
            return cast("P", report)
        held = getattr(report, self.name) if self.name in Report.model_fields else report.sections.get(self.name)
        return TypeAdapter(self.part).validate_python(held) if held else None
