"""The stages of the run."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline_core.report.figures.model import ReportStage
from pipeline_core.report.render import wording
from pipeline_core.report.render.tables import Table
from pipeline_core.report.section import Section, Shown


def _markdown(shown: Shown[list[ReportStage]]) -> Iterator[str]:
    table = Table(["stage", "plugin", "seed", "key", "took"], "llrlr", list(map(_row, shown.part)))
    yield from ("", "## Stages", "", *table.markdown())


def _row(stage: ReportStage) -> list[str]:
    took = "reused" if stage.reused else wording.seconds(stage.seconds)
    return [f"{stage.stage}:{stage.label}", stage.plugin, str(stage.seed), f"`{stage.key[:12]}`", took]


SECTION = Section(
    name="stages",
    title="The run",
    order=100,
    part=list[ReportStage],
    build=lambda sources: sources.collected.stages,
    template="stages.html.j2",
    links=lambda _: [("run", "The run")],
    markdown=_markdown,
)
