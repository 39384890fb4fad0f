"""Builds a report from a run's results and writes it in three forms."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline_core.report.all_sections import SECTIONS
from pipeline_core.report.figures.collect import ReportData, collect
from pipeline_core.report.figures.model import Report, ReportPaths, dump_report
from pipeline_core.report.figures.sources import Sources
from pipeline_core.report.render import charts
from pipeline_core.report.render.markdown import to_card, to_markdown
from pipeline_core.report.render.notes import notes
from pipeline_core.report.render.page import drawn_sections, style, to_html

Results = Iterable[Any] | Mapping[str, Any]


def write_report(
    results: Results, config: Mapping[str, Any], out: Path, run_info: Mapping[str, Any] | None = None
) -> ReportPaths:
    """Write `report.json`, `report.md`, `report.html` (self-contained), `model_card.md` where a policy was trained, and
    the plots of groups and calibration as SVG files into `out`.

    Args:
        results: Stage results, reused ones included, or a mapping from the plan's stage ids to them.
        config: The pipeline's configuration as JSON.
        out: Folder, created if missing.
        run_info: Facts of the run: `run_id`, `command`, `created` (epoch seconds or text), `data` (a list with
            `entry`, `licence`, `citation`); all other entries are shown unchanged.
    """
    collected = collect(results)
    report = _build(collected, config, run_info or {})
    out.mkdir(parents=True, exist_ok=True)
    drawn = drawn_sections(report, collected.curves)  # once, for the page and for the files
    figures = []
    for name, svg in (file for entry in drawn for file in entry.section.files(entry.names)):
        figures.append(out / "figures" / f"{name}.svg")
        figures[-1].parent.mkdir(parents=True, exist_ok=True)
        figures[-1].write_text(charts.standalone(svg, style()), encoding="utf-8")
    card = out / "model_card.md" if any(stage.stage == "policy" for stage in report.stages) else None
    paths = ReportPaths(out / "report.html", out / "report.md", out / "report.json", report, tuple(figures), card)
    if card:
        card.write_text(to_card(report), encoding="utf-8")
    paths.json.write_text(dump_report(report), encoding="utf-8")
    paths.markdown.write_text(to_markdown(report), encoding="utf-8")
    paths.html.write_text(to_html(report, drawn), encoding="utf-8")
    return paths


def build_report(results: Results, config: Mapping[str, Any], run_info: Mapping[str, Any] | None = None) -> Report:
    """The report as data, without writing files."""
    return _build(collect(results), config, run_info or {})


def _build(collected: ReportData, config: Mapping[str, Any], info: Mapping[str, Any]) -> Report:
    """The report: facts and tables that several sections show, and the data of every section."""
    sources = Sources(collected, config, info)
    parts = {section.name: section.build(sources) for section in SECTIONS if section.build}
    return Report(
        name=str(config.get("name", "pipeline")),
        description=str(config.get("description", "")),
        run_id=str(info.get("run_id", "")),
        created=_moment(info.get("created")),
        command=str(info.get("command") or shlex.join(["evenhand", "run", str(config.get("name", "pipeline"))])),
        models=sources.models,
        rows=sources.tables.rows,
        details=sources.tables.details,
        group_tables=sources.tables.group_tables,
        data=list(info.get("data") or sources.data),
        versions=sources.versions,
        config=dict(config),
        info={name: value for name, value in info.items() if name not in ("run_id", "created", "command", "data")},
        notes=notes(sources.models, sources.tables) if sources.models else [],  # a run may measure rewards alone
        **{name: part for name, part in parts.items() if name in Report.model_fields},
        sections={name: part for name, part in parts.items() if part and name not in Report.model_fields},
    )


def _moment(created: Any) -> str:
    if isinstance(created, str):
        return created
    when = datetime.fromtimestamp(created, UTC) if created else datetime.now(UTC)  # UTC: equal bytes on every machine
    return when.strftime("%Y-%m-%d %H:%M UTC")
