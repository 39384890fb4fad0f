"""Reads JSON exactly: every number with all its digits, a key that stands twice refused, no value taken for another."""

from __future__ import annotations

import gc
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from json.decoder import JSONObject  # type: ignore[attr-defined]
from json.scanner import py_make_scanner  # type: ignore[attr-defined]
from typing import Any

from pipeline_core.errors import quoted


@contextmanager
def without_collections() -> Iterator[None]:
    """No garbage is looked for meanwhile: JSON makes many objects and no cycles, and a third of the time went there."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


class NotJson(ValueError):
    """Text that is not read as JSON: the reason, and where in the text, counted from 0, if that is known."""

    def __init__(self, reason: str, position: int | None = None) -> None:
        super().__init__(reason)
        self.position = position


class _RepeatedKey(ValueError):
    pass


def parse_json(text: str) -> Any:
    """What a JSON text holds. NaN and Infinity are read, as Python's and pandas' writers write them.

    Raises:
        NotJson: malformed, a key stands twice in one object, the character U+0000, nested too deep, or a number of over
            4,300 digits.
    """
    if null := _NULL.search(text) if "\\u0000" in text else None:
        raise NotJson("holds the character U+0000, which is no text", null.end() - len("\\u0000"))
    try:
        return _value(text)
    except json.JSONDecodeError as error:
        # A line that is cut off within a text ends in a newline, which Python calls a control character.
        is_cut = error.msg.startswith("Invalid control character") and not text[error.pos :].strip()
        is_cut |= error.msg.startswith("Unterminated string")
        told = "it ends within a text" if is_cut else error.msg.removesuffix(" at")
        raise NotJson(f"malformed JSON: {told}", error.pos) from None
    except _RepeatedKey as error:
        raise NotJson(str(error), _position_of_repeated_key(text)) from None
    except RecursionError:
        raise NotJson("nested too deep") from None
    except ValueError:
        raise NotJson("holds a number of over 4,300 digits") from None


def _value(text: str) -> Any:
    """What `json.JSONDecoder.decode` gives, with fewer searches for white space where an object begins the text."""
    if text[:1] == "{":
        try:
            value, end = _SCAN(text, 0)
        except StopIteration:
            end = -1
        if end >= 0 and not text[end:].strip(" \t\r\n"):
            return value
    return _DECODER.decode(text)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise _RepeatedKey(f"the key {quoted(twice, 60)} stands twice in one object")
    return found


_NULL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")
"""A null character as JSON writes it, and not a backslash before `u0000`."""
_DECODER = json.JSONDecoder(object_pairs_hook=_object)
_SCAN: Callable[[str, int], tuple[Any, int]] = _DECODER.scan_once  # type: ignore[attr-defined]


class _Found(Exception):
    def __init__(self, position: int) -> None:
        super().__init__()
        self.position = position


class _Locating(json.JSONDecoder):
    """Slow, so used only for a text with a fault: tells where the object begins that has a key twice."""

    def __init__(self) -> None:
        super().__init__(object_pairs_hook=_object)
        self.parse_object: Callable[..., Any] = self._parse_object
        self.scan_once = py_make_scanner(self)

    def _parse_object(self, place: tuple[str, int], *arguments: Any) -> Any:
        try:
            return JSONObject(place, *arguments)
        except _RepeatedKey:
            raise _Found(place[1] - 1) from None


def _position_of_repeated_key(text: str) -> int | None:
    try:
        _Locating().decode(text)
    except _Found as found:
        return found.position
    except RecursionError:
        pass
    return None
