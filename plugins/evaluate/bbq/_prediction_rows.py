"""Rows of predictions for BBQ, the questions they answer, and their group tags.

Columns that repeat the question must agree with it. Tags have BBQ's form; in a CSV they are a text of JSON or Python.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from reprlib import repr as shown
from typing import Any, TypeGuard

from pipeline_core.data.catalog import Catalog
from pipeline_core.data.refs import DataRef
from pipeline_core.errors import BadInput, UnknownName, quoted, shortened

ENTRY = "bbq"
KEYS = ("category", "example_id")
OPTIONS = ("ans0", "ans1", "ans2")
SHORT = {"ambiguous": "ambig", "disambiguated": "disambig"}
SAME = {
    "context": "context",
    "question": "question",
    "label": "label",
    "question_polarity": "polarity",
    "question_index": "question_index",
}
METADATA = (
    *("target_loc", "label_type", "full_cond", "Known_stereotyped_groups", "Known_stereotyped_race"),
    *("Known_stereotyped_var2", "Relevant_social_values", "corr_ans_aligns_race", "corr_ans_aligns_var2"),
)
GOLD = "label"
"""Column of the right answers; it can be judged like predictions, to try a file out."""
OWN = {*KEYS, *OPTIONS, *SAME, *METADATA, "context_condition", "answer_info", "additional_metadata"}
"""Columns of BBQ's own files; all other columns of a file are predictions."""

LocatedRow = tuple[dict[str, Any], str]


def answer_column(file: Path, rows: Sequence[LocatedRow], column: str | None) -> str:
    """Name of the column of answers, checked.

    Raises:
        BadInput: no column is given, or one of BBQ's own; or the file lacks the columns that identify questions.
        UnknownName: the file has no such column.
    """
    names = list(dict.fromkeys(name for row, _ in rows for name in row))
    if absent := [name for name in KEYS if name not in names]:
        raise BadInput(f"bbq: {file}: missing column {absent[0]!r}; columns found: {', '.join(names)}")
    candidates = [name for name in names if name not in OWN]
    listed = ", ".join(candidates) or f"none besides BBQ's own ({', '.join(names)})"
    if column is None:
        raise BadInput(f"bbq: {file}: name the column to judge by --prediction-column; columns: {listed}")
    if column in OWN - {GOLD}:
        raise BadInput(f"bbq: {file}: column {column!r} is BBQ's own, not one of answers; columns: {listed}")
    if column not in names:
        raise UnknownName("column", column, candidates or names, where=f"bbq: {file}")
    return column


def items_of(rows: Sequence[LocatedRow]) -> dict[str, dict[str, Any]]:
    """Questions of the categories that the rows name, by id."""
    import pyarrow as pa
    import pyarrow.compute as pc

    categories = sorted({str(row["category"]) for row, _ in rows})
    table = Catalog.from_environment().load(DataRef(entry=ENTRY)).with_format("arrow")[:]
    # filtered as Arrow: BBQ has 58,492 questions, each of which would become a dict
    wanted = pc.is_in(table["domain"], value_set=pa.array(categories, pa.string()))
    return {item["id"]: item for item in table.filter(wanted).to_pylist()}


def with_items(
    rows: Sequence[LocatedRow], items: Mapping[str, dict[str, Any]]
) -> Iterator[tuple[dict[str, Any], dict[str, Any], str]]:
    """Rows with the questions they answer, and their places; a question may be answered only once."""
    places: dict[str, str] = {}
    for row, place in rows:
        name = f"{row['category']}/{_text(row['example_id'])}"
        if name not in items:
            raise BadInput(f"bbq: {place}: there is no question {shortened(name)} (category/example_id)")
        if name in places:
            # of the earlier place the line alone: the file is told
            raise BadInput(f"bbq: {place}: question {name} is answered before, in {places[name].rpartition(', ')[2]}")
        places[name] = place
        _check_same(row, items[name], place)
        yield row, items[name], place


def _check_same(row: Mapping[str, Any], item: Mapping[str, Any], place: str) -> None:
    known = {name: item[ours] for name, ours in SAME.items()} | dict(zip(OPTIONS, item["options"], strict=True))
    known["context_condition"] = SHORT[item["condition"]]
    for name, value in known.items():
        if name in row and _text(row[name]) != str(value):
            raise BadInput(
                f"bbq: {place}: column {name!r} is {quoted(row[name], 200)}, and question {item['id']} has {value!r}"
            )


def _text(value: Any) -> str:
    """A value as text, 7.0 as 7: a fraction or a missing value makes a whole column floating-point."""
    return re.sub(r"^(\d+)\.0+$", r"\1", str(value))


def own_tags(row: Mapping[str, Any], place: str) -> dict[str, list[str]]:
    """`tags` of the options and `stereotyped` groups, each where the row has its column.

    Raises:
        BadInput: a column is not in BBQ's form; says where and how.
    """
    tags = {}
    for column, name, read in (("answer_info", "tags", _tags), ("additional_metadata", "stereotyped", _stereotyped)):
        value = _unpacked(row.get(column))
        try:
            if value is not None:
                tags[name] = read(value)
        except ValueError as fault:
            raise BadInput(f"bbq: {place}: column {column!r} {fault}") from None
    return tags


def _tags(info: Any) -> list[str]:
    if not isinstance(info, dict) or any(info[name] is not None for name in info.keys() - set(OPTIONS)):
        raise ValueError(f"is {shown(info)}, not an object with {', '.join(OPTIONS)}")
    for option in OPTIONS:
        if not _are_texts(info.get(option)) or len(info[option]) != 2:
            raise ValueError(f"holds {shown(info.get(option))} under {option}, not two texts: the answer and its tag")
    return [info[option][1] for option in OPTIONS]


def _stereotyped(metadata: Any) -> list[str]:
    if not isinstance(metadata, dict):
        raise ValueError(f"is {shown(metadata)}, not an object with stereotyped_groups")
    groups = metadata.get("stereotyped_groups")
    if not _are_texts(groups):
        raise ValueError(f"holds {shown(groups)} under stereotyped_groups, not a list of texts")
    return groups


def _are_texts(value: Any) -> TypeGuard[list[str]]:
    return isinstance(value, list) and all(isinstance(text, str) for text in value)


def _unpacked(value: Any) -> Any:
    """Value of a text of JSON or Python; None for a blank text; other texts and values unchanged."""
    if not isinstance(value, str):
        return value
    for read in (json.loads, ast.literal_eval):  # pandas writes lists into a CSV as Python does
        try:
            return read(value) if value.strip() else None
        except (ValueError, SyntaxError, RecursionError, MemoryError):  # deep nesting raises the last two
            continue
    return value
