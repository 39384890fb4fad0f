"""How often 95 % intervals hold the truth, and how often tests of models that are alike reject at .05.

    python -m benchmarks.coverage --out coverage.jsonl --processes 2   # every cell, or those still missing in the file
    python -m benchmarks.coverage --cells 'share|worst' --simulations 4000
    python -m benchmarks.coverage --out coverage.jsonl --table         # the table of what the file holds

Every cell draws worlds whose truth is known, as many as `--simulations`, and asks the functions that reports use
(`Bootstrap`, `RelationBootstrap`). They draw fewer resamples here than in a report, from eight seeds in turn: the noise
of 500 resamples moves a coverage by about .2 points, and a run takes a quarter of the time. Cells are appended to the
file one by one, so a run that was stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle
from multiprocessing import Pool
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from pipeline_core.ops.bootstrap import Across, Bootstrap, Difference, Estimate
from pipeline_core.ops.ranking import RELATIONS
from pipeline_core.ops.relation_bootstrap import Paired, RelationBootstrap
from pipeline_core.ops.resampling import Items
from pipeline_core.ops.stats import STATISTICS

Floats = NDArray[np.float64]
Generator = np.random.Generator
ALPHA = 0.05
RESAMPLES = 500
TURNS = cycle(range(8))
"""Seeds of the resamples."""


class Seen(NamedTuple):
    """One world: what was found and what is true; None where the figure was undefined."""

    found: Estimate
    truth: float


@dataclass(frozen=True)
class Cell:
    """A kind of figure in one kind of world."""

    kind: str
    name: str
    draw: Callable[[Generator], Seen]
    is_null: bool = False
    """Whether models are alike, so that every rejection is an error."""


@dataclass
class Counted:
    """Worlds in which the figure was defined, those whose interval holds the truth, and the others by side."""

    n: int = 0
    held: int = 0
    too_high: int = 0
    too_low: int = 0
    rejected: int = 0
    width: float = 0.0

    def add(self, seen: Seen) -> None:
        """Count one world."""
        found, slack = seen.found, 1e-9
        if found.value is None or found.low is None or found.high is None:
            return
        self.n += 1
        self.too_high += found.low > seen.truth + slack
        self.too_low += found.high < seen.truth - slack
        self.held += found.low - slack <= seen.truth <= found.high + slack
        self.width += found.high - found.low
        if isinstance(found, Difference) and found.p is not None:
            self.rejected += found.p < ALPHA


# Worlds: values of items, (C, S)


def one_group(values_CS: Floats, counts_CS: Floats | None = None, cluster: NDArray[np.intp] | None = None) -> Items:
    """All items in one group."""
    counts = np.ones_like(values_CS) if counts_CS is None else counts_CS
    return Items(*(one[:, None, :] for one in (values_CS * counts, counts, values_CS**2 * counts)), cluster=cluster)


def in_groups(values_GCS: Floats) -> Items:
    """Groups of as many items each."""
    groups, size, seeds = values_GCS.shape
    values, counts = (np.zeros((groups * size, groups, seeds)) for _ in range(2))
    for group in range(groups):
        own = slice(group * size, (group + 1) * size)
        values[own, group], counts[own, group] = values_GCS[group], 1.0
    return Items(values, counts, values**2)


def binary(generator: Generator, chances: Floats, *shape: int) -> Floats:
    return (generator.random(shape or chances.shape) < chances).astype(np.float64)


def estimate(statistic: str, items: Items, truth: float, across: Across = "all") -> Seen:
    return Seen(
        Bootstrap.of(items, seed=next(TURNS), resamples=RESAMPLES).estimate(STATISTICS[statistic], across=across), truth
    )


def difference(
    statistic: str, items: Items, truth: float, across: Across = "all", mine: int = 1, by_seed: bool = True
) -> Seen:
    """Of the first `mine` columns against the others."""
    boot = Bootstrap.of(items, seed=next(TURNS), resamples=RESAMPLES)
    return Seen(
        boot.difference(STATISTICS[statistic], slice(0, mine), slice(mine, None), across, by_seed=by_seed), truth
    )


# Cells


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


def related(statistic: str, x: Floats, y: Floats, truth: float, cluster: NDArray[np.intp] | None = None) -> Seen:
    """One group; x and y (C, S)."""
    number = np.arange(len(x)) if cluster is None else cluster
    paired = Paired(x, y, np.ones((len(x), 1), dtype=bool), number)
    boot = RelationBootstrap.of(RELATIONS[statistic], paired, seed=next(TURNS), resamples=RESAMPLES)
    if x.shape[1] == 2:
        return Seen(boot.difference(slice(0, 1), slice(1, 2)), truth)
    return Seen(boot.estimate(), truth)


def classes(n: int, share: float = 0.5) -> Floats:
    return (np.arange(n) < round(share * n)).astype(np.float64)[:, None]


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


def sizes_of(g: Generator, clusters: int) -> NDArray[np.int64]:
    """Unequal: from 2 to about 40 items, half of the clusters below 8."""
    return np.minimum(2 + g.geometric(0.12, clusters), 40)


def clustered() -> Iterator[Cell]:
    """Templates that differ (normal, SD 1 on the probit scale), of unequal size."""
    for k in (4, 8, 15, 25, 60):
        for equal in (True, False):

            def sizes(g: Generator, k: int = k, equal: bool = equal) -> NDArray[np.intp]:
                return np.repeat(np.arange(k), np.full(k, 12) if equal else sizes_of(g, k))

            how = f"{k} clusters of {'12' if equal else '3 to 40'}"

            def share(g: Generator, sizes: Any = sizes, k: int = k, at: float = 0.5) -> Seen:
                cluster = sizes(g)
                chance = ndtr(at + g.normal(size=k))[cluster][:, None]
                return estimate(
                    "share", one_group(binary(g, chance), cluster=cluster), 100 * float(ndtr(at / math.sqrt(2)))
                )

            def rare(g: Generator, share: Any = share) -> Seen:
                return share(g, at=-2.3)

            def mean(g: Generator, sizes: Any = sizes, k: int = k) -> Seen:
                cluster = sizes(g)
                return estimate(
                    "mean",
                    one_group((g.normal(size=k)[cluster] + g.normal(size=len(cluster)))[:, None], cluster=cluster),
                    0.0,
                )

            def bias(g: Generator, sizes: Any = sizes, k: int = k) -> Seen:
                """The lean differs by template, and so does how often somebody is named."""
                cluster = sizes(g)
                lean, named = ndtr(0.3 + g.normal(size=k))[cluster], ndtr(-0.5 + g.normal(size=k))[cluster]
                sign = np.where(g.random(len(cluster)) < lean, 1.0, -1.0)
                truth = 100 * (2 * float(ndtr(0.3 / math.sqrt(2))) - 1) * float(ndtr(-0.5 / math.sqrt(2)))
                return estimate("balance", one_group((sign * binary(g, named))[:, None], cluster=cluster), truth)

            def alike(g: Generator, sizes: Any = sizes, k: int = k) -> Seen:
                """Two models: a template helps one or the other."""
                cluster = sizes(g)
                shift = g.normal(size=(k, 1)) + 0.5 * g.normal(size=(k, 2))
                return difference("share", one_group(binary(g, ndtr(0.5 + shift)[cluster]), cluster=cluster), 0.0)

            def area(g: Generator, sizes: Any = sizes, k: int = k) -> Seen:
                """The class is the cluster's; scores of a cluster are alike."""
                cluster = sizes(g)
                y = (np.arange(k) % 2).astype(np.float64)[cluster][:, None]
                x = 1.2 * y + (g.normal(size=k)[cluster] * 0.7 + 0.7 * g.normal(size=len(cluster)))[:, None]
                return related("auc", x, y, float(ndtr(1.2 / math.sqrt(2 * 0.98))), cluster)

            yield Cell("clusters: share", f"0.64, {how}", share)
            yield Cell("clusters: share", f"0.05, {how}", rare)
            yield Cell("clusters: mean", how, mean)
            yield Cell("clusters: BBQ bias", how, bias)
            yield Cell("clusters: difference of shares", how, alike, is_null=True)
            if k > 4:
                yield Cell("clusters: area", how, area)


