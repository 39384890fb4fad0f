"""The two measures of a sweep's trade-off: those asked for, else the first of bias and the first of capability."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from pipeline_core.errors import BadInput, check_known
from pipeline_core.report.figures.measured import MeasureRuns

CAPABILITY = ("knowledge", "accuracy", "mc1", "mc2", "lm", "perplexity")
"""Words of measures of capability, the preferred first."""


class Chosen(NamedTuple):
    """The two measures."""

    bias: MeasureRuns
    capability: MeasureRuns


def chosen(measures: Sequence[MeasureRuns], bias: str = "", capability: str = "") -> Chosen | None:
    """Measures by title, such as `sandbox/bias`; None if there are no two, and none is asked for.

    Raises:
        BadInput: a title is unknown, has no better direction, or both are the same.
    """
    directed = {measure.title: measure for measure in measures if measure.better != "neither"}
    check_known("measure", [title for title in (bias, capability) if title], directed, "--bias, --capability")
    one = directed.get(bias) or _first(directed, ["bias", "stereotype"], "lower")
    other = directed.get(capability) or _first(
        {title: measure for title, measure in directed.items() if measure is not one}, CAPABILITY, "higher"
    )
    if bias and bias == capability:
        raise BadInput(f"--bias and --capability are both {bias}; name two measures")
    return Chosen(one, other) if one and other else None


def _first(measures: dict[str, MeasureRuns], words: Sequence[str], better: str) -> MeasureRuns | None:
    """The first headline measure with a word in its name, in the order of the words; else the first of a direction."""
    shown = [measure for measure in measures.values() if measure.headline]
    for word in words:
        if named := next((measure for measure in shown if word in measure.title.split("/")[-1].split("_")), None):
            return named
    return next((measure for measure in shown if measure.better == better), shown[0] if shown else None)
