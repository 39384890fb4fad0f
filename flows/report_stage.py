"""The last task of a run: the report, its links in Prefect and its copies in tracking."""

from __future__ import annotations

from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE

from flows.links import link_report
from flows.run import PipelineRun
from pipeline_core.report import Report, ReportPaths, write_report
from pipeline_core.report.figures.cells import MeasureRow


def headlines(report: Report) -> dict[str, float]:
    """Figures of the tables as metrics of the parent run: `dpo/sandbox/bias`; with `rewards/` before it for rewards."""
    tables = [("", report.rows), ("rewards/", report.rewards.rows if report.rewards else [])]
    return {
        f"{prefix}{cell.model}/{_name(row)}": cell.value
        for prefix, rows in tables
        for row in rows
        for cell in row.cells
        if cell.value is not None
    }


def _name(row: MeasureRow) -> str:
    """Name of a measure, prefixed by the suite if the row's title differs from the measure."""
    return row.measure if row.title == row.measure else f"{row.suite}/{row.measure}"


@task(name="report", task_run_name="report", cache_policy=NO_CACHE, persist_result=False)
def report(run: PipelineRun, folder: Path, command: str | None) -> ReportPaths:
    """Write the report into `folder`; copy it to tracking and link it in Prefect."""
    info = {"run_id": run.parent.id, "command": command}
    seeds = {name: {"model_seed": run.stages[name].model_seed} for name in run.results}
    facts = {name: result.model_dump() | seeds[name] for name, result in run.results.items()}
    paths = write_report(facts, run.config.model_dump(mode="json"), folder, info)
    for file in filter(None, (paths.html, paths.markdown, paths.json, paths.card, *paths.figures)):
        run.parent.log_artifact(file, (Path("report") / file.parent.relative_to(folder)).as_posix())
    run.parent.log_metrics(headlines(paths.report))
    link_report(paths, run.parent)
    return paths
