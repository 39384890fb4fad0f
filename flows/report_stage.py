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
from pipeline_core.report.figures.cells import Row
from pipeline_core.stage.run import StageResult

if TYPE_CHECKING:
    from pipeline_core.tracking.mlflow.run import TrackedRun


class Reporting:
    """What the report is made from. A plain class: Prefect does not look into it."""

    def __init__(
        self,
        config: PipelineConfig,
        parent: TrackedRun,
        results: Mapping[str, StageResult],
        model_seeds: Mapping[str, int | None],
    ) -> None:
        self.config = config
        self.parent = parent
        self.results = results
        self.model_seeds = model_seeds

    def facts(self) -> dict[str, dict[str, Any]]:
        """Stage results by the plan's ids; evaluations with the seed of the model they measure."""
        return {
            name: result.model_dump() | {"model_seed": self.model_seeds[name]} for name, result in self.results.items()
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
def report(reporting: Reporting, folder: Path, command: str | None) -> ReportPaths:
    """Write the report into `folder`."""
    info = {"run_id": reporting.parent.id, "command": command}
    paths = write_report(reporting.facts(), reporting.config.model_dump(mode="json"), folder, info)
    for file in filter(None, (paths.html, paths.markdown, paths.json, paths.card)):
        reporting.parent.log_artifact(file, "report")
    for figure in paths.figures:
        reporting.parent.log_artifact(figure, (Path("report") / figure.parent.relative_to(folder)).as_posix())
    reporting.parent.log_metrics(headlines(paths.report))
    link_report(paths, reporting.parent.url)
    return paths
