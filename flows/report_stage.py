"""The last task of a run: the report, its links in Prefect and its copies in tracking."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from flows.links import link_report
from pipeline_core.pipeline.config import PipelineConfig
from pipeline_core.report import Report, ReportPaths, write_report
from pipeline_core.report.figures.model import Row
from pipeline_core.stage.run import StageResult

if TYPE_CHECKING:
    from pipeline_core.pipeline.plan import PlannedStage
    from pipeline_core.tracking.protocol import TrackedRun


class Made:
    """What a run has made, for its last tasks. A plain class: Prefect does not look into it."""

    def __init__(
        self,
        config: PipelineConfig,
        parent: TrackedRun,
        stages: Mapping[str, PlannedStage],
        results: Mapping[str, StageResult],
    ) -> None:
        self.config = config
        self.parent = parent
        self.stages = stages
        self.results = results

    def facts(self) -> dict[str, dict[str, Any]]:
        """Stage results by the plan's ids; evaluations with the seed of the model they measure."""
        return {
            name: result.model_dump() | {"model_seed": self.stages[name].model_seed}
            for name, result in self.results.items()
        }


def headlines(report: Report) -> dict[str, float]:
    """The tables' figures as metrics of the parent run, `dpo/sandbox/bias`, so that whole runs can be compared.

    Those of rewards begin with `rewards/`.
    """
    tables = [("", report.rows), ("rewards/", report.rewards.rows if report.rewards else [])]
    return {
        f"{prefix}{cell.model}/{_name(row)}": cell.value
        for prefix, rows in tables
        for row in rows
        for cell in row.cells
        if cell.value is not None
    }


def _name(row: Row) -> str:
    """The measure, below its suite where that has a label of its own."""
    return row.measure if row.title == row.measure else f"{row.suite}/{row.measure}"


@task(name="report", task_run_name="report", cache_policy=NO_CACHE, persist_result=False)
def report(made: Made, folder: Path, command: str | None) -> ReportPaths:
    """Write the report into `folder`."""
    info = {"run_id": made.parent.id, "command": command}
    paths = write_report(made.facts(), made.config.model_dump(mode="json"), folder, info)
    for file in filter(None, (paths.html, paths.markdown, paths.json, paths.card, *paths.figures)):
        made.parent.log_artifact(file, (Path("report") / file.parent.relative_to(folder)).as_posix())
    made.parent.log_metrics(headlines(paths.report))
    link_report(paths, made.parent)
    return paths
