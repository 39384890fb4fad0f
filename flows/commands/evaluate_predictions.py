"""`evenhand evaluate-predictions`: the paper's figures for a file of predictions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from flows.output import AsJson, print_json, say, table

SuiteArgument = Annotated[str, typer.Argument(metavar="SUITE", help="bbq or stereoset.")]
FileArgument = Annotated[
    Path, typer.Argument(metavar="FILE", help="bbq: JSON lines, CSV or Parquet; stereoset: JSON; `.gz` or not.")
]
ColumnOption = Annotated[str | None, typer.Option(metavar="NAME", help="bbq: the column that holds the answers.")]


class BiasRuleName(StrEnum):
    """Rule that selects the biased answer of a BBQ item."""

    target = "target"
    group = "group"


RuleOption = Annotated[
    BiasRuleName | None,
    typer.Option(help="bbq: the biased answer is the released `target` (default), or told by its `group` tag."),
]


def evaluate_predictions(
    suite: SuiteArgument,
    file: FileArgument,
    prediction_column: ColumnOption = None,
    rule: RuleOption = None,
    as_json: AsJson = False,
) -> None:
    """Judge a file of predictions, from any model: BBQ's accuracies and bias scores, or StereoSet's LM, SS and ICAT.

    The questions are read from EVENHAND_DATA. Undefined figures are null, and – in the table.
    """
    from pipeline_core.evaluation.predictions import evaluate_predictions as judge
    from pipeline_core.files.atomic import user_path

    judged = judge(suite, user_path(file), prediction_column, rule.value if rule else None)
    for note in judged.notes:
        say(note)
    if as_json:
        print_json(judged.figures)
        return
    rows = [[first, second, *_shown(cell)] for first, part in judged.figures.items() for second, cell in part.items()]
    table(f"{suite}: {file.name}", list(judged.heads), rows)


def _shown(cell: Mapping[str, float | int | None]) -> Iterator[str]:
    for name, value in cell.items():
        if value is None:
            yield "–"
        elif isinstance(value, int):
            yield str(value)
        else:
            yield f"{value:.4f}" if name == "invalid_rate" else f"{value:.1f}"
