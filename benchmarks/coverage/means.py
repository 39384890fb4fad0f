"""Cells of means, shares, balances and distances: alone, across groups, and their differences."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from scipy.special import ndtri

from benchmarks.coverage.worlds import (
    Cell,
    Floats,
    Generator,
    Seen,
    binary,
    difference,
    estimate,
    in_groups,
    one_group,
)
from pipeline_core.stats.across import Across


def means() -> Iterator[Cell]:
    for n in (20, 50, 150):
        yield Cell(
            "mean", f"normal, {n} items", lambda g, n=n: estimate("mean", one_group(g.normal(1, 2, (n, 1))), 1.0)
        )
        yield Cell(
            "mean", f"exponential, {n} items", lambda g, n=n: estimate("mean", one_group(g.exponential(1, (n, 1))), 1.0)
        )
        yield Cell(
            "perplexity",
            f"normal log-likelihoods, {n} items",
            lambda g, n=n: estimate("exp_mean", one_group(g.normal(3, 0.5, (n, 1))), math.exp(3)),
        )


def shares() -> Iterator[Cell]:
    for p, n in (
        (0.02, 200),
        (0.02, 1000),
        (0.1, 20),
        (0.1, 50),
        (0.3, 20),
        (0.5, 50),
        (0.7, 150),
        (0.95, 50),
        (0.98, 150),
    ):
        yield Cell(
            "share", f"{p:g} of {n}", lambda g, p=p, n=n: estimate("share", one_group(binary(g, p, n, 1)), 100 * p)
        )


def shares_of_answers() -> Iterator[Cell]:
    """Items whose value is the share of several answers, such as a target term of StereoSet."""
    for answers, a, b in ((27, 5, 5), (27, 9, 1), (27, 1, 20), (3, 5, 5)):
        for n in (10, 20, 79):

            def draw(g: Generator, answers: int = answers, a: float = a, b: float = b, n: int = n) -> Seen:
                values = g.binomial(answers, g.beta(a, b, (n, 1))) / answers
                return estimate("share", one_group(values), 100 * a / (a + b))

            yield Cell("share", f"{a / (a + b):.2g} of {n} items with {answers} answers each", draw)


def balances() -> Iterator[Cell]:
    """BBQ's scores: -1, 0 (unknown) and 1, and the share of biased answers among few named ones."""
    for named, n in ((0.03, 100), (0.03, 400), (0.2, 50), (0.2, 150), (0.8, 50)):
        for lean in (0.0, 0.5):

            def draw(g: Generator, named: float = named, n: int = n, lean: float = lean) -> Seen:
                sign = np.where(g.random((n, 1)) < (1 + lean) / 2, 1.0, -1.0)
                return estimate("balance", one_group(sign * binary(g, named, n, 1)), 100 * named * lean)

            yield Cell("BBQ bias", f"{named:.0%} named of {n}, lean {lean:g}", draw)
    for n in (10, 30):
        yield Cell(
            "BBQ bias",
            f"disambiguated, {n} named, 80 % biased",
            lambda g, n=n: estimate("signed_share", one_group(binary(g, 0.8, n, 1)), 60.0),
        )


def distances() -> Iterator[Cell]:
    for p in (0.5, 0.53, 0.6, 0.9):
        for n in (20, 50, 150):
            yield Cell(
                "distance from half",
                f"{p:g}, {n} items",
                lambda g, p=p, n=n: estimate("distance_from_half", one_group(binary(g, p, n, 1)), abs(100 * p - 50)),
            )


def chances(groups: int, spread: bool, middle: float = 0.7, width: float = 0.3) -> Floats:
    """Of groups that are equal, or spread evenly about the middle."""
    return middle + width * (np.linspace(-0.5, 0.5, groups) if spread else np.zeros(groups))


def groups() -> Iterator[Cell]:
    figures: tuple[tuple[str, Across], ...] = (
        ("worst", "lowest"),
        ("best", "highest"),
        ("gap", "gap"),
        ("mean", "mean"),
    )
    of = {"lowest": np.min, "highest": np.max, "gap": np.ptp, "mean": np.mean}
    for word, across in figures:
        for size in (2, 4, 11):
            for spread in (False, True):
                for n in (20, 50, 150):
                    p_G = chances(size, spread)

                    def draw(g: Generator, p_G: Floats = p_G, n: int = n, across: Across = across) -> Seen:
                        values = binary(g, p_G[:, None, None], len(p_G), n, 1)
                        return estimate("share", in_groups(values), 100 * float(of[across](p_G)), across)

                    how = "spread" if spread else "equal"
                    yield Cell(f"{word} of groups", f"{size} {how}, {n} items each", draw)
    for across, word in (("highest", "worst distance"), ("mean", "mean of distances")):
        for size in (4, 11):
            for how, p_G in (("even", np.full(size, 0.5)), ("spread", chances(size, True, 0.6, 0.4))):
                for n in (20, 50, 150):

                    def distance(g: Generator, p_G: Floats = p_G, n: int = n, across: Any = across) -> Seen:
                        values = binary(g, p_G[:, None, None], len(p_G), n, 1)
                        truth = float(of[across](np.abs(100 * p_G - 50)))
                        return estimate("distance_from_half", in_groups(values), truth, across)

                    yield Cell(f"{word} of groups", f"{size} {how}, {n} items each", distance)


