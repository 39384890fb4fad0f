"""Turns pydantic's validation errors into one message with dotted locations and suggestions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from pipeline_core.errors import BadInput, UnknownName, dotted, quoted, suggestion
from pipeline_core.pipeline.config import config_type
from pipeline_core.plugin.registry import Registry
from pipeline_core.plugin.specs import STAGES


def as_bad_input(error: ValidationError, registry: Registry) -> BadInput:
    """Error with a line per problem: location, plugin, message."""
    return BadInput("\n".join(_line(problem, registry) for problem in error.errors(include_url=False)))


def _line(problem: Any, registry: Registry) -> str:
    path, plugin = _location(problem["loc"], registry)
    where = dotted(path) + (f" ({plugin})" if plugin else "")
    kind = problem["type"]
    if kind == "union_tag_invalid":
        stage = path[0]
        names = [spec.name for spec in registry.specs(stage)]
        return str(UnknownName(f"{stage} plugin", str(problem["ctx"]["tag"]), names, where, registry.note()))
    if kind == "union_tag_not_found":
        return f"{where}: `name` is missing; it says which plugin runs the stage"
    if kind == "extra_forbidden":
        return f"{where}: unknown key {quoted(path[-1])}. {suggestion(path[-1], _known_keys(path, plugin, registry))}"
    # pydantic puts the prefix before the text of every ValueError.
    return f"{where}: {problem['msg'].removeprefix('Value error, ')}" + _given(problem)


def _location(loc: tuple[int | str, ...], registry: Registry) -> tuple[list[str], str]:
    """Path of a problem without the plugin name that pydantic adds, and the plugin's name (or "")."""
    path = [str(part) for part in loc]
    if path and path[0] in STAGES:
        tag_at = 2 if len(path) > 1 and path[1].isdigit() else 1  # after the position in a list of entries
        if len(path) > tag_at and path[tag_at] in {spec.name for spec in registry.specs(path[0])}:
            return path[:tag_at] + path[tag_at + 1 :], path[tag_at]
    return path, ""


def _known_keys(path: list[str], plugin: str, registry: Registry) -> Iterable[str]:
    model: type[BaseModel] = registry.get(path[0], plugin).config if plugin else config_type(registry)
    inner = [part for part in path[1 if plugin else 0 : -1] if not part.isdigit()]
    for part in inner:
        field = model.model_fields.get(part)
        nested = [kind for kind in types_in(field.annotation) if issubclass(kind, BaseModel)] if field else []
        if not nested:
            return []
        model = nested[0]
    return model.model_fields


def types_in(annotation: Any) -> Iterator[type]:
    """All types in an annotation."""
    if isinstance(annotation, type):
        yield annotation
    for inner in get_args(annotation):
        yield from types_in(inner)


def _given(problem: Any) -> str:
    value = problem.get("input")
    return f", given {quoted(value)}" if isinstance(value, (str, int, float, bool)) else ""
