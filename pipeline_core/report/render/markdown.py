"""The report's table as Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from pipeline_core.report.figures.model import Cell, GroupTable, Model, Report, Rewards, Row, Verdict
from pipeline_core.report.render import gate_words as words
from pipeline_core.report.render import wording
from pipeline_core.report.render.notes import STEADINESS


def to_markdown(report: Report) -> str:
    """The whole report without its plots."""
    return "\n".join(_lines(report)) + "\n"


def _lines(report: Report) -> Iterator[str]:
    yield f"# {report.name}"
    if report.description:
        yield from ("", report.description)
    facts = [f"run `{report.run_id}`" if report.run_id else "", report.created, _seeds(report)]
    yield from ("", " · ".join(fact for fact in facts if fact), "")
    yield from gate_lines(report.gate)
    if report.gate:
        yield from ("", "## Measures", "")
    if report.models:
        yield from comparison_lines(report.rows, report.models)
        yield ""
    yield from (f"- {note}" for note in report.notes)
    yield from (f"- {line}" for line in (*wording.undefined(report), *wording.without_interval(report)))
    yield from (f"- {wording.plain(one.suite)}: {wording.counted(one, len(report.models))}" for one in report.items)
    yield from _groups(report.group_tables)
    if report.rewards:
        yield from _rewards(report.rewards)
    if report.steadiness:
        yield from _steadiness(report)
    yield from _stages(report)
    yield from ("", "## Again", "", "```", report.command, "```")


def gate_lines(gate: Sequence[Verdict], level: str = "##") -> Iterator[str]:
    """The verdicts as a table; nothing without a gate."""
    if not gate:
        return
    yield from (f"{level} Gate", "")
    yield from _line(["model", "measure", "limit", "found", "verdict"])
    yield from _line(["---"] * 5)
    for one in gate:
        model = one.model if one.seed is None else f"{one.model}, seed {one.seed} alone"
        lacking = f" ({one.reason})" if one.reason and one.value is not None else ""
        found = ", ".join(part for part in (words.measured(one), words.counted(one)) if part) + lacking
        yield from _line(
            [model, words.subject(one), words.limit(one), found, f"{words.MARKS[one.outcome]} {one.outcome}"]
        )


def _seeds(report: Report) -> str:
    return f"seeds {', '.join(map(str, report.seeds))}" if report.seeds else ""


def _rewards(rewards: Rewards) -> Iterator[str]:
    yield from ("", "## Rewards", "")
    yield from comparison_lines(rewards.rows, rewards.models)
    yield ""
    yield from (f"- {note}" for note in rewards.notes)
    yield from (f"- {line}" for line in (*wording.undefined(rewards), *wording.without_interval(rewards)))
    yield from _groups(rewards.group_tables, level="###")


def comparison_lines(rows: Sequence[Row], models: Sequence[Model]) -> Iterator[str]:
    """The table of all models, a line for each measure."""
    labels = [model.label for model in models]
    yield from _line(["measure", "n", *labels])
    yield from _line(["---", "---:", *("---:" for _ in labels)])
    for name, members in groupby(rows, key=wording.section):
        yield from _line([f"**{name}**", "", *("" for _ in labels)])
        for row in members:
            heading = ("&emsp;" if row.part else "") + wording.heading(row)
            yield from _line(
                [
                    heading,
                    wording.items_in(row.cells, row.resampled),
                    *(_text(row, row.cell(label)) for label in labels),
                ]
            )


def _line(cells: list[str]) -> Iterator[str]:
    yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _text(row: Row, cell: Cell) -> str:
    value = wording.number(cell.value, row.unit)
    value = f"**{value}**" if cell.best else value
    spread = f"s {wording.number(cell.spread, row.unit)}" if cell.spread is not None else ""
    group = wording.plain(cell.group)
    own = wording.own_count(cell, row.cells, row.resampled)
    first = " ".join(part for part in (value, spread, wording.interval(cell, row.unit), group, own) if part)
    compared = (
        wording.difference(cell, row.unit),
        wording.difference_interval(cell, row.unit),
        wording.compared(cell),
    )
    second = " ".join(part for part in compared if part)
    return f"{first}<br>{second}" if second else first


def _groups(tables: Sequence[GroupTable], level: str = "##") -> Iterator[str]:
    if tables:
        yield from ("", f"{level} Groups", "")
        yield from _line(["measure", "model", "worst group", "n", "value", "gap", "mean over groups", "n of all"])
        yield from _line(["---", "---", "---", *["---:"] * 5])
    for table in tables:
        for column in table.columns:
            figures = [wording.figure(one, table.unit) for one in (column.worst_group, column.gap, column.mean)]
            worst = [
                wording.plain(column.worst) or wording.UNDEFINED,
                wording.items_in([column.worst_group], table.resampled),
            ]
            name, all_items = wording.measure(table.title), wording.items_in([column.mean], table.resampled)
            yield from _line([name, column.model, *worst, *figures, all_items])


def _steadiness(report: Report) -> Iterator[str]:
    yield from ("", "## Reward gained, and how steadily", "")
    yield from _line(["policy", "seeds", "start", "end", "gained ± se", "spread over steps", "spread over seeds"])
    yield from _line(["---", *["---:"] * 6])
    for one in report.steadiness:
        label = one.label if one.learned else f"{one.label} (has not learned)"
        start, end, steps, seeds = map(wording.number, (one.start, one.end, one.over_steps, one.over_seeds))
        gained = f"{wording.number(one.gained, sign=True)} ± {wording.number(one.error)}"
        yield from _line([label, str(one.seeds), start, end, gained, steps, seeds])
    yield from ("", f"- {STEADINESS}")


def _stages(report: Report) -> Iterator[str]:
    yield from ("", "## Stages", "")
    yield from _line(["stage", "plugin", "seed", "key", "took"])
    yield from _line(["---", "---", "---:", "---", "---:"])
    for stage in report.stages:
        took = "reused" if stage.reused else wording.seconds(stage.seconds)
        yield from _line([f"{stage.stage}:{stage.label}", stage.plugin, str(stage.seed), f"`{stage.key[:12]}`", took])
