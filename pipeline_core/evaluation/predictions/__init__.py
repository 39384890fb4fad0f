"""Scores of answers that somebody else's model has given: from a file of predictions to the paper's figures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pipeline_core.errors import BadInput, UnknownName

if TYPE_CHECKING:
    from pipeline_core.evaluation.predictions.result import Judged
    from pipeline_core.stats.bbq import Rule

SUITES = ("bbq", "stereoset")


def evaluate_predictions(suite: str, file: Path, column: str | None = None, rule: Rule | None = None) -> Judged:
    """Figures of the predictions in `file`, as published for the suite.

    Raises:
        UnknownName: no such suite, or no such column; BadInput: the file is missing or damaged, or a row cannot be
        judged; says which and why.
    """
    if suite not in SUITES:
        raise UnknownName("suite of predictions", suite, SUITES)
    if not file.is_file():
        raise BadInput(f"{suite}: there is no file {file}")
    if suite == "bbq":
        from pipeline_core.evaluation.predictions.bbq import judge_file

        return judge_file(file, column, rule or "target")
    if column or rule:
        option = "--prediction-column" if column else "--rule"
        raise BadInput(f"{option} is for bbq: predictions for {suite} hold a score for every sentence")
    from pipeline_core.evaluation.predictions.stereoset import judge_scores

    return judge_scores(file)
