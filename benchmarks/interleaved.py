"""Runs competitors in turn, A B A B ..., so that a machine's changing speed meets all of them alike."""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Callable, Mapping

import torch


def measure(
    competitors: Mapping[str, Callable[[], object]], rounds: int = 7, warm_up: int = 2
) -> dict[str, list[float]]:
    """Seconds of every counted round by competitor; the first `warm_up` rounds are not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in competitors}
    for number in range(warm_up + rounds):
        for name, run in competitors.items():
            started = time.perf_counter()
            run()
            if number >= warm_up:
                seconds[name].append(time.perf_counter() - started)
    return seconds


def table(title: str, seconds: Mapping[str, list[float]], per: int = 1, unit: str = "ms") -> str:
    """Markdown: minimum and median by competitor, and the median of the paired ratios to the first."""
    scale = {"ms": 1e3, "us": 1e6}[unit] / per
    first = next(iter(seconds))
    lines = [f"### {title}", "", f"| | min, {unit} | median, {unit} | ratio to {first} |", "|---|---|---|---|"]
    for name, values in seconds.items():
        ratio = statistics.median(a / b for a, b in zip(values, seconds[first], strict=True))
        lines.append(f"| {name} | {min(values) * scale:.3g} | {statistics.median(values) * scale:.3g} | {ratio:.2f} |")
    return "\n".join(lines) + "\n"


def machine() -> str:
    """One line on where the numbers come from."""
    return f"torch {torch.__version__}, {torch.get_num_threads()} threads, Python {platform.python_version()}\n"
