"""The report as one HTML page that needs nothing but itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from itertools import groupby
from typing import Any

from pipeline_core.evaluation.item_counts import TRAINING
from pipeline_core.report.figures.calibration import calibration_chart
from pipeline_core.report.figures.model import BASE, Cell, GroupTable, Report, Row, Verdict
from pipeline_core.report.render import charts, gate_words, wording
from pipeline_core.report.render.card import card_of
from pipeline_core.report.render.notes import STEADINESS
from pipeline_core.report.render.training_plots import Plot, Trained

OPEN_GROUP_PLOTS = 4
"""How many plots by group of a suite stand open; the rest is folded."""


@dataclass(frozen=True)
class Verdicts:
    """What the comparisons say of one model."""

    model: str
    better: list[tuple[Row, Cell]]
    worse: list[tuple[Row, Cell]]
    different: list[tuple[Row, Cell]]
    unclear: int


@dataclass(frozen=True)
class Suite:
    """What a suite measured: every model's figures as plots, by group, and what is no headline."""

    title: str
    plots: list[Plot]
    by_group: list[tuple[GroupTable, str]]
    folded: list[tuple[GroupTable, str]]
    details: list[Row]
    items: list[str]


def to_html(report: Report, trained: Sequence[Trained]) -> str:
    """The page; `trained` are the plots of its trainings."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.globals.update(wording=wording, words=gate_words, BASE=BASE, groupby=_sections)
    palette = charts.colours(report.calibrated) | charts.colours([model.label for model in report.models])
    template = environment.from_string(_resource("page.html.j2"))
    return template.render(
        report=report,
        style=style(),
        card=card_of(report),
        gate=[(model, list(members)) for model, members in groupby(_by_model(report), key=lambda one: one.model)],
        swatches={model: charts.VARIABLES[colour] for model, colour in palette.items()},
        verdicts=[_verdicts(report, model.label) for model in report.models if model.label != BASE],
        suites=list(_suites(report)),
        reward_plots=[(table, charts.group_chart(table)) for table in report.rewards.group_tables]
        if report.rewards
        else [],
        calibration_plots=[(table, calibration_chart(table, report.calibrated)) for table in report.calibration],
        trained=trained,
        training_items=_items(report, TRAINING),
        config=_yaml(report.config),
        steadiness_note=STEADINESS,
    )


def _items(report: Report, suite: str) -> list[str]:
    """What a suite, or the trainings, counted."""
    return [wording.counted(one, len(report.models)) for one in report.items if one.suite == suite]


def _suites(report: Report) -> Iterator[Suite]:
    """A section for every suite, in the order of the table."""
    for name in dict.fromkeys(row.suite for row in (*report.rows, *report.details)):
        tables = [(table, charts.group_chart(table)) for table in report.group_tables if table.suite == name]
        yield Suite(
            title=wording.plain(name),
            plots=[_measure_plot(row) for row in report.rows if row.suite == name and _is_plotted(row)],
            by_group=tables[:OPEN_GROUP_PLOTS],
            folded=tables[OPEN_GROUP_PLOTS:],
            details=[row for row in report.details if row.suite == name],
            items=_items(report, name),
        )


def style() -> str:
    """The page's style sheet."""
    return _resource("style.css")


def _resource(name: str) -> str:
    return (files("pipeline_core.report") / name).read_text(encoding="utf-8")


def _sections(rows: Sequence[Row]) -> list[tuple[str, list[Row]]]:
    return [(name, list(members)) for name, members in groupby(rows, key=wording.section)]


def _by_model(report: Report) -> list[Verdict]:
    """The gate's verdicts in the order of the models."""
    order = list(dict.fromkeys(one.model for one in report.gate))
    return sorted(report.gate, key=lambda one: order.index(one.model))


def _verdicts(report: Report, model: str) -> Verdicts:
    pairs = [(row, row.cell(model)) for row in report.rows if row.part in ("", "worst_group")]

    def having(verdict: str) -> list[tuple[Row, Cell]]:
        return [(row, cell) for row, cell in pairs if cell.verdict == verdict]

    return Verdicts(model, having("better"), having("worse"), having("different"), len(having("unclear")))


def _is_plotted(row: Row) -> bool:
    """Measures are, what is said of their groups stands in the plots by group."""
    return not row.part and any(cell.value is not None for cell in row.cells)


def _measure_plot(row: Row) -> Plot:
    return Plot(wording.measure(row.title), charts.measure_chart(row))


def _yaml(config: dict[str, Any]) -> str:
    import yaml

    text: str = yaml.safe_dump(config, sort_keys=False, allow_unicode=True)
    return text
