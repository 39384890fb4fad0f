"""A plot as inline SVG: axes, grid and marks in data coordinates. Colours are CSS variables of the page.

Written by hand because a report holds some thirty plots of four kinds of mark: a plotting library takes seconds for
them, these take milliseconds, follow the page's light or dark and carry tooltips.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from html import escape

INK, LINE = "var(--soft)", "var(--line)"
FONT = 9.0
LETTER, NARROW = 0.58 * FONT, 0.5 * FONT
"""About as wide as a letter is in a wide font, and in a narrow one."""
MOST_TICKS = 6
BOTTOM, GAP, EDGE = 32.0, 6.0, 10.0
"""Room below a plot for ticks and the axis's name, between ticks and plot, and at the other two sides."""

Point = tuple[float, float]


@dataclass(frozen=True)
class Scale:
    """Maps values from `low` to `high` onto pixels from `start` to `end`."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Pixel of a value."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


@dataclass
class Plot:
    """Marks over two scales; `str()` is the finished SVG."""

    width: float
    height: float
    label: str
    x: Scale
    y: Scale
    parts: list[str] = field(default_factory=list)

    def line(
        self, points: Iterable[Point], colour: str, width: float = 1.0, *, dash: str = "", opacity: float = 1.0
    ) -> None:
        """Connected points; breaks where a value is not finite."""
        for run in _finite_runs(points):
            places = " ".join(f"{self.x(x):.1f},{self.y(y):.1f}" for x, y in run)
            look = f'stroke="{colour}" stroke-width="{width}"{_maybe("stroke-dasharray", dash)}{_faint(opacity)}'
            self.parts.append(f'<polyline points="{places}" fill="none" stroke-linecap="round" {look}/>')

    def dot(self, x: float, y: float, colour: str, radius: float, opacity: float = 1.0, says: str = "") -> None:
        """A round mark with a tooltip."""
        place = f'cx="{self.x(x):.1f}" cy="{self.y(y):.1f}" r="{radius}"'
        self.parts.append(f'<circle {place} fill="{colour}"{_faint(opacity)}>{_tooltip(says)}</circle>')

    def bar(self, value: float, y: float, thick: float, colour: str, says: str = "") -> None:
        """A bar from zero to `value`, around `y`; `thick` in units of y."""
        left, right = sorted((self.x(0.0), self.x(value)))
        top, bottom = sorted((self.y(y - thick / 2), self.y(y + thick / 2)))
        place = f'x="{left:.1f}" y="{top:.1f}" width="{right - left:.1f}" height="{bottom - top:.1f}"'
        self.parts.append(f'<rect {place} fill="{colour}">{_tooltip(says)}</rect>')

    def band(self, lower: Sequence[Point], upper: Sequence[Point], colour: str) -> None:
        """A faint area between two lines."""
        places = " ".join(f"{self.x(x):.1f},{self.y(y):.1f}" for x, y in [*lower, *reversed(upper)])
        self.parts.append(f'<polygon points="{places}" fill="{colour}"{_faint(0.18)}/>')

    def text(self, x: float, y: float, words: str, anchor: str = "middle", room: float = math.inf) -> None:
        """Words at a pixel, squeezed into `room` where they would be wider."""
        narrow = f' textLength="{room:.0f}" lengthAdjust="spacingAndGlyphs"' if len(words) * NARROW > room else ""
        self.parts.append(f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{narrow}>{escape(words)}</text>')

    def x_axis(self, name: str, *, grid: bool = True) -> None:
        """Ticks and the axis's name below, lines of a grid."""
        for value, words in ticks(self.x.low, self.x.high):
            if grid:
                self.line([(value, self.y.low), (value, self.y.high)], LINE, 0.7)
            self.text(self.x(value), self.y.start + FONT + 3, words)
        self.line([(self.x.low, self.y.low), (self.x.high, self.y.low)], LINE, 0.8)
        self.text((self.x.start + self.x.end) / 2, self.y.start + 2 * FONT + 6, name)

    def y_axis(self) -> None:
        """Ticks at the left and lines of a grid."""
        for value, words in ticks(self.y.low, self.y.high):
            self.line([(self.x.low, value), (self.x.high, value)], LINE, 0.7)
            self.text(self.x.start - GAP, self.y(value) + FONT / 3, words, "end")

    def y_names(self, names: Sequence[str]) -> None:
        """Names at 0, 1, ... on the left."""
        for y, name in enumerate(names):
            self.text(self.x.start - GAP, self.y(y) + FONT / 3, name, "end", self.x.start - GAP)

    def __str__(self) -> str:
        """The SVG element; it scales with its container."""
        size = f'viewBox="0 0 {self.width:.0f} {self.height:.0f}" font-size="{FONT:g}" fill="{INK}"'
        return f'<svg role="img" aria-label="{escape(self.label, quote=True)}" {size}>{"".join(self.parts)}</svg>'


def ticks(low: float, high: float) -> list[tuple[float, str]]:
    """Round values from `low` to `high` and how they are written."""
    rough = (high - low) / MOST_TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * (1 - 1e-9))
    numbers = range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)
    return [(number * step, _written(number * step, step)) for number in numbers]


def _written(value: float, step: float) -> str:
    """With the digits that the step has; steps below a millionth in powers of ten."""
    digits = next((digits for digits in range(8) if math.isclose(round(step, digits), step, rel_tol=1e-6)), None)
    return (f"{value:.3g}" if digits is None else f"{value:,.{digits}f}").replace("-", "−")


def limits(values: Iterable[float], *, margin: float = 0.05) -> tuple[float, float]:
    """Where an axis begins and ends so that all values lie within; some room around a single one."""
    known = [value for value in values if math.isfinite(value)]
    low, high = (min(known), max(known)) if known else (0.0, 1.0)
    equal = high - low <= 1e-9 * max(abs(low), abs(high))
    around = (0.05 * abs(high) or 0.5) if equal else margin * (high - low)
    return low - around, high + around


def widest(words: Iterable[str]) -> float:
    """Pixels that the longest of some words takes."""
    return max((len(word) for word in words), default=0) * LETTER


def _finite_runs(points: Iterable[Point]) -> list[list[Point]]:
    runs: list[list[Point]] = [[]]
    for x, y in points:
        if math.isfinite(x) and math.isfinite(y):
            runs[-1].append((x, y))
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if run]


def _maybe(name: str, value: str) -> str:
    return f' {name}="{value}"' if value else ""


def _faint(opacity: float) -> str:
    return f' opacity="{opacity}"' if opacity < 1 else ""


def _tooltip(says: str) -> str:
    return f"<title>{escape(says)}</title>" if says else ""
