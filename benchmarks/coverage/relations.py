"""Cells of figures of two numbers per item: areas, correlations, calibration, ICAT."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from scipy.special import ndtri

from benchmarks.coverage.means import chances
from benchmarks.coverage.worlds import (
    RESAMPLES,
    TURNS,
    Cell,
    Floats,
    Generator,
    Seen,
    binary,
    classes,
    related,
    related_groups,
)
from pipeline_core.stats.across import Across
from pipeline_core.stats.ranking import RELATIONS
from pipeline_core.stats.related_items import Paired
from pipeline_core.stats.relation_bootstrap import RelationBootstrap


def areas() -> Iterator[Cell]:
    for area in (0.5, 0.8, 0.95):
        for n, share in ((20, 0.5), (50, 0.5), (150, 0.5), (150, 0.1)):
            apart = math.sqrt(2) * float(ndtri(area))
            yield Cell(
                "area under the curve",
                f"{area:g}, {n} items, {share:.0%} good",
                lambda g, n=n, share=share, apart=apart, area=area: related(
                    "auc", g.normal(size=(n, 1)) + apart * classes(n, share), classes(n, share), area
                ),
            )
    for n in (20, 50, 150):
        yield Cell(
            "difference of areas",
            f"0.8 and 0.8, {n} items",
            lambda g, n=n: related(
                "auc",
                g.normal(size=(n, 1)) + g.normal(size=(n, 2)) + 2 * float(ndtri(0.8)) * classes(n),
                classes(n).repeat(2, 1),
                0.0,
            ),
            is_null=True,
        )
        for rho in (0.0, 0.6):

            def pair(g: Generator, n: int = n, rho: float = rho) -> tuple[Floats, Floats]:
                x = g.normal(size=(n, 1))
                return x, rho * x + math.sqrt(1 - rho**2) * g.normal(size=(n, 1))

            yield Cell(
                "correlation",
                f"Pearson {rho:g}, {n} items",
                lambda g, pair=pair, rho=rho: related("pearson", *pair(g), rho),
            )
            yield Cell(
                "correlation",
                f"Spearman of {rho:g}, {n} items",
                lambda g, pair=pair, rho=rho: related("spearman", *pair(g), 6 / math.pi * math.asin(rho / 2)),
            )

        def ratio(g: Generator, n: int = n) -> Seen:
            words = g.integers(20, 200, (n, 1)).astype(np.float64)
            return related("exp_ratio", words * g.normal(3, 0.4, (n, 1)), words, math.exp(3))

        yield Cell("perplexity", f"of tokens, {n} texts of 20 to 200", ratio)
        yield Cell(
            "balanced accuracy",
            f"0.8 and 0.6, {n} items",
            lambda g, n=n: related("balanced_accuracy", binary(g, 0.6 + 0.2 * classes(n)), classes(n), 70.0),
        )
        yield Cell(
            "icat",
            f"lm 0.9, ss 0.6, {n} terms",
            lambda g, n=n: related("icat", binary(g, 0.9, n, 1), binary(g, 0.6, n, 1), 72.0),
        )


Drawn = tuple[Floats, Floats, Floats]
"""x and y (C, S) of groups of as many items each, one after another, and the true figures (G, S) of the groups."""


def area_groups(g: Generator, at_GS: Floats, n: int) -> Drawn:
    """Areas; models score the same items, with half of the noise in common."""
    groups, models = at_GS.shape
    y = np.tile(classes(n), (groups, models))
    noise = math.sqrt(0.5) * (g.normal(size=(len(y), 1)) + g.normal(size=(len(y), models)))
    if models == 1:
        noise = g.normal(size=(len(y), 1))
    return noise + math.sqrt(2) * ndtri(np.repeat(at_GS, n, 0)) * y, y, at_GS


def icat_groups(g: Generator, at_GS: Floats, n: int) -> Drawn:
    """Terms with LM 0.9 and SS `at_GS`."""
    shape = (n * len(at_GS), at_GS.shape[1])
    y = binary(g, np.repeat(at_GS, n, 0))
    return binary(g, 0.9, *shape), y, 180 * np.minimum(at_GS, 1 - at_GS)


def order_groups(g: Generator, at_GS: Floats, n: int) -> Drawn:
    """Spearman's correlation of normal pairs whose Pearson correlation is `at_GS`; models share y."""
    rho = np.repeat(at_GS, n, 0)
    y = np.repeat(g.normal(size=(len(rho), 1)), rho.shape[1], 1)
    return rho * y + np.sqrt(1 - rho**2) * g.normal(size=rho.shape), y, 6 / math.pi * np.arcsin(at_GS / 2)


KINDS: dict[str, tuple[str, Any, float, float]] = {
    "area": ("auc", area_groups, 0.8, 0.3),
    "ICAT": ("icat", icat_groups, 0.6, 0.3),
    "Spearman": ("spearman", order_groups, 0.5, 0.6),
}
OF: dict[str, tuple[Across, Any]] = {
    "worst": ("lowest", np.min),
    "best": ("highest", np.max),
    "gap": ("gap", np.ptp),
    "mean": ("mean", np.mean),
}


