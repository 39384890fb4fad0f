"""`key=value` overrides: `policy.0.beta=.1`, `policy.dpo.beta=.1`, `seeds=0,1`, `base.name=checkpoint`.

The order of overrides does not matter, except for two of the same key: outer keys are set before inner ones, and a
plugin is chosen before its settings. Settings that a newly chosen plugin does not have are removed.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline_core.errors import BadInput, UnknownName, quoted, shortened, suggestion
from pipeline_core.files.surrogates import lone_surrogate
from pipeline_core.files.yaml_files import parse_value
from pipeline_core.pipeline.config import full_form
from pipeline_core.plugin.registry import Registry
from pipeline_core.plugin.specs import CHAIN_STAGES, LIST_STAGES, SINGLE_STAGES, PolicyConfig

NAMES = ("name", "label", "start_from")
"""Settings of every plugin that hold a name; a text in another setting may be the name of a data entry."""


@dataclass(frozen=True)
class Override:
    """An override: its text, its dotted key and its value."""

    text: str
    path: tuple[str, ...]
    value: Any

    @property
    def chooses_plugin(self) -> bool:
        """True if the override sets the plugin of a stage entry."""
        depth = 2 if self.path[0] in SINGLE_STAGES else 3 if self.path[0] in LIST_STAGES else 0
        return self.path[-1] == "name" and len(self.path) == depth

    def error(self, reason: str) -> BadInput:
        """Error for an override that cannot be applied."""
        return BadInput(f"override {quoted(self.text)}: {reason}")


def apply_overrides(
    document: Mapping[str, Any], overrides: Sequence[str], registry: Registry | None = None
) -> dict[str, Any]:
    """Copy of `document` with every `dotted.key=value` set; values are YAML, and a bare comma makes a list.

    `registry` gives the settings of a newly chosen plugin; settings shared with the old plugin are kept.

    Raises:
        BadInput: an override is malformed or names no place in the document.
    """
    parsed = [_parsed(text) for text in overrides]
    result = full_form(_unshared(document))
    for whole in [override for override in parsed if len(override.path) == 1]:
        result = full_form({**result, whole.path[0]: _unshared(whole.value)})
    inner = [_numbered(override, result) for override in parsed if len(override.path) > 1]
    # A stable sort: of two overrides of one key the last counts.
    for override in sorted(inner, key=lambda override: (len(override.path), not override.chooses_plugin)):
        _set(result, override, registry)
        result = full_form(result)
    return result


def _unshared(value: Any) -> Any:
    """Copy without shared objects: YAML aliases share them, and an override must change only one place."""
    if isinstance(value, Mapping):
        return {key: _unshared(item) for key, item in value.items()}
    return [_unshared(item) for item in value] if isinstance(value, (list, tuple)) else value


def _parsed(text: str) -> Override:
    key, equals, value = text.partition("=")
    path = tuple(key.strip().split("."))
    if not equals or not all(path):
        raise BadInput(f"override {quoted(text)} is not of the form key=value")
    parsed = _value(text, value) if lone_surrogate(text) is None else text
    if half := lone_surrogate(parsed):  # escaped, or a byte of the command line that is no UTF-8 (PEP 383)
        # `ascii`, since a lone surrogate cannot be printed.
        raise BadInput(f"override {shortened(ascii(text))}: holds half of a character (the lone surrogate {half})")
    return Override(text, path, parsed)


def _value(override: str, text: str) -> Any:
    where = f"override {quoted(override)}"
    value = parse_value(text, where)
    is_list = isinstance(value, str) and "," in value and text.strip()[:1] not in "'\""  # YAML reads `0,1` as a text
    return parse_value(f"[{text}]", where) if is_list else value


def _numbered(override: Override, document: dict[str, Any]) -> Override:
    """Override with an entry's position in place of its label or name, which other overrides may change.

    The only entry of a chain may be omitted (`reward.ngrams=1`); it is created if the chain is empty.
    """
    stage, entry, *rest = override.path
    labels = _labels(document.get(stage)) if stage in LIST_STAGES else []
    if entry in labels and _number(entry) is None:
        return Override(override.text, (stage, str(labels.index(entry)), *rest), override.value)
    if stage in CHAIN_STAGES and len(labels) <= 1 and _number(entry) is None:
        document[stage] = document.get(stage) or [{}]
        return Override(override.text, (stage, "0", entry, *rest), override.value)
    return override


def _labels(entries: Any) -> list[Any]:
    mappings = [entry if isinstance(entry, Mapping) else {} for entry in entries] if isinstance(entries, list) else []
    return [entry.get("label") or entry.get("name") for entry in mappings]


def _set(document: dict[str, Any], override: Override, registry: Registry | None) -> None:
    parent: Any = document
    for depth in range(len(override.path) - 1):
        parent = _child(parent, depth, override)
    place = override.path[-1]
    if isinstance(parent, list):
        parent[_index(parent, place, override)] = _unshared(override.value)
        return
    if override.chooses_plugin and parent.get("name") not in (None, override.value):
        known = _settings(override.path[0], override.value, registry)
        for key in [key for key in parent if key not in known]:
            del parent[key]
    parent[place] = _unshared(override.value)


def _settings(stage: str, plugin: Any, registry: Registry | None) -> Collection[str]:
    try:
        return (registry.get(stage, str(plugin)).config if registry else PolicyConfig).model_fields
    except UnknownName:  # refused later, with the names that are known
        return PolicyConfig.model_fields


def _child(parent: Any, depth: int, override: Override) -> Any:
    place: Any = override.path[depth]
    if isinstance(parent, list):
        place = _index(parent, place, override)
        child = parent[place]
    else:
        child = parent.get(place)
    if child is None:
        child = [] if depth == 0 and place in LIST_STAGES else {}
    elif isinstance(child, str) and (depth > 0 or place == "data") and place not in NAMES:
        child = {"entry": child}  # a bare name below a stage is a data entry
    elif not isinstance(child, (dict, list)):
        raise override.error(f"{quoted(override.path[depth])} is a single value, it has no keys")
    parent[place] = child
    return child


def _index(entries: list[Any], place: str, override: Override) -> int:
    """Position of an entry, given as number, label or name."""
    if (number := _number(place)) is not None and number < len(entries):
        return number
    labels = _labels(entries)
    if place in labels:
        return labels.index(place)
    known = [str(label) for label in labels if label]
    raise override.error(f"there is no entry {quoted(place)} among {len(entries)}. {suggestion(place, known)}")


def _number(place: str) -> int | None:
    """Position given in ASCII digits; None for anything else (`²` may be part of a label)."""
    return int(place) if re.fullmatch(r"[0-9]{1,9}", place) else None  # `int` refuses texts over 4,300 digits
