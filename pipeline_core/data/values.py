"""Converts a value to the text, number, truth value or list of a column; inexact values are refused.

Converters raise TypeError or ValueError for a value of another kind.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

import pyarrow as pa

from pipeline_core.data.contract import DEFAULTS, STRINGS
from pipeline_core.data.list_texts import listed

# `float` itself takes `1_000` and digits of any script (D8).
NUMBER = re.compile(r"\s*[-+]?((\d+\.?\d*|\.\d+)(e[-+]?\d+)?|nan|inf(inity)?)\s*", re.ASCII | re.IGNORECASE)
WHOLE = re.compile(r"\s*[-+]?\d+\s*", re.ASCII)
BOOLEANS = {"true": True, "1": True, "false": False, "0": False, "": False}
"""Words for truth values, in any case; an empty cell of a CSV is false."""
NAMES = frozenset({"id", "template_id"})
"""Text columns that may hold numbers."""
EXACT_DIGITS = 15
"""Decimal digits that every double keeps."""


def convert(value: Any, field: pa.Field) -> Any:
    """`value` in the type of the column `field`; None becomes the default, for lists an empty list."""
    if value is None:
        return [] if field.type == STRINGS else DEFAULTS.get(field.name)
    if field.name == "group":
        return _group(value)
    return name_of(value) if field.name in NAMES else _READERS[str(field.type)][0](value)


def wanted(field: pa.Field) -> str:
    """Description of the values a column takes."""
    if field.name in NAMES:
        return "text or a number with all its digits (write it as text)"
    return _READERS[str(field.type)][1]


def name_of(value: Any) -> str:
    """Name as text: a text unchanged, a number in decimal digits without exponent (12345678901234567890).

    Equal numbers have equal names: 1, 1.0, 1e0 and the decimal 1.00 are `1`.
    A double of more than 15 digits is refused, because the number that was written may differ from it.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise TypeError
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError
        number = Decimal(float.__repr__(value)).normalize()  # a NumPy double prints as `np.float64(1.0)`
        if len(number.as_tuple().digits) > EXACT_DIGITS:
            raise ValueError
        return format(number + 0, "f")  # -0 is 0
    if isinstance(value, Decimal):
        text = format(value, "f")
        text = text.rstrip("0").rstrip(".") if "." in text else text
        return "0" if text == "-0" else text
    return str(value)


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    raise TypeError


def _texts(value: Any) -> list[str | None]:
    """List of texts, also of a single text; None within stays, and is reported as a separate fault."""
    if isinstance(value, str):
        items = listed(value)
        return [*items] if items is not None else [value] if value else []
    if not isinstance(value, list) or not all(isinstance(item, str | None) for item in value):
        raise TypeError
    return value


def _group(value: Any) -> list[str]:
    """Names of groups; empty texts are left out."""
    names = _texts(value)
    if None in names:
        raise TypeError
    return [name for name in names if name]


def _boolean(value: Any) -> bool:
    if isinstance(value, str) and value.strip().lower() in BOOLEANS:
        return BOOLEANS[value.strip().lower()]
    if isinstance(value, bool | int | float) and value in (0, 1):
        return bool(value)
    raise TypeError


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal | str):
        raise TypeError
    if isinstance(value, str) and not NUMBER.fullmatch(value):
        raise ValueError
    try:
        return float(value)
    except OverflowError:  # a whole number beyond the largest double
        raise ValueError from None


def _whole(value: Any) -> int:
    if isinstance(value, str) and WHOLE.fullmatch(value):  # not by way of a double, which loses digits
        number = int(value)
    elif isinstance(value, int) and not isinstance(value, bool):
        number = value
    else:
        fraction = _number(value)
        if not math.isfinite(fraction) or not fraction.is_integer():
            raise ValueError
        number = int(fraction)
    if not -(2**63) <= number < 2**63:
        raise ValueError
    return number


_READERS: Mapping[str, tuple[Callable[[Any], Any], str]] = {
    "string": (_text, "text"),
    "double": (_number, "a number"),
    "int64": (_whole, "a whole number"),
    "bool": (_boolean, "true or false"),
    str(STRINGS): (_texts, "text or a list of texts"),
}
"""Converter of the values of each type, and their description."""
