"""All sections of the report, in order. Each module of `sections` defines its section as `SECTION`."""

from __future__ import annotations

import pkgutil
from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import Any

from pipeline_core.report import sections
from pipeline_core.report.figures.collect import Curve
from pipeline_core.report.figures.model import Report
from pipeline_core.report.section import Section, Shown


def _found() -> Iterator[Section[Any]]:
    names = set()
    for module in pkgutil.iter_modules(sections.__path__, f"{sections.__name__}."):
        section = import_module(module.name).SECTION
        if section.name in names:  # one would overwrite the other's data in report.json
            raise TypeError(f"{module.name}: another section is named {section.name!r} too")
        names.add(section.name)
        yield section


SECTIONS = tuple(sorted(_found(), key=lambda section: section.order))
ON_TERMINAL = tuple(sorted(SECTIONS, key=lambda section: section.terminal_order or section.order))


def shown_in(
    report: Report, *, ordered: tuple[Section[Any], ...] = SECTIONS, curves: Sequence[Curve] = (), width: int = 80
) -> Iterator[tuple[Section[Any], Shown[Any]]]:
    """Sections with data in the report, each with that data."""
    for section in ordered:
        if (part := section.of(report)) is not None:
            yield section, Shown(part, report, curves, width)
