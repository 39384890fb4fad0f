"""Explains in plain words why a catalog entry is refused; pydantic reports Python types and every branch of a union."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from pipeline_core.data.entries import KINDS
from pipeline_core.data.entry_base import Unit
from pipeline_core.data.file_entries import Join
from pipeline_core.data.selection import SplitBy
from pipeline_core.errors import dotted, quoted, suggestion

WORDS = {
    "string_type": "a text",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "float_type": "a number",
    "float_parsing": "a number",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
}
"""Expected type in words, by pydantic's type of error."""
INNER: Mapping[str, type[BaseModel]] = {"join": Join, "split_by": SplitBy, "unit": Unit}
"""Models of an entry's keys that hold keys themselves."""
FaultLocation = tuple[str | int, ...]


def faults_of_entry(name: str, value: Any, error: ValidationError) -> list[str]:
    """Sentences about the faulty places of the entry `value`, in their order."""
    problems = error.errors(include_url=False)
    if problems and problems[0]["type"].startswith("union_tag"):
        return [f"{name}: {_kind_fault(value)}"]
    by_place: dict[FaultLocation, list[Any]] = {}
    for problem in problems:
        # `loc` begins with the kind, the union's tag.
        by_place.setdefault(_place(value, problem["loc"][1:]), []).append(problem)
    # Of a union, the branch that reads furthest into the value names the fault; others only report the value's type.
    places = [place for place in by_place if not any(other[: len(place)] == place != other for other in by_place)]
    return [fault for place in places for fault in _faults(name, value, place, by_place[place])]


def _kind_fault(value: Any) -> str:
    if not isinstance(value, Mapping):
        return f"an entry is a mapping with `kind`, `rows` and others, not {quoted(value)}"
    if "kind" not in value:
        return f"`kind` is missing: one of {', '.join(KINDS)}"
    return f"unknown kind {quoted(value['kind'])}. {suggestion(str(value['kind']), KINDS)}"


def _place(value: Any, loc: Sequence[str | int]) -> FaultLocation:
    """Keys and indices of a location, without the names of a union's branches."""
    place: list[str | int] = []
    for step in loc:
        if isinstance(value, Mapping) and step in value:
            value = value[step]
        elif isinstance(value, list | tuple) and isinstance(step, int):
            value = value[step] if step < len(value) else None
        elif re.match(r"\w+\[|(str|int|float|bool)$", str(step)):  # a branch, such as `tuple[str, ...]`
            continue
        place.append(step)
    return tuple(place)


def _value_at(value: Any, place: FaultLocation) -> Any:
    for step in place:
        value = value[step]
    return value


def _faults(name: str, value: Any, place: FaultLocation, problems: Sequence[Any]) -> Iterator[str]:
    where = dotted((name, *place))
    by_type = {problem["type"]: problem for problem in problems}
    wanted = list(dict.fromkeys(WORDS[type_] for type_ in by_type if type_ in WORDS))
    expected = " ".join(str(problem.get("ctx", {}).get("expected", "")) for problem in problems)
    literals = re.findall("'([^']*)'", expected)
    if "missing" in by_type:
        yield f"{where}: is missing"
    elif "extra_forbidden" in by_type:
        known = INNER[str(place[0])] if len(place) == 2 else KINDS[value["kind"]]
        yield f"{where}: unknown key {quoted(place[-1])}. {suggestion(str(place[-1]), known.model_fields)}"
    elif wanted or literals:
        actual = _value_at(value, place)
        shown = "null" if actual is None else quoted(actual)
        told = f"is {shown}, not {_either([*map(repr, literals), *wanted])}"
        close = suggestion(actual, literals) if isinstance(actual, str) and len(literals) > 1 else ""
        # Broken packages, one of which may hold the format.
        note = "".join(f". {problem['ctx']['note']}" for problem in problems if problem.get("ctx", {}).get("note"))
        yield f"{where}: {told}{f'. {close}' if close.startswith('Did') else ''}{note}"
    else:
        yield from (f"{where}: {_sentence(problem)}" for problem in problems)


def _either(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


def _sentence(problem: Any) -> str:
    context = problem.get("ctx", {})
    if problem["type"] in ("too_short", "too_long"):
        bound = f"at least {context['min_length']}" if "min_length" in context else f"at most {context['max_length']}"
        return f"must hold {bound} values, not {context['actual_length']}"
    return str(problem["msg"]).removeprefix("Value error, ")