def seeded(
    g: Generator, n: int, seeds: int, deviation: float, at: float = 0.5, models: int = 1, own: float = 0.5
) -> Floats:
    """Answers (C, models * seeds) of models with seeds; items are hard for all, seeds differ by `deviation`."""
    item = g.normal(size=(n, 1)) * 0.9
    seed = deviation * g.normal(size=(1, models * seeds))
    return binary(g, ndtr(at + item + seed + own * g.normal(size=(n, models * seeds))))


def scale(own: float = 0.5) -> float:
    """What the mean of a probit is divided by, without the seeds."""
    return math.sqrt(1 + 0.9**2 + own**2)


def over_seeds() -> Iterator[Cell]:
    for seeds in (2, 3, 5, 8, 16):
        for points in (0, 2, 5):
            deviation = points / 100 / 0.35 * scale()  # near .64 a share changes by about .35 per probit unit
            truth = 100 * float(ndtr(0.5 / math.sqrt(scale() ** 2 + deviation**2)))
            name = f"{seeds} seeds of SD {points} points, 200 items"

            def share(g: Generator, seeds: int = seeds, deviation: float = deviation, truth: float = truth) -> Seen:
                return estimate("share", one_group(seeded(g, 200, seeds, deviation)), truth)

            def two(g: Generator, seeds: int = seeds, deviation: float = deviation, by_seed: bool = True) -> Seen:
                items = one_group(seeded(g, 200, seeds, deviation, models=2))
                return difference("share", items, 0.0, mine=seeds, by_seed=by_seed)

            def based(g: Generator, seeds: int = seeds, deviation: float = deviation) -> Seen:
                """Against a base without seeds, whose answers are as good on average."""
                item = g.normal(size=(200, 1)) * 0.9
                at = 0.5 * math.sqrt(scale() ** 2 + deviation**2) / scale()
                seed = np.concatenate([at + deviation * g.normal(size=(1, seeds)), np.full((1, 1), 0.5)], axis=1)
                values = binary(g, ndtr(seed + item + 0.5 * g.normal(size=(200, seeds + 1))))
                return difference("share", one_group(values), 0.0, mine=seeds)

            def mean(g: Generator, seeds: int = seeds, points: int = points) -> Seen:
                values = g.normal(size=(50, 1)) + 0.1 * points * g.normal(size=(1, seeds)) + g.normal(size=(50, seeds))
                return estimate("mean", one_group(values), 0.0)

            def distance(g: Generator, seeds: int = seeds, deviation: float = deviation) -> Seen:
                nodes = ndtri((np.arange(400) + 0.5) / 400)
                expected = float(np.abs(100 * ndtr((0.2 + deviation * nodes) / scale()) - 50).mean())
                return estimate("distance_from_half", one_group(seeded(g, 200, seeds, deviation, 0.2)), expected)

            def worst(g: Generator, seeds: int = seeds, deviation: float = deviation) -> Seen:
                """A seed moves all groups alike."""
                seed = deviation * g.normal(size=(1, 1, seeds))
                at = np.array([0.2, 0.4, 0.6, 0.8])[:, None, None]
                chance = ndtr(at + seed + 0.9 * g.normal(size=(4, 100, 1)) + 0.5 * g.normal(size=(4, 100, seeds)))
                lowest = 100 * float(ndtr(0.2 / math.sqrt(scale() ** 2 + deviation**2)))
                return estimate("share", in_groups(binary(g, chance)), lowest, "lowest")

            yield Cell("seeds: share", name, share)
            yield Cell("seeds: mean", f"{seeds} seeds of SD {0.1 * points:g}, 50 items", mean)
            yield Cell("seeds: two methods, paired by seed", name, two, is_null=True)
            yield Cell("seeds: two methods, other seeds", name, lambda g, two=two: two(g, by_seed=False), is_null=True)
            yield Cell("seeds: method and base", name, based, is_null=True)
            yield Cell("seeds: distance from half", name, distance)
            yield Cell("seeds: worst of 4 groups", name.replace("200", "100"), worst)


