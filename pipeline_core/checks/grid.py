"""The grid of a sweep: overrides with several values, `policy.dpo.beta=.05,.1 seeds=0..4`, as a product of points.

In a sweep a comma outside brackets, braces and quotes separates the values of different points. `seeds=0,1` are two
points of one seed each, `seeds=[0,1]` is a list in every point.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline_core.checks.whole import load_config
from pipeline_core.errors import BadInput, EvenhandError, quoted
from pipeline_core.files.digests import digest_of
from pipeline_core.pipeline.config import PipelineConfig

SEEDS = "seeds"
"""The axis over which figures are averaged instead of compared."""
MOST_POINTS = 200
"""Default limit on the number of points."""
MOST_VALUES = 100_000
"""Values of a range; more are refused before the range is written out."""
RANGE = re.compile(r"([+-]?\d{1,18})\.\.([+-]?\d{1,18})")
LIKE_A_RANGE = re.compile(r"[+-]?[\d.]*\d[\d.eE+-]*\.\.[+-]?[\d.]+")
BRACKETS = {"[": "]", "{": "}"}


@dataclass(frozen=True)
class Axis:
    """A dotted key and its values as texts, two or more."""

    path: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class Grid:
    """`fixed`: plain overrides of every point. The points are the product of `axes`; the last axis varies fastest."""

    fixed: tuple[str, ...]
    axes: tuple[Axis, ...]

    @property
    def size(self) -> int:
        """Number of points."""
        return math.prod(len(axis.values) for axis in self.axes)

    def settings(self) -> Iterator[dict[str, str]]:
        """Values of each point as texts, by dotted key."""
        for values in itertools.product(*(axis.values for axis in self.axes)):
            yield {axis.path: value for axis, value in zip(self.axes, values, strict=True)}


@dataclass(frozen=True)
class GridPoint:
    """A point of the grid: number from 1, values by dotted key, overrides and the validated configuration."""

    number: int
    values: Mapping[str, str]
    overrides: tuple[str, ...]
    config: PipelineConfig

    @property
    def id(self) -> str:
        """Digest of all that decides the point's results, 16 characters; execution settings are left out."""
        return digest_of(self.config.model_dump(mode="json", exclude={"runner"}))[:16]

    @property
    def words(self) -> str:
        """`policy.dpo.beta=.05 seeds=0`."""
        return " ".join(f"{path}={value}" for path, value in self.values.items())


def parse_grid(overrides: Sequence[str], limit: int = MOST_POINTS) -> Grid:
    """Split overrides into plain ones and axes.

    Raises:
        BadInput: no override has several values, a key stands twice, a value is empty or stands twice, a range cannot
            be understood, or there are more points than `limit`.
    """
    fixed, axes, seen = list[str](), list[Axis](), set[str]()
    for text in overrides:
        key, equals, value = text.partition("=")
        path = key.strip()
        if not equals or not path:
            raise BadInput(f"override {quoted(text)} is not of the form key=value or key=value,value")
        if path in seen:
            raise BadInput(f"{quoted(path)} stands twice; list all of its values once: {path}=1,2")
        seen.add(path)
        values = _values(text, value)
        if len(values) > 1:
            axes.append(Axis(path, values))
        else:
            fixed.append(text if values[0] == value.strip() else f"{path}={values[0]}")
    grid = Grid(tuple(fixed), tuple(axes))
    if not axes:
        raise BadInput("nothing is swept: give a key several values, such as policy.dpo.beta=.05,.1 or seeds=0..4")
    if grid.size > limit:
        counts = " × ".join(f"{len(axis.values)} of {axis.path}" for axis in axes)
        raise BadInput(f"the grid has {grid.size:,} points ({counts}), and the limit is {limit:,}; --limit raises it")
    return grid


def grid_points(source: str, grid: Grid) -> list[GridPoint]:
    """Load and validate the configuration of every point.

    Raises:
        BadInput: naming the point; also if two points are the same configuration.
    """
    points: list[GridPoint] = []
    known: dict[str, GridPoint] = {}
    for number, values in enumerate(grid.settings(), 1):
        overrides = (*grid.fixed, *(f"{path}={value}" for path, value in values.items()))
        try:
            config = load_config(source, overrides)
        except EvenhandError as error:
            words = " ".join(f"{path}={value}" for path, value in values.items())
            raise BadInput(f"point {number} ({words}): {error}") from error
        point = GridPoint(number, values, overrides, config)
        if other := known.get(point.id):
            raise BadInput(f"points {other.number} ({other.words}) and {number} ({point.words}) are the same run")
        known[point.id] = point
        points.append(point)
    return points


def _values(override: str, text: str) -> tuple[str, ...]:
    values: list[str] = []
    for part in _split(override, text):
        if match := RANGE.fullmatch(part):
            values += _range(override, int(match[1]), int(match[2]))
        elif LIKE_A_RANGE.fullmatch(part):
            raise BadInput(f"override {quoted(override)}: the ends of a range are whole numbers; list others by commas")
        else:
            values.append(part)
    if len(values) > 1 and "" in values:
        raise BadInput(f"override {quoted(override)}: a value between its commas is empty")
    if twice := next((value for value in values if values.count(value) > 1), None):
        raise BadInput(f"override {quoted(override)}: the value {quoted(twice)} stands twice")
    return tuple(values)


def _range(override: str, first: int, last: int) -> list[str]:
    if last < first:
        raise BadInput(f"override {quoted(override)}: the range {first}..{last} goes down; write {last}..{first}")
    if last - first >= MOST_VALUES:
        raise BadInput(f"override {quoted(override)}: the range {first}..{last} has over {MOST_VALUES:,} values")
    return [str(number) for number in range(first, last + 1)]


def _split(override: str, text: str) -> list[str]:
    """Parts between commas that stand outside brackets, braces and quotes."""
    parts, open_, quote, before = [""], list[str](), "", ""
    for char in text:
        if quote:
            quote = "" if char == quote else quote
        elif char in "'\"" and before in ("", ",", "[", "{", ":", *"'\""):  # elsewhere it is an apostrophe
            quote = char
        elif char in BRACKETS:
            open_.append(BRACKETS[char])
        elif open_ and char == open_[-1]:
            open_.pop()
        elif char == "," and not open_:
            parts.append("")
            before = ","
            continue
        parts[-1] += char
        before = before if char.isspace() else char
    if quote or open_:
        raise BadInput(f"override {quoted(override)}: {quote or open_[-1]} is missing at its end")
    return [part.strip() for part in parts]


def plain_values(values: Mapping[str, str]) -> dict[str, Any]:
    """Values as numbers where they are numbers, for tracking and charts."""
    return {path: _number(value) for path, value in values.items()}


def _number(text: str) -> float | int | str:
    for kind in (int, float):
        try:
            number = kind(text)
        except ValueError:
            continue
        return number if math.isfinite(number) else text
    return text
