"""Numbers of items that suites and trainings measured, left out, cut or clipped."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

from pipeline_core.evaluation.item_counts import TRAINING, counts_in
from pipeline_core.report.figures.model import ItemCounts, Report
from pipeline_core.report.figures.sources import Sources
from pipeline_core.report.render import wording
from pipeline_core.report.render.tables import said
from pipeline_core.report.section import Section, Shown

if TYPE_CHECKING:
    from rich.console import RenderableType


def _build(sources: Sources) -> list[ItemCounts]:
    """Item counts by suite, the largest over seeds; models with equal counts share an entry."""
    by_suite: dict[str, dict[str, dict[str, int]]] = {}
    for stage, manifest in sources.collected.made:
        if stage.stage in ("evaluate", "policy") and (counts := counts_in(manifest.get("metrics", {}))):
            known = by_suite.setdefault(stage.suite or TRAINING, {}).setdefault(stage.label, {})
            known |= {name: max(count, known.get(name, 0)) for name, count in counts.items()}
    return [items for suite, by_model in by_suite.items() for items in _of_suite(suite, by_model)]


def _of_suite(suite: str, by_model: dict[str, dict[str, int]]) -> Iterator[ItemCounts]:
    alike: dict[str, list[str]] = {}
    for model, counts in by_model.items():
        alike.setdefault(json.dumps(counts), []).append(model)
    return (ItemCounts(suite=suite, models=models, counts=json.loads(text)) for text, models in alike.items())


def _line(items: ItemCounts, report: Report) -> str:
    return f"{wording.plain(items.suite)}: {wording.counted(items, len(report.models))}"


def _markdown(shown: Shown[list[ItemCounts]]) -> Iterator[str]:
    """Lines that continue the list below the results."""
    return (f"- {_line(items, shown.report)}" for items in shown.part)


def _terminal(shown: Shown[list[ItemCounts]]) -> Iterator[RenderableType]:
    return (said(_line(items, shown.report)) for items in shown.part if items.has_losses)


SECTION = Section(
    name="items",
    title="Items",
    order=30,
    part=list[ItemCounts],
    build=_build,
    markdown=_markdown,
    terminal=_terminal,
    terminal_order=90,
)
