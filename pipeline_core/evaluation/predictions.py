"""Figures of the answers of an external model: from a file of predictions to the paper's figures."""

from __future__ import annotations

from pathlib import Path

from pipeline_core.errors import BadInput, UnknownName
from pipeline_core.plugin.figures import JudgedPredictions
from pipeline_core.plugin.registry import Registry, load_registry
from pipeline_core.plugin.specs import Evaluation


def evaluate_predictions(
    suite: str, file: Path, column: str | None = None, rule: str | None = None, registry: Registry | None = None
) -> JudgedPredictions:
    """Figures of the predictions in `file`, as published for the suite.

    Raises:
        UnknownName: no such suite, none that judges predictions, or no such column; BadInput: the file is missing or
        damaged, a row cannot be judged, or the suite has no use for `column` or `rule`; says which and why.
    """
    able = {
        spec.name: spec.judge_predictions
        for spec in Evaluation.all_in(registry or load_registry())
        if spec.judge_predictions
    }
    if suite not in able:
        raise UnknownName("suite of predictions", suite, able)
    if not file.is_file():
        raise BadInput(f"{suite}: there is no file {file}")
    return able[suite](file, column, rule)