def cells() -> list[Cell]:
    """All of them."""
    kinds = (means, shares, balances, distances, groups, pair_differences, areas, clustered, over_seeds)
    return [cell for kind in kinds for cell in kind()]


def measure(place: int, simulations: int) -> dict[str, Any]:
    """Coverage of the cell at `place`."""
    cell, start = cells()[place], time.perf_counter()
    generator = np.random.default_rng(zlib.crc32(f"{cell.kind}: {cell.name}".encode()))
    counted = Counted()
    with np.errstate(all="ignore"):
        for _ in range(simulations):
            counted.add(cell.draw(generator))
    n = max(counted.n, 1)
    return {
        "kind": cell.kind,
        "name": cell.name,
        "simulations": simulations,
        "defined": counted.n,
        "coverage": 100 * counted.held / n,
        "too_high": 100 * counted.too_high / n,
        "too_low": 100 * counted.too_low / n,
        "width": counted.width / n,
        "rejected": 100 * counted.rejected / n if cell.is_null else None,
        "seconds": round(time.perf_counter() - start, 1),
    }


def table(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Markdown; misses are told by side."""
    yield f"| figure | world | 95 % interval holds the truth | misses: above, below | rejected at {ALPHA:g} |"
    yield "|---|---|---:|---:|---:|"
    order = {(cell.kind, cell.name): place for place, cell in enumerate(cells())}
    for row in sorted(rows, key=lambda row: order.get((row["kind"], row["name"]), len(order))):
        rejected = "" if row["rejected"] is None else f"{row['rejected']:.1f} %"
        few = f" ({row['defined']:,})" if row["defined"] < 0.99 * row["simulations"] else ""
        misses = f"{row['too_high']:.1f}, {row['too_low']:.1f}"
        yield f"| {row['kind']} | {row['name']} | {row['coverage']:.1f} %{few} | {misses} | {rejected} |"


def main() -> None:
    """Simulate, or print what was."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="file that lines are appended to, and read from")
    parser.add_argument("--cells", default="", help="regular expression over `kind: name`")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--simulations", type=int, default=2000)
    parser.add_argument("--table", action="store_true", help="print the table of the file")
    given = parser.parse_args()
    known = (
        [json.loads(line) for line in given.out.read_text().splitlines()] if given.out and given.out.exists() else []
    )
    if given.table:
        print("\n".join(table(known)))
        return
    done = {(row["kind"], row["name"]) for row in known if row["simulations"] >= given.simulations}
    todo = [
        (place, given.simulations)
        for place, cell in enumerate(cells())
        if re.search(given.cells, f"{cell.kind}: {cell.name}") and (cell.kind, cell.name) not in done
    ]
    print(f"{len(todo)} cells, {given.simulations} worlds each, {RESAMPLES} resamples", flush=True)
    with Pool(given.processes) as pool:
        for row in pool.imap_unordered(_star, todo):
            if given.out:
                with given.out.open("a") as lines:
                    lines.write(json.dumps(row) + "\n")
            rejected = "" if row["rejected"] is None else f", rejects {row['rejected']:.1f} %"
            print(
                f"{row['kind']}: {row['name']}: {row['coverage']:.1f} % (above {row['too_high']:.1f}, below "
                f"{row['too_low']:.1f}{rejected}), width {row['width']:.3g}, n {row['defined']}, {row['seconds']} s",
                flush=True,
            )


def _star(given: tuple[int, int]) -> dict[str, Any]:
    return measure(*given)


if __name__ == "__main__":
    main()
