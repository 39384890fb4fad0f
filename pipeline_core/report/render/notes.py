"""How to read the figures of a report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline_core.plugin.figures import ITEM
from pipeline_core.report.figures.compare import Tables
from pipeline_core.report.figures.model import SIGNIFICANT, Figure, GroupDifference, GroupTable, Model, Row, Topic
from pipeline_core.report.render import wording

if TYPE_CHECKING:
    from pipeline_core.report.figures.pair_model import PairRow, Seeds


STEADINESS = (
    "Of the reward that the policy was trained with, in its own scale. End: the mean of the last tenth of the steps. "
    "Spread over steps: standard deviation of a step's mean about its rolling mean of twenty steps; over seeds: of the "
    "end. A policy that has gained no more than one standard error has not learned, and its steadiness says nothing. "
    "A GRPO loss near zero is no sign of that: advantages within a cohort sum to zero, so the loss is near zero in "
    "value, and not its gradient."
)


EFFECT = (
    "d is Cohen's: the difference over the standard deviation of items, the root of the mean of both variances. "
    "By custom .2 is a small effect, .5 a middle one, .8 a large one."
)


BOTH = "every resample draws the same items for both, and an item that one of them lacks counts for the other alone"


@dataclass(frozen=True)
class Truncated:
    """How many of a suite's texts a reward could not read in full."""

    label: str
    suite: str
    cut: int
    texts: int


def reward_notes(
    models: Sequence[Model],
    tables: Tables,
    metrics: Mapping[str, Mapping[str, float]],
    truncated: Sequence[Truncated] = (),
) -> list[str]:
    """Lines for below the table of rewards, each compared with the first; `metrics` of their trainings by label."""
    return [
        "Larger scores mean better texts; a reward's scale has no meaning of its own.",
        *(_on_sign(label, of_one) for label, of_one in metrics.items() if "sign" in of_one),
        *notes(models, tables, models[0].label),
        *_on_every_group(tables.group_tables, models[0].label),
        *_on_chance(tables.group_tables),
        *(f"{one.label} could not read {one.cut} of {one.texts} texts of {one.suite} in full." for one in truncated),
    ]


def _on_sign(label: str, metrics: Mapping[str, float]) -> str:
    known = {1.0: "larger raw scores are better", -1.0: "smaller raw scores are better, so they are turned around"}
    said = known.get(metrics["sign"], "its sign is undecided")
    held_out = "held out" if metrics.get("sign/held_out") else "learned from"
    return (
        f"{label}: {said}, by {metrics.get('sign/pairs', 0):.0f} units of labelled pairs that were {held_out} "
        f"(p = {metrics.get('sign/p_value', 1):.2g})."
    )


def _on_every_group(tables: Sequence[GroupTable], against: str) -> Iterator[str]:
    """In which groups each reward is better than the first one, in which worse, and where neither is shown."""
    for table in tables:
        for column in table.columns:
            named: dict[str, list[str]] = {"better": [], "worse": [], "unclear": []}
            for group, one in column.differences.items():
                named[_verdict(one, table)].append(wording.plain(group))
            words = "; ".join(f"{verdict} in {', '.join(groups)}" for verdict, groups in named.items() if groups)
            if words:
                what = f"{wording.measure(table.title)} by {table.axis}"
                yield f"{what}, {column.model} against {against} (p adjusted over the groups): {words}."


FEWEST = 10
"""Units of a group, below which its bootstrap interval is too narrow to tell a figure from chance: with six it takes a
side in one of nine fair coins."""


def _on_chance(tables: Sequence[GroupTable]) -> Iterator[str]:
    """In which groups each reward does better than a guess, in which worse, and where neither is shown."""
    for table in tables:
        for column in table.columns if table.chance is not None else ():
            named: dict[str, list[str]] = {"above": [], "below": [], "not told from it": []}
            for group, one in column.groups.items():
                if one.value is not None:
                    named[_side(one, table.chance or 0.0)].append(wording.plain(group))
            if words := "; ".join(f"{side} in {', '.join(groups)}" for side, groups in named.items() if groups):
                chance = f"chance ({table.chance:g}{table.unit and ' '}{table.unit})"
                what = f"{wording.measure(table.title)} by {table.axis}"
                yield f"{what}, {column.model} against {chance}, by each interval alone: {words}."


