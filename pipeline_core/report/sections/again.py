"""Reproduction of the run: its command, configuration and versions."""

from __future__ import annotations

from typing import Any

from pipeline_core.files.markdown_text import Verbatim, fence_of
from pipeline_core.report.figures.model import Report
from pipeline_core.report.section import Section, Shown


def _draw(shown: Shown[Report]) -> dict[str, Any]:
    import yaml

    return {"config": yaml.safe_dump(shown.part.config, sort_keys=False, allow_unicode=True)}


def _markdown(shown: Shown[Report]) -> tuple[str, ...]:
    command = shown.part.command or ""
    return ("", "## Again", "", fence_of(command), Verbatim(command), fence_of(command))


SECTION = Section(
    name="again",
    title="Reproduce",
    order=110,
    part=Report,
    template="again.html.j2",
    draw=_draw,
    markdown=_markdown,
)
