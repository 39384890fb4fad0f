"""Answers of an external model: rows of a file of predictions, and the paper's figures of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline_core.data.casting import plain_values
from pipeline_core.data.files import read_chunks
from pipeline_core.errors import BadInput, UnknownName
from pipeline_core.plugin.figures import JudgedPredictions
from pipeline_core.plugin.registry import Registry, load_registry
from pipeline_core.plugin.specs import Evaluation

FORMATS = {".jsonl": "jsonl", ".json": "json", ".csv": "csv", ".parquet": "parquet"}


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


def read_rows(file: Path, name: str) -> Iterator[tuple[dict[str, Any], str]]:
    """Every row and the text for its place in the file.

    Raises:
        BadInput: the file's name ends in none of `FORMATS` (with or without `.gz`), or the file is damaged (with the
            line) or has no rows.
    """
    suffix = Path(file.name.lower().removesuffix(".gz")).suffix
    if suffix not in FORMATS:
        raise BadInput(f"{file}: its name must end in one of {', '.join(FORMATS)} (or that and .gz), not in {suffix!r}")
    for chunk in read_chunks(file, FORMATS[suffix], name):
        columns = {column: plain_values(chunk.table[column]) for column in chunk.table.column_names}
        for row in range(chunk.table.num_rows):
            yield {column: values[row] for column, values in columns.items()}, chunk.place(row)