def _side(one: Figure, chance: float) -> str:
    if (one.n_clusters or one.n) < FEWEST or one.low is None or one.high is None or one.low <= chance <= one.high:
        return "not told from it"
    return "above" if one.low > chance else "below"


def _verdict(one: GroupDifference, table: GroupTable) -> str:
    if one.value is None or one.p_holm is None or one.p_holm >= SIGNIFICANT:
        return "unclear"
    if wording.prints_as_zero(one.value, table.unit):
        return "unclear"
    return "better" if (one.value < 0) == (table.better == "lower") else "worse"


def notes(models: Sequence[Model], tables: Tables, against: str = "the base") -> list[str]:
    """Lines for below the table; what is undefined throughout is not explained."""
    shown = [row for row in tables.rows if any(cell.value is not None for cell in row.cells)]
    return [
        "Brackets hold the 95 % interval by the bootstrap; values of one item are drawn together.",
        *_on_clusters(shown),
        *_on_counts(shown, any(len(model.seeds) > 1 for model in models)),
        *_on_comparisons(tables, against),
        *_on_groups(shown),
        *_on_ends(tables.group_tables),
        *_on_seeds(models),
        "– means undefined, never zero.",
    ]


def _on_clusters(rows: Sequence[Topic]) -> Iterator[str]:
    """Which suites draw more than single items."""
    nouns: dict[str, dict[str, None]] = {}
    for row in rows:
        if _is_in_units(row):
            nouns.setdefault(row.resampled, {})[wording.plain(row.suite)] = None
    for noun, suites in nouns.items():
        yield (
            f"{', '.join(suites)}: items of one {noun} are drawn together, because they are alike. Intervals and tests "
            f"rest on the number of {wording.plural(noun)}."
        )


def _is_in_units(row: Topic) -> bool:
    """Whether items of a row are drawn together."""
    figures = row.cells if isinstance(row, Row) else [value for _, value in row if isinstance(value, Figure)]
    return row.resampled != ITEM and any(one.n_clusters and one.n_clusters < one.n for one in figures)


def _on_counts(rows: Sequence[Topic], has_seeds: bool) -> Iterator[str]:
    """What n is."""
    if rows:
        seeds = "; of several seeds those of one" if has_seeds else ""
        worst = "; of a worst group those of that group" if any(row.part == "worst_group" for row in rows) else ""
        units = ", and the units they are in" if any(map(_is_in_units, rows)) else ""
        yield f"n counts the items that a figure rests on{units}{seeds}{worst}."


def _on_comparisons(tables: Tables, against: str) -> Iterator[str]:
    rows = [row for row in tables.rows if any(cell.test for cell in row.cells)]
    if tested := [cell for row in rows for cell in row.cells if cell.test]:
        tests = "; ".join(sorted({cell.test for cell in tested}))
        yield (
            f"Δ is the difference to {against}: {BOTH}. It counts as shown below p = {SIGNIFICANT}. p-values ({tests}) "
            f"are adjusted for the table's {_counted(len(tested), 'comparison')} (Holm), those of further measures for "
            "all of their suite. Intervals are of each row alone and are not adjusted, so one may exclude zero where p "
            "is above the level. Models that are equal on every item are not tested."
        )
        if any(cell.effect is not None for cell in tested):
            yield EFFECT
        yield from _on_distances(rows)


def _on_distances(rows: Sequence[Topic]) -> Iterator[str]:
    """Of rows that were tested."""
    if any(row.statistic.startswith("distance_from") for row in rows):
        yield "Distances hardly change near zero: between models that are nearly even a test of them has little power."


