"""Writes a sweep's report as `report.html` (self-contained), `report.md` and `report.json`, and its charts as SVG."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from pipeline_core.files.atomic import replace_file
from pipeline_core.report.figures.cells import MeasureRow
from pipeline_core.report.render import charts as plots
from pipeline_core.report.render import wording
from pipeline_core.report.render.page import style
from pipeline_core.report.render.tables import Table
from pipeline_core.report.sweep import charts
from pipeline_core.report.sweep.model import IN_WORDS, Candidate, SweepPoint, SweepReport

HTML, MARKDOWN, JSON = "report.html", "report.md", "report.json"


def write_sweep_report(report: SweepReport, out: Path) -> dict[str, Path]:
    """Write the report into `out`; paths by name below it."""
    drawn = {"trade_off": charts.trade_off(report), "parallel": charts.parallel(report)} if report.placed else {}
    texts = {
        **{f"figures/{name}.svg": plots.standalone(svg, style()) for name, svg in drawn.items()},
        MARKDOWN: "\n".join(markdown_lines(report)) + "\n",
        HTML: to_html(report, drawn),
        JSON: json.dumps(report.model_dump(mode="json"), indent=1, allow_nan=False),
    }
    for name, text in texts.items():
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        with replace_file(out / name, synced=False) as partial:
            partial.write_text(text, encoding="utf-8")
    return {name: out / name for name in texts}


def to_html(report: SweepReport, drawn: Mapping[str, str]) -> str:
    """The page."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("pipeline_core.report.sweep", ""),
        autoescape=True,  # people choose labels and values
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    palette = plots.colours(list(dict.fromkeys(one.model for one in report.candidates)))
    main, others = _split(report)
    by_number = {point.number: point for point in report.points}
    return environment.get_template("sweep.html.j2").render(
        report=report,
        style=style(),
        wording=wording,
        words=words_of,
        in_words=IN_WORDS,
        apart=apart,
        links=lambda one: links_of(one, by_number),
        main=main,
        others=others,
        colours={one.model: plots.VARIABLES[palette[one.model]] for one in report.candidates},
        trade_off=drawn.get("trade_off", ""),
        parallel=drawn.get("parallel", "") if any(one.values for one in report.candidates) else "",
    )


def _split(report: SweepReport) -> tuple[list[MeasureRow], list[MeasureRow]]:
    """The rows of the trade-off, or all rows where there is none, and the others."""
    main = [report.row(title) for title in (report.bias, report.capability) if title]
    return (main, [row for row in report.rows if row not in main]) if main else (report.rows, [])


def words_of(values: Mapping[str, str]) -> str:
    """`policy.dpo.beta=.05 seeds=0`."""
    return " ".join(f"{path}={value}" for path, value in values.items())


def apart(one: Candidate) -> str:
    """Verdict of the intervals beside the values: settings that are clearly better, or not told apart."""
    if one.standing == "beaten":
        return f"clearly behind {_some(one.behind)}"
    if one.standing == "open":
        return f"values behind {_some(one.behind)}, by no clear difference"
    if one.standing == "front":
        return f"not told apart from {_some(one.alike)}" if one.alike else "clearly differs from every other setting"
    return ""


def _some(labels: list[str], most: int = 3) -> str:
    rest = f" and {len(labels) - most} more" if len(labels) > most else ""
    return "; ".join(labels[:most]) + rest


def links_of(one: Candidate, points: Mapping[int, SweepPoint]) -> list[SweepPoint]:
    """The points that measured a candidate."""
    return [points[number] for number in one.points if number in points]


def table_of(report: SweepReport) -> Table:
    """Settings with standing and the two measures, or with all headline measures where there are no two."""
    main, _ = _split(report)
    head = ["setting", "seeds", *(f"{wording.measure(row.title)} {wording.ARROWS[row.better]}".strip() for row in main)]
    rows = [
        [
            one.label,
            str(len(one.seeds) or ""),
            *(wording.figure(row.cell(one.label), row.unit) for row in main),
            *([IN_WORDS[one.standing]] if report.bias else []),
        ]
        for one in report.candidates
    ]
    return Table(
        [*head, *(["standing"] if report.bias else [])], "lr" + "r" * len(main) + "l" * bool(report.bias), rows
    )


def markdown_lines(report: SweepReport) -> Iterator[str]:
    """The report in Markdown."""
    yield f"# {report.name}"
    yield ""
    yield f"Sweep `{report.sweep_id}`, {len(report.points)} points, {report.created}. {report.engine}".rstrip()
    if report.command:
        yield from ("", f"    {report.command}")
    for point in report.failed:
        first = (point.failure.splitlines() or [point.status])[0]
        yield from ("", f"- Point {point.number} ({words_of(point.values)}) {point.status}: {first}")
    if report.candidates:
        yield ""
        yield from table_of(report).markdown()
        yield ""
        yield from (f"- {note}" for note in report.notes)
