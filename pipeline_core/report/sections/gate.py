"""The gate: the configured limits applied to the figures of the report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pipeline_core.gate.settings import Limit, Registration
from pipeline_core.report.figures.cells import BASE
from pipeline_core.report.figures.collect import ModelEvaluation
from pipeline_core.report.figures.judging import judge
from pipeline_core.report.figures.measured import measured
from pipeline_core.report.figures.model import GateVerdict
from pipeline_core.report.figures.sources import Sources
from pipeline_core.report.render import gate_words as words
from pipeline_core.report.render.tables import Table, said
from pipeline_core.report.section import Section, Shown

if TYPE_CHECKING:
    from rich.console import RenderableType


def _build(sources: Sources) -> list[GateVerdict]:
    """Verdicts on every policy over all its seeds, then on the single seed that a passed gate registers.

    That seed is the first of the list: choosing the best one would overstate its figures.
    """
    config, evaluations = sources.config, sources.collected.about("model")
    limits = [Limit.model_validate(entry) for entry in config.get("gate") or ()]
    if not limits:
        return []
    base: dict[str, list[int | None]] = {BASE: [None]} if config.get("base") else {}
    # Seeds of the plan, not those that were evaluated: a missing seed must not pass.
    seeds = base | {_label(entry): list(config["seeds"]) for entry in config.get("policy") or ()}
    verdicts = list(judge(limits, sources.tables.found, seeds))
    for label in _registered(config):
        if len(seeds[label]) > 1:  # a single seed has its verdict already
            verdicts += _alone(limits, evaluations, label, seeds[label][0])
    return verdicts


def _registered(config: Mapping[str, Any]) -> list[str]:
    """Labels of the policies that a passed gate registers."""
    if not (wanted := config.get("register_as")):
        return []
    return list(Registration.model_validate(wanted).models) or [_label(entry) for entry in config["policy"]]


def _label(entry: Mapping[str, Any]) -> str:
    return str(entry.get("label") or entry["name"])


def _alone(
    limits: Sequence[Limit], evaluations: Sequence[ModelEvaluation], label: str, seed: int | None
) -> Iterator[GateVerdict]:
    # Drawn again for this seed: an interval over all seeds is about a new seed.
    chosen = [run for run in evaluations if run.label == BASE or (run.label == label and run.seed == seed)]
    judged = judge(limits, measured(chosen, [BASE, label]), {BASE: [None], label: [seed]}, seed)
    return (verdict for verdict in judged if verdict.model == label)


def _draw(shown: Shown[list[GateVerdict]]) -> dict[str, Any]:
    """Verdicts by model, in the order of the models."""
    of_model: dict[str, list[GateVerdict]] = {}
    for verdict in shown.part:
        of_model.setdefault(verdict.model, []).append(verdict)
    return {"gate": list(of_model.items())}


def _markdown(shown: Shown[list[GateVerdict]]) -> Iterator[str]:
    head = ["model", "measure", "limit", "found", "verdict"]
    yield from ("", "## Gate", "", *Table(head, "lllll", list(map(_row, shown.part))).markdown())


def _row(one: GateVerdict) -> list[str]:
    model = one.model if one.seed is None else f"{one.model}, seed {one.seed} alone"
    lacking = f" ({one.reason})" if one.reason and one.value is not None else ""
    figure = ", ".join(part for part in (words.measured(one), words.counted(one)) if part) + lacking
    return [model, words.subject(one), words.limit(one), figure, f"{words.MARKS[one.outcome]} {one.outcome}"]


def _terminal(shown: Shown[list[GateVerdict]]) -> Iterator[RenderableType]:
    for verdict in shown.part:
        style = "green" if verdict.passed else "bold red"
        yield said(f"{words.MARKS[verdict.outcome]} gate  {words.sentence(verdict)}", style)


SECTION = Section(
    name="gate",
    title="Gate",
    order=10,
    part=list[GateVerdict],
    build=_build,
    template="gate.html.j2",
    draw=_draw,
    markdown=_markdown,
    terminal=_terminal,
    terminal_order=100,  # the last lines are read first
    card=_markdown,
)
