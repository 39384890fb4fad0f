"""A section of the report: its data, and its rendering in each form of the report."""

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
"""Variables of a template, by name."""


@dataclass(frozen=True)
class Shown(Generic[P]):
    """A section's data (`part`), with the report and the settings that its rendering needs."""

    part: P
    report: Report
    curves: Sequence[Curve] = ()
    """Training curves of the run; empty except for the HTML page."""
    width: int = 80
    """Columns of the terminal."""


@dataclass(frozen=True)
class Section(Generic[P]):
    """A section of the report. A form of the report for which it gives no output leaves it out."""

    name: str
    """Key of the data in `report.json`: the field of `Report` with that name, else an entry of `sections`."""
    title: str
    """Title in the page's list of links. The link leads to the element of `template` with the id `name`."""
    order: int
    """Sections are sorted by this number; the built-in sections are ten apart."""
    part: type[P]
    """Type of the data: a pydantic model, or a list of models."""
    build: Callable[[Sources], P | None] | None = None
    """Makes the data from a run's results. None: the section has no data of its own, and `part` is the whole report."""
    template: str = ""
    """HTML template beside the section's module. Its variables are `part`, `report` and those of `draw`."""
    draw: Callable[[Shown[P]], Names | None] = lambda _: {}
    """Variables of the template, such as plots; None leaves the section out of the page."""
    links: Callable[[Names], Iterable[tuple[str, str]]] | None = None
    """Ids and titles in the page's list of links. None: `name` and `title`."""
    files: Callable[[Names], Iterable[tuple[str, str]]] = lambda _: ()
    """Plots that are also written as files: path below `figures` without the suffix, and SVG."""
    markdown: Callable[[Shown[P]], Iterable[str]] = lambda _: ()
    """Lines of `report.md`; the first is empty, then comes the heading."""
    terminal: Callable[[Shown[P]], Iterable[RenderableType]] = lambda _: ()
    """Blocks that the terminal prints."""
    terminal_order: int | None = None
    """Sort key on the terminal. None: `order`."""
    card: Callable[[Shown[P]], Iterable[str]] = lambda _: ()
    """Lines of `model_card.md`, between the data and the settings of the training."""

    def linked(self, names: Names) -> list[tuple[str, str]]:
        """Ids and titles in the page's list of links."""
        return list(self.links(names)) if self.links else [(self.name, self.title)]

    def of(self, report: Report) -> P | None:
        """Data of the section in a report; None without data."""
        if self.build is None:
            return cast("P", report)
        # Sections that are older than `sections` have fields (ADR 17).
        held = getattr(report, self.name) if self.name in Report.model_fields else report.sections.get(self.name)
        # Of a report that was read back `sections` holds plain dicts.
        return TypeAdapter(self.part).validate_python(held) if held else None
