"""Group tags in a row of predictions, in BBQ's form; in a CSV as a text of JSON or Python."""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping
from reprlib import repr as shown
from typing import Any, TypeGuard

from pipeline_core.errors import BadInput

OPTIONS = ("ans0", "ans1", "ans2")


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