def across_groups(kind: str, word: str, n: int, *at: Floats) -> Callable[[Generator], Seen]:
    """The figure of groups whose parameters are `at` (G,), or the difference of those of two models."""
    (statistic, draw, _, _), (across, of) = KINDS[kind], OF[word]

    def seen(g: Generator) -> Seen:
        x, y, truth_GS = draw(g, np.stack(at, 1), n)
        truths = [float(of(truth_G)) for truth_G in truth_GS.T]
        member = np.repeat(np.eye(len(at[0]), dtype=bool), n, 0)
        return related_groups(statistic, x, y, member, truths[0] - sum(truths[1:]), across)

    return seen


def groups() -> Iterator[Cell]:
    """Extremes, gaps and means of relations of groups that are equal, or spread evenly about the middle."""
    for kind, (_, _, middle, width) in KINDS.items():
        for word in OF:
            for size in (4, 11):
                for how in ("equal", "spread"):
                    for n in (20, 50):
                        at = chances(size, how == "spread", middle, width)
                        world = f"{kind}, {size} {how}, {n} items each"
                        yield Cell(f"{word} of groups of a relation", world, across_groups(kind, word, n, at))


def differences() -> Iterator[Cell]:
    """Differences of these."""
    for kind, (_, _, middle, width) in KINDS.items():
        for word in ("worst", "gap"):
            for how, a, b in (("equal and equal", 0, 0), ("equal and spread", 0, 1), ("spread and spread", 1, 1)):
                at = [chances(4, bool(spread), middle, width) for spread in (a, b)]
                world = f"{word} {kind}, 4 {how}, 50 items each"
                yield Cell("difference across groups of a relation", world, across_groups(kind, word, 50, *at), a == b)
    for n in (20, 50, 150):
        for a, b in ((0.6, 0.6), (0.5, 0.6)):

            def icats(g: Generator, n: int = n, a: float = a, b: float = b) -> Seen:
                truth = 180 * (min(a, 1 - a) - min(b, 1 - b))
                return related("icat", binary(g, 0.9, n, 2), binary(g, np.array([[a, b]]), n, 2), truth)

            yield Cell("difference of icats", f"ss {a:g} and {b:g}, {n} terms", icats, a == b)


def ends() -> Iterator[Cell]:
    """Figures near an end of their range, where many samples are perfect."""
    for n in (6, 20):
        at = np.full(3, 0.98)
        yield Cell("area under the curve", f"0.98, {n} items, 50% good", across_groups("area", "mean", n, at[:1]))
        yield Cell("mean of groups of a relation", f"area .98, 3 equal, {n} each", across_groups("area", "mean", n, at))
        yield Cell(
            "worst of groups of a relation", f"area .98, 3 equal, {n} each", across_groups("area", "worst", n, at)
        )
        yield Cell(
            "difference of areas",
            f"0.98 and 0.98, {n} items",
            across_groups("area", "mean", n, at[:1], at[:1]),
            is_null=True,
        )
    for ss in (0.5, 0.95):
        for n in (8, 20):
            yield Cell(
                "icat",
                f"lm 0.95, ss {ss:g}, {n} terms",
                lambda g, n=n, ss=ss: related(
                    "icat", binary(g, 0.95, n, 1), binary(g, ss, n, 1), 190 * min(ss, 1 - ss)
                ),
            )


def calibration() -> Iterator[Cell]:
    """Probabilities that are right, or too high by so many points."""
    for n in (20, 50, 150, 500):
        for error in (0, 5, 10, 20):

            def alone(g: Generator, n: int = n, error: int = error) -> Seen:
                x = g.uniform(0.6, 1, (n, 1))
                return related("calibration_error", x, binary(g, x - error / 100), error)

            yield Cell("calibration error", f"{error} points, {n} items", alone)
        for one, other in ((0, 0), (10, 10), (0, 20)):

            def two(g: Generator, n: int = n, one: int = one, other: int = other) -> Seen:
                x = g.uniform(0.6, 1, (n, 2))
                return related("calibration_error", x, binary(g, x - np.array([[one, other]]) / 100), one - other)

            yield Cell("difference of calibration errors", f"{one} and {other} points, {n} items", two, one == other)
    for k in (8, 25):

        def clustered(g: Generator, k: int = k) -> Seen:
            cluster = np.repeat(np.arange(k), 12)
            x = g.uniform(0.6, 1, k)[cluster][:, None]
            return related("calibration_error", x, (g.random(k)[cluster][:, None] < x) * 1.0, 0.0, cluster)

        yield Cell("clusters: calibration error", f"0 points, {k} clusters of 12 that come true together", clustered)
    for seeds in (2, 5):

        def over(g: Generator, seeds: int = seeds) -> Seen:
            x = np.repeat(g.uniform(0.6, 1, (100, 1)), seeds, 1)
            y = np.repeat(binary(g, x[:, :1]), seeds, 1)
            paired = Paired(x, y, np.ones((100, 1), dtype=bool), np.arange(100))
            boot = RelationBootstrap.of(RELATIONS["calibration_error"], paired, seed=next(TURNS), resamples=RESAMPLES)
            return Seen(boot.estimate(), 0.0)

        yield Cell("seeds: calibration error", f"0 points, {seeds} seeds that agree, 100 items", over)
