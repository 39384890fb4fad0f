"""Verdicts of the gate as text."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline_core.gate.names import part_names
from pipeline_core.report.figures.cells import Figure
from pipeline_core.report.figures.model import GateVerdict
from pipeline_core.report.render import wording

MARKS = {"passed": "✓", "failed": "✗", "undefined": "✗"}


def subject(verdict: GateVerdict) -> str:
    """`sandbox · bias, worst group (race)`."""
    parts = verdict.measure.split("/")
    part = part_names(verdict.axis or "group").get(verdict.part, "")
    # The part is the last word; a measure may be named gap itself.
    names = [word.replace("_", " ") for word in (parts[:-1] if part else parts)]
    group = f" ({wording.plain(verdict.group)})" if verdict.group else ""
    return " · ".join(names) + (f", {part}" if part else "") + group


def limit(verdict: GateVerdict) -> str:
    """`at most 10 pp`, `no more than 2 pp worse than the base`, if asked for `with the whole interval`."""
    bound, unit = number(verdict.bound), verdict.unit
    how = ", with the whole interval" if verdict.by == "interval" else ""
    if verdict.kind in ("at_most", "at_least"):
        return f"{verdict.kind.replace('_', ' ')} {_with(bound, unit)}{how}"
    share = verdict.kind == "worse_by_share"
    size = _with(number(abs(verdict.bound) * (100 if share else 1)), "%" if share else in_points(unit))
    if share and verdict.limit is not None:
        size += f" ({_with(number(abs(verdict.limit)), in_points(unit))})"
    if verdict.bound == 0:
        return f"no worse than the base{how}"
    direction = "no more than {} worse than the base" if verdict.bound > 0 else "at least {} better than the base"
    return direction.format(size) + how


def measured(verdict: GateVerdict) -> str:
    """`14.2 pp [11, 17.5]`, `3.1 pp worse than the base [1.2, 5], ...`; the reason if it is undefined."""
    if verdict.value is None:
        return verdict.reason
    if verdict.worse is None or verdict.worse.value is None:
        return _figure(verdict)
    if verdict.worse.value == 0:
        return f"{_figure(verdict)}, equal to the base"
    is_better = verdict.worse.value < 0
    size, direction = (verdict.worse.negated(), "better") if is_better else (verdict.worse, "worse")
    figure = f"{_with(number(size.value), in_points(verdict.unit))} {direction} than the base{_interval(size)}"
    beyond = f"; minus the limit {number(verdict.beyond.value)}{_interval(verdict.beyond)}" if verdict.beyond else ""
    return f"{figure}, {number(verdict.value)} against {number(verdict.base)}{beyond}"


def counted(verdict: GateVerdict) -> str:
    """`n = 2,200 in 25 templates`; empty if not known."""
    if verdict.value is None or not verdict.n:
        return ""
    counts = {name: getattr(verdict, name) for name in ("n", "n_most", "n_clusters", "n_clusters_most")}
    return wording.count([Figure(**counts)], verdict.resampled)


def sentence(verdict: GateVerdict) -> str:
    """`dpo: sandbox · bias, worst group (race) is 14.2 pp [11, 17.5]; the limit is at most 10 pp`."""
    who = f"{verdict.model}, seed {verdict.seed} alone" if verdict.seed is not None else verdict.model
    result = f"is {measured(verdict)}" if verdict.value is not None else f"has no figure: {verdict.reason}"
    lacking = f" ({verdict.reason})" if verdict.reason and verdict.value is not None else ""
    return f"{who}: {subject(verdict)} {result}{lacking}; the limit is {limit(verdict)}"


def failures(verdicts: Sequence[GateVerdict]) -> str:
    """Sentences on all limits that were not passed, one per line."""
    return "\n".join(sentence(verdict) for verdict in verdicts if verdict.outcome != "passed")


def number(value: float | None) -> str:
    """Four significant digits, `12,345` for larger numbers, with a true minus."""
    if value is None:
        return "–"
    # From there `.4g` writes powers of ten.
    return f"{value:{',.0f' if abs(value) >= 9999.5 else '.4g'}}".replace("-", "−")


def in_points(unit: str) -> str:
    """Unit of a difference: percentage points for percentages."""
    return "pp" if unit == "%" else unit


def _figure(verdict: GateVerdict) -> str:
    return _with(number(verdict.value), verdict.unit) + _interval(Figure(low=verdict.low, high=verdict.high))


def _interval(figure: Figure) -> str:
    if figure.low is None or figure.high is None:
        return ""
    return f" [{number(figure.low)}, {number(figure.high)}]"


def _with(text: str, unit: str) -> str:
    return f"{text} {unit}".rstrip()
