"""Reads JSON strictly: whole numbers keep all digits, and a key that occurs twice in an object is refused."""

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
    """Pause garbage collection: JSON makes many objects and no cycles, and collection took a third of the time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


class NotJson(ValueError):
    """Text that is refused as JSON: the reason, and the 0-based position in the text if it is known."""

    def __init__(self, reason: str, position: int | None = None) -> None:
        super().__init__(reason)
        self.position = position


class _RepeatedKey(ValueError):
    position: int | None = None


def parse_json(text: str) -> Any:
    """Value of a JSON text. NaN and Infinity are read, as Python and pandas write them.

    Raises:
        NotJson: malformed, a key occurs twice in one object, the character U+0000, nested too deep, or a number of over
            4,300 digits.
    """
    # Searching for the pattern is slow, and few lines hold the text.
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
    except ValueError:  # from `int`, see `sys.get_int_max_str_digits`
        raise NotJson("holds a number of over 4,300 digits") from None


def _value(text: str) -> Any:
    """Value as `json.JSONDecoder.decode` gives it, with fewer searches for white space if the text begins an object."""
    if text[:1] == "{":
        try:
            value, end = _SCAN(text, 0)
        except StopIteration:  # no value; `decode` tells the reason
            end = -1
        if end >= 0 and not text[end:].strip(" \t\r\n"):
            return value
    return _DECODER.decode(text)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise _RepeatedKey(f"the key {quoted(twice, 60)} stands twice in one object")
    return members


_NULL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")
"""Null character as JSON writes it; an escaped backslash before `u0000` does not match."""
_DECODER = json.JSONDecoder(object_pairs_hook=_object)
_SCAN: Callable[[str, int], tuple[Any, int]] = _DECODER.scan_once  # type: ignore[attr-defined]


class _Locating(json.JSONDecoder):
    """Decoder that finds the object with a repeated key; slow, so used only for a text with this fault."""

    def __init__(self) -> None:
        super().__init__(object_pairs_hook=_object)
        self.parse_object: Callable[..., Any] = self._parse_object
        self.scan_once = py_make_scanner(self)  # the scanner in C ignores `parse_object`

    def _parse_object(self, place: tuple[str, int], *arguments: Any) -> Any:
        try:
            return JSONObject(place, *arguments)
        except _RepeatedKey as error:
            if error.position is None:  # of the object itself; those around it only pass the error on
                error.position = place[1] - 1  # `place` is behind the brace
            raise


def _position_of_repeated_key(text: str) -> int | None:
    try:
        _Locating().decode(text)
    except _RepeatedKey as error:
        return error.position
    except RecursionError:
        pass
    return None
