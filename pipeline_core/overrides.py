"""`key=value` overrides: `policy.0.beta=.1`, `policy.dpo.beta=.1`, `seeds=0,1`, `base.name=checkpoint`."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from pipeline_core.errors import BadInput, suggestion


def apply_overrides(document: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """A copy of `document` with every `dotted.key=value` set; values are YAML, a bare comma makes a list."""
    result = copy.deepcopy(dict(document))
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals or not key.strip():
            raise BadInput(f"override {override!r} is not of the form key=value")
        _set(result, key.strip().split("."), _value(override, text), override)
    return result


def _value(override: str, text: str) -> Any:
    try:
        value = yaml.safe_load(text)
        is_list = isinstance(value, str) and "," in value and text.strip()[:1] not in "'\""
        return yaml.safe_load(f"[{text}]") if is_list else value
    except yaml.YAMLError as error:
        raise BadInput(f"override {override!r}: the value is not YAML: {error}") from None


def _set(document: Any, path: list[str], value: Any, override: str) -> None:
    parent, place = document, path[0]
    for step in path[1:]:
        parent, place = _child(parent, place, override), step
    if isinstance(parent, list):
        parent[_index(parent, place, override)] = value
    elif place == "name" and len(path) > 1 and parent.get("name") not in (None, value):
        # Another plugin has other keys: the old one's settings would only be refused.
        keep = {key: parent[key] for key in ("label",) if key in parent}
        parent.clear()
        parent.update(keep, name=value)
    else:
        parent[place] = value


def _child(parent: Any, place: str, override: str) -> Any:
    if isinstance(parent, list):
        index = _index(parent, place, override)
        if isinstance(parent[index], str):
            parent[index] = {"name": parent[index]}
        return parent[index]
    child = parent.get(place)
    if isinstance(child, str):
        child = {"entry": child} if place == "data" else {"name": child}
    elif child is None:
        child = {}
    elif not isinstance(child, (dict, list)):
        raise BadInput(f"override {override!r}: {place!r} is a single value, it has no keys")
    parent[place] = child
    return child


def _index(entries: list[Any], place: str, override: str) -> int:
    """A position: a number, or the label or name of an entry."""
    if place.isdigit() and int(place) < len(entries):
        return int(place)
    labels = [entry if isinstance(entry, str) else entry.get("label") or entry.get("name") for entry in entries]
    if place in labels:
        return labels.index(place)
    known = [str(label) for label in labels]
    raise BadInput(
        f"override {override!r}: there is no entry {place!r} among {len(entries)}. {suggestion(place, known)}"
    )