def _on_groups(rows: Sequence[Topic]) -> Iterator[str]:
    averaged = [row for row in rows if row.mean_over]
    if averaged:
        names = ", ".join(wording.measure(row.title) for row in averaged)
        yield (
            f"{names}: the mean over {averaged[0].mean_over}s of the figure in each, where opposite leanings do not "
            "cancel. A mean of distances lies above the truth when each rests on few items."
        )
    if any(row.part for row in rows):
        yield (
            "Worst group, gap and mean are bootstrapped within groups; the worst group is selected again in every "
            "resample, so its interval accounts for selection. The value does not: where groups are small, the worst "
            "group looks worse and the gap larger than they are (of eleven groups that all are at 70 %, the highest "
            "reads 85 % with 20 items each and 80 % with 50)."
        )


def _on_ends(tables: Sequence[GroupTable]) -> Iterator[str]:
    """Where a group's items all lie at one end of the range: why its interval is wider than its neighbours'."""
    figures = [one for table in tables for column in table.columns for one in column.groups.values()]
    if any(one.low != one.high and one.value in (one.low, one.high) for one in figures if one.value is not None):
        yield (
            "A group whose items all lie at one end (0 of 40) is not known to be there: its interval reaches as far as "
            "its few units allow, which can be farther than that of a group with 1 of 40, and widens those of the "
            "worst group, the gap and the mean."
        )


def _on_seeds(models: Sequence[Model]) -> Iterator[str]:
    several = [model for model in models if len(model.seeds) > 1]
    if several:
        yield (
            "With several seeds a value is their mean and s their standard deviation. Its interval and its p-value "
            "generalise to new items and to new training seeds together. Two or three seeds say little about others: "
            "then intervals are wide."
        )
    if len(several) < len(models):
        whose = "models without several seeds" if several else "these models"
        yield (
            f"Intervals and p-values of {whose} generalise to new items. They do not include variation between "
            "training seeds."
        )


def pair_notes(a: str, b: str, seeds: Seeds, rows: Sequence[PairRow]) -> Iterator[str]:
    """Lines for below the table of two models: which interval speaks of what."""
    tested = [row for row in rows if row.over_items and row.over_items.test]
    shown = [row for row in rows if row.a.value is not None or row.b.value is not None]
    adjusted = (
        f"p is adjusted for the table's {_counted(len(tested), 'test')} (Holm); a difference counts as shown below "
    )
    counts = f"{adjusted}{SIGNIFICANT}. " if tested else ""
    yield "Brackets below A and B hold the 95 % interval; several seeds are averaged, s is their standard deviation."
    yield from _on_clusters(shown)
    yield from _on_counts(shown, len(seeds.a) > 1 or len(seeds.b) > 1)
    yield (
        f"A − B, items: {BOTH}. Interval and p generalise to new items, and to new training seeds of a model that has "
        f"several. {counts}Models that are equal on every item are not tested."
    )
    if any(row.over_seeds for row in rows):
        yield (
            f"A − B, seeds: seed by seed over {_listed(seeds.both)}; Student's interval generalises to another "
            "training seed on these very items. It is not adjusted for the number of rows."
        )
    else:
        yield "Nothing is paired over training seeds: that takes two or more that both models have."
    if seeds.a != seeds.b:
        yield f"{a} has {_listed(seeds.a)}, {b} {_listed(seeds.b)}: values and items rest on all that each has."
    if any(row.over_items and row.over_items.effect is not None for row in tested):
        yield EFFECT
    if any(row.part == "worst_group" for row in shown):
        yield "The worst group is found in every model and seed by itself."
    yield from _on_groups(shown)
    yield from _on_distances(tested)


def _counted(number: int, noun: str) -> str:
    """`1 test`, `2 tests`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _listed(seeds: Sequence[int]) -> str:
    """`seeds 0, 1`, `no training seed`."""
    return f"seeds {', '.join(map(str, seeds))}" if seeds else "no training seed"
