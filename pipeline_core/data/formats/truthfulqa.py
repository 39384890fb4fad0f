"""The format of TruthfulQA (arXiv 2109.07958), multiple choice: answers with marks, 1 for true and 0 for false.

Answers are the keys of an object. Their order has no meaning: two questions list a true answer after a false answer.
In the release of 2025 some lists end in an empty answer; these are dropped and counted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa

from pipeline_core.data.casting import plain_values
from pipeline_core.data.contract import STRINGS
from pipeline_core.data.formats.format import DataFormat, Rows
from pipeline_core.data.row_checks import ValueFault

NEEDS = ("question", "mc1_targets", "mc2_targets")
TYPES = {
    "options": STRINGS,
    "label": pa.int64(),
    "answers": STRINGS,
    "truths": pa.list_(pa.int64()),
    "blank": pa.int64(),
}


def truthfulqa(table: pa.Table) -> Rows:
    """Questions with `options` and `label` (MC1), `answers` and `truths` (MC2, 1 for a true answer), and `blank`.

    `blank` counts the empty answers, which are left out. Faults: `options` if none or all of the answers are true, or
    several of MC1's; `range` for a mark other than 0 and 1; `type` for anything but an object.
    """
    rows: list[dict[str, Any]] = []
    faults: list[ValueFault] = []
    for number, marked in enumerate(zip(*(plain_values(table[name]) for name in NEEDS[1:]), strict=True)):
        named = zip(NEEDS[1:], marked, strict=True)
        wrong = [(column, *fault) for column, answers in named for fault in _faults(answers, column == "mc1_targets")]
        faults += [ValueFault(number, *fault) for fault in wrong]
        rows.append(_STAND_IN if wrong else _row(*map(_marks, marked)))
    made = {name: pa.array([row[name] for row in rows], type_) for name, type_ in TYPES.items()}
    return pa.table({"prompt": table["question"], **made}), faults


_STAND_IN: dict[str, Any] = {"options": ["-", "-"], "label": 0, "answers": ["-", "-"], "truths": [1, 0], "blank": 0}
"""Values for a faulty row, which is reported or left out, so that no second fault is found in it."""


def _marks(answers: Mapping[str, int | None]) -> dict[str, int]:
    """Answers of this question; in a short file Arrow gives every row the answers of all rows, the others' as null."""
    return {answer: mark for answer, mark in answers.items() if mark is not None}


def _row(first: dict[str, int], second: dict[str, int]) -> dict[str, Any]:
    single, multiple = ({answer: mark for answer, mark in marks.items() if answer.strip()} for marks in (first, second))
    return {
        "options": list(single),
        "label": list(single.values()).index(1),
        "answers": list(multiple),
        "truths": list(multiple.values()),
        "blank": len(first) - len(single) + len(second) - len(multiple),
    }


def _faults(answers: Any, is_single: bool) -> Iterator[tuple[str, str]]:
    if not isinstance(answers, Mapping):
        yield "type", "is no object of answers and marks"
        return
    marks = [mark for answer, mark in _marks(answers).items() if answer.strip()]
    if set(marks) - {0, 1}:
        yield "range", f"holds a mark {max(set(marks) - {0, 1})!r} that is neither 0 nor 1"
    elif set(marks) != {0, 1}:
        yield "options", "does not hold both a true and a false answer"
    elif is_single and sum(marks) > 1:
        yield "options", f"holds {sum(marks)} true answers instead of one"


FORMATS = (DataFormat("truthfulqa", NEEDS, truthfulqa),)