def paired_answers(g: Generator, n: int, chance: Sequence[float], alike: float) -> Floats:
    """0/1 answers (C, S) of models to items that are hard for all: correlated normal scores."""
    common = math.sqrt(alike) * g.normal(size=(n, 1))
    score = common + math.sqrt(1 - alike) * g.normal(size=(n, len(chance)))
    return (score < ndtri(np.asarray(chance))).astype(np.float64)


def pair_differences() -> Iterator[Cell]:
    for n in (20, 50, 150):
        for shift in (0.0, 0.5):
            yield Cell(
                "difference of means",
                f"{shift:g}, {n} items",
                lambda g, n=n, shift=shift: difference(
                    "mean", one_group(g.normal(0, 1, (n, 1)) + g.normal((shift, 0), 1, (n, 2))), shift
                ),
                is_null=shift == 0,
            )
        for a, b, alike in ((0.7, 0.7, 0.5), (0.7, 0.5, 0.5), (0.04, 0.04, 0.5), (0.95, 0.95, 0.95)):
            yield Cell(
                "difference of shares",
                f"{a:g} and {b:g}, {n} items",
                lambda g, n=n, a=a, b=b, alike=alike: difference(
                    "share", one_group(paired_answers(g, n, (a, b), alike)), 100 * (a - b)
                ),
                is_null=a == b,
            )
        for a, b in ((0.5, 0.5), (0.6, 0.6), (0.5, 0.7), (0.9, 0.6)):
            yield Cell(
                "difference of distances from half",
                f"{a:g} and {b:g}, {n} items",
                lambda g, n=n, a=a, b=b: difference(
                    "distance_from_half",
                    one_group(paired_answers(g, n, (a, b), 0.5)),
                    abs(100 * a - 50) - abs(100 * b - 50),
                ),
                is_null=a == b,
            )
        for lean in (0.0, 0.5):

            def bias(g: Generator, n: int = n, lean: float = lean) -> Seen:
                sign = np.where(g.random((n, 2)) < (1 + np.array([lean, 0])) / 2, 1.0, -1.0)
                return difference("balance", one_group(sign * paired_answers(g, n, (0.2, 0.2), 0.5)), 20 * lean)

            yield Cell("difference of BBQ biases", f"lean {lean:g} and 0, 20 % named of {n}", bias, is_null=lean == 0)
    for across, of in (("lowest", np.min), ("gap", np.ptp)):
        for size in (4, 11):
            for n in (20, 50, 150):
                for how, a, b in (("equal and equal", 0, 0), ("equal and spread", 0, 1), ("spread and spread", 1, 1)):
                    p_GS = np.stack([chances(size, bool(a), 0.6), chances(size, bool(b), 0.6)], axis=1)

                    def draw(g: Generator, p_GS: Floats = p_GS, n: int = n, across: Any = across, of: Any = of) -> Seen:
                        values = np.stack([paired_answers(g, n, p_S, 0.5) for p_S in p_GS])
                        return difference(
                            "share", in_groups(values), 100 * float(of(p_GS[:, 0]) - of(p_GS[:, 1])), across
                        )

                    word = {"lowest": "worst groups", "gap": "gaps"}[across]
                    yield Cell(f"difference of {word}", f"{size} {how}, {n} items each", draw, is_null=a == b)


def other_items() -> Iterator[Cell]:
    """Models that answer different items: both answer alike where both answer, or each item by itself."""
    for dropped, n in ((0.05, 200), (0.2, 100), (0.5, 60)):

        def alike(g: Generator, dropped: float = dropped, n: int = n) -> Seen:
            values = np.repeat(binary(g, 0.6, n, 1), 2, 1)
            values[g.random(n) < dropped, 0] = np.nan
            return difference("signed_share", one_group(values), 0.0)

        def by_itself(g: Generator, dropped: float = dropped, n: int = n) -> Seen:
            values = paired_answers(g, n, (0.7, 0.5), 0.5)
            values[g.random((n, 2)) < dropped] = np.nan
            return difference("share", one_group(values), 20.0)

        yield Cell("difference over other items", f"the same answers, {dropped:.0%} of {n} dropped", alike, True)
        yield Cell("difference over other items", f"0.7 and 0.5, {dropped:.0%} of {n} absent", by_itself)


def lone_clusters() -> Iterator[Cell]:
    """Four groups of 30 items, and one of a single item."""
    figures: tuple[tuple[str, Across, Any], ...] = (
        ("worst", "lowest", np.min),
        ("gap", "gap", np.ptp),
        ("mean", "mean", np.mean),
    )
    for word, across, of in figures:
        for how, p_G in (("equal", np.full(5, 0.7)), ("spread", chances(5, True))):

            def share(g: Generator, p_G: Floats = p_G, across: Across = across, of: Any = of) -> Seen:
                values = binary(g, p_G[:, None, None], 5, 30, 1)
                values[-1, 1:] = np.nan
                return estimate("share", in_groups(values), 100 * float(of(p_G)), across)

            def mean(g: Generator, p_G: Floats = p_G, across: Across = across, of: Any = of) -> Seen:
                values = g.normal(5 * p_G[:, None, None], 1, (5, 30, 1))
                values[-1, 1:] = np.nan
                return estimate("mean", in_groups(values), 5 * float(of(p_G)), across)

            yield Cell(f"{word} of groups, one of a single item", f"shares, {how}", share)
            yield Cell(f"{word} of groups, one of a single item", f"means, {how}", mean)
