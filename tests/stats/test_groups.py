"""Intervals of figures across groups against a reference in plain loops, and their parts against worked numbers."""

import math

import numpy as np
import pytest

from pipeline_core.stats import groups as across_groups
from pipeline_core.stats.groups import Groups, apart, held, spread_apart
from pipeline_core.stats.intervals import sides
from pipeline_core.stats.resampling import Floats

EVEN = (30.0, 1.0)
ENDS = (0.0, 1.0)
LEVEL = 0.9
SIZES = np.array([[20.0], [40.0], [12.0]])


def same(values):
    return values


def distance(values):
    return np.abs(values - 0.5)


def some_groups(across, seeds=2, of=same, **changes):
    """Three groups, the second without a value in one of the seeds."""
    generator = np.random.default_rng(4)
    values = np.array([[0.31, 0.35], [0.52, 0.49], [0.44, np.nan]])[:, :seeds]
    drawn = np.clip(values + 0.05 * generator.standard_normal((200, 3, seeds)), 0.01, 0.99)
    facts = {"ends": ENDS, "n": np.broadcast_to(SIZES, values.shape)} | changes
    return Groups(of, across, values, drawn, EVEN, **facts)


def figure(values, across, of=same) -> float:
    """Mean over seeds of the figure across the groups that have a value."""
    combine = {
        "mean": np.mean,
        "highest": max,
        "lowest": min,
        "gap": lambda figures: max(figures) - min(figures),
    }[across]
    return float(np.mean([combine([v for v in map(float, of(column)) if not math.isnan(v)]) for column in values.T]))


def shrunk(values: Floats, noise: Floats) -> Floats:
    """Empirical Bayes by its definition: each seed's groups lose the share of noise in their variance."""
    result = np.full_like(values, np.nan)
    for seed in range(values.shape[1]):
        known = [group for group in range(len(values)) if math.isfinite(values[group, seed])]
        mean = sum(values[group, seed] for group in known) / len(known)
        between = sum((values[group, seed] - mean) ** 2 for group in known) / (len(known) - 1) if len(known) > 1 else 0
        own = [noise[group, seed] for group in range(len(values)) if math.isfinite(noise[group, seed])]
        kept = min(1.0, max(0.0, 1 - sum(own) / len(own) / between)) if between > 0 else 0.0
        for group in known:
            result[group, seed] = mean + kept * (values[group, seed] - mean)
    return result


def variance_of_one(value: float, size: float) -> float:
    """Variance of a share near `value`, with one more item at either end."""
    share = (value * size + 1) / (size + 2)
    return share * (1 - share)


def shrunken(given: Groups) -> tuple[float, Floats]:
    noise = given.drawn.var(0)
    truth = shrunk(given.values, noise)
    drawn = np.full_like(given.drawn, np.nan)
    for group, seed in np.ndindex(*given.values.shape):
        if math.isnan(given.values[group, seed]):
            continue
        scale = 1.0
        if given.n is not None:
            size = given.n[group, seed]
            before, after = (variance_of_one(v[group, seed], size) for v in (given.values, truth))
            scale = (after / before) ** given.power
        drawn[:, group, seed] = truth[group, seed] + scale * (given.drawn[:, group, seed] - given.values[group, seed])
    return figure(truth, given.across, given.of), np.array([figure(one, given.across, given.of) for one in drawn])


def accepted(given: Groups) -> list[float]:
    """Figures of equal groups, and of groups on the fold, that would give the measured figure."""
    truths = [np.broadcast_to(np.nanmean(given.values, 0), given.values.shape)]
    truths = truths if len(given.values) > 1 else []
    found, measured = [], figure(given.values, given.across, given.of)
    for truth in [*truths, *([given.on_fold(given.values)] if given.on_fold else [])]:
        under = np.array([figure(one + truth - given.values, given.across, given.of) for one in given.drawn])
        expected = figure(np.where(np.isnan(given.values), np.nan, truth), given.across, given.of)
        least, most = sides(under, expected, given.spread, LEVEL, centred=False)
        found += [expected] if least <= measured <= most else []
    return found


def wide(given: Groups, alike=None, alone=None) -> tuple[float, float]:
    """The union that `Groups.wide` describes."""
    value = figure(given.values, given.across, given.of)
    around = np.array([figure(one, given.across, given.of) for one in given.drawn])
    low, high = sides(around, value, given.spread, LEVEL)
    ends = [low, high, 2 * value - low, 2 * value - high]
    if given.across != "mean" and len(given.values) > 1:
        truth, under = shrunken(given)
        least, most = sides(under, truth, given.spread, LEVEL, centred=False)
        ends += [value - (least - truth), value - (most - truth), *(alone or ())]
    for one in accepted(given):
        ends += [one, *(alike or ())]
    return min(ends), max(ends)


@pytest.mark.parametrize("power", [0.5, 1.0])
@pytest.mark.parametrize("across", ["highest", "lowest", "gap", "mean"])
def test_the_interval_is_the_union_it_is_said_to_be(across, power):
    given = some_groups(across, power=power)
    mine = None if across in ("gap", "mean") else (0.29, 0.61)
    found = given.wide(LEVEL, lambda: (0.38, 0.47), lambda group: (0.29, 0.61))
    equal = (0.38, 0.47) if across in ("highest", "lowest") else None
    assert found == pytest.approx(wide(given, equal, mine), abs=1e-12)


@pytest.mark.parametrize("across", ["highest", "lowest", "gap"])
def test_what_is_known_of_the_extreme_group_alone_widens_one_end(across):
    given = some_groups(across)
    narrow = given.wide(LEVEL, lambda: (0.4, 0.4), lambda group: (0.4, 0.4))
    for alone in ((-5.0, 0.4), (0.4, 5.0)):
        asked = []

        def known(group, asked=asked, alone=alone):
            asked.append(group)
            return alone

        found = given.wide(LEVEL, lambda: (0.4, 0.4), known)
        if across == "gap":
            assert (found, asked) == (narrow, [])
        else:
            assert asked == [1 if across == "highest" else 0]
            assert found == (min(narrow[0], alone[0]), max(narrow[1], alone[1]))


def test_a_group_without_an_interval_is_drawn_alone():
    given = some_groups("highest")
    found = given.wide(LEVEL, lambda: (0.4, 0.4), lambda group: None)
    group = np.array([np.mean(one[1]) for one in given.drawn])  # the group of the highest figure, over its seeds
    low, high = np.quantile(group, [0.05, 0.95])
    assert found == pytest.approx(wide(given, (0.4, 0.4), (low, high)), abs=1e-12)


def test_a_group_that_some_seeds_lack_is_drawn_from_the_others():
    given = some_groups("lowest")
    lacking = Groups(same, "lowest", given.values[::-1], given.drawn[:, ::-1], EVEN)
    low, high = lacking._drawn_alone(0, LEVEL)
    assert (low, high) == pytest.approx(tuple(np.quantile(given.drawn[:, 2, 0], [0.05, 0.95])))


@pytest.mark.parametrize("seeds", [1, 2])
@pytest.mark.parametrize("across", ["highest", "lowest", "gap"])
@pytest.mark.parametrize("n", [True, False])
def test_shrunken_groups_and_their_resamples_equal_the_definition(across, seeds, n):
    given = some_groups(across, seeds, **({} if n else {"n": None, "ends": None}))
    truth, under = given.shrunken
    expected, expected_R = shrunken(given)
    assert truth == pytest.approx(expected, abs=1e-12)
    assert under == pytest.approx(expected_R, abs=1e-12)


def test_a_mean_is_shrunk_by_the_share_of_noise_in_the_variance():
    values = np.array([[0.2, 1.0], [0.4, 1.0], [0.9, np.nan]])
    noise = np.array([[0.04, 0.1], [0.02, 0.3], [0.03, np.nan]])
    # variance .13, noise .03: 10 of 13 parts of each deviation stay; equal values stay as they are
    expected = 0.5 + (1 - 0.03 / 0.13) * (values[:, 0] - 0.5)
    assert across_groups._shrunk(values, noise)[:, 0] == pytest.approx(expected)
    assert across_groups._shrunk(values, noise)[:2, 1] == pytest.approx([1.0, 1.0])
    assert across_groups._shrunk(values, 100 * noise)[:, 0] == pytest.approx([0.5, 0.5, 0.5]), (
        "no further than the mean"
    )
    assert across_groups._shrunk(values, 0 * noise)[:, 0] == pytest.approx(values[:, 0])
    assert across_groups._shrunk(values[:1], noise[:1]) == pytest.approx(values[:1]), (
        "of one group there is no variance"
    )
    two = across_groups._shrunk(values[:2, :1], noise[:2, :1])  # variance .02 and noise .03
    assert two[:, 0] == pytest.approx([0.3, 0.3])
    large = across_groups._shrunk(100 * values[:, :1], 10_000 * noise[:, :1])
    assert large[:, 0] == pytest.approx(100 * expected), "in any unit"


def test_deviations_follow_the_noise_of_the_other_truth():
    given = some_groups("highest")
    away = np.array([1.0, 1.0, 1.0, 1.0, 1.0])
    before, after = np.array([4.0, 0.0, 4.0, 0.5, 2.0]), np.array([1.0, 1.0, 0.0, 2.0, 2.0])
    assert given._rescaled(away, before, after) == pytest.approx([0.5, 1.0, 1.0, 2.0, 1.0])
    squared = some_groups("highest", power=1.0)
    assert squared._rescaled(3 * away, before, after) == pytest.approx([0.75, 3.0, 3.0, 12.0, 3.0])


def test_the_least_noise_is_that_of_groups_whose_resamples_do_not_vary():
    values = np.array([[0.0], [0.0], [0.3]])
    drawn = np.broadcast_to(values, (50, 3, 1))
    assert Groups(same, "highest", values, drawn, EVEN).shrunken[0] == pytest.approx(0.3)
    given = Groups(same, "highest", values, drawn, EVEN, least_noise=np.full((3, 1), 0.01))
    assert given.shrunken[0] == pytest.approx(0.1 + (1 - 0.01 / 0.03) * 0.2)


@pytest.mark.parametrize("spread_out", [0.02, 0.4])
def test_equal_groups_are_accepted_where_they_would_give_the_figure(spread_out):
    generator = np.random.default_rng(1)
    values = np.array([[0.5 - spread_out], [0.5], [0.5 + spread_out]])
    given = Groups(same, "gap", values, values + 0.05 * generator.standard_normal((200, 3, 1)), EVEN)
    assert given.accepted(LEVEL) == accepted(given) == ([0.0] if spread_out == 0.02 else [])
    assert given.accepted(LEVEL) is given.accepted(LEVEL), "they are found once"


def test_groups_on_the_fold_are_accepted_where_they_would_give_the_figure():
    given = some_groups("mean", of=distance, on_fold=lambda values: np.where(np.isnan(values), np.nan, 0.5))
    assert given.accepted(LEVEL) == pytest.approx(accepted(given))
    single = some_groups("mean", of=distance)
    alone = Groups(distance, "mean", single.values[:1], single.drawn[:, :1], EVEN)
    assert alone.accepted(LEVEL) == [], "of one group there is nothing to test"
    two = Groups(same, "mean", single.values[:2], single.drawn[:, :2], EVEN)
    assert two.accepted(LEVEL) == pytest.approx([figure(two.values, "mean")])


@pytest.mark.parametrize("across", ["highest", "lowest", "gap", "mean"])
def test_the_interval_of_a_difference_is_the_union_it_is_said_to_be(across):
    mine, base = some_groups(across), some_groups(across)
    generator = np.random.default_rng(9)
    shift = np.array([[0.1], [-0.05], [0.02]])
    base = Groups(
        same, across, base.values + shift, base.drawn + shift + 0.02 * generator.standard_normal((200, 3, 2)), EVEN
    )
    spread = spread_apart(mine, base, True, EVEN)
    bounds = (0.35, 0.52), (0.41, 0.47)
    found = apart(mine, base, spread, LEVEL, lambda: bounds)

    ours, theirs = figure(mine.values, across), figure(base.values, across)
    value = ours - theirs
    around = np.array([figure(m, across) - figure(b, across) for m, b in zip(mine.drawn, base.drawn, strict=True)])
    low, high = sides(around, value, spread, LEVEL)
    ends = [low, high, 2 * value - low, 2 * value - high]
    if across == "mean":
        of_mine, of_base = bounds
    else:
        (my_truth, my_drawn), (base_truth, base_drawn) = shrunken(mine), shrunken(base)
        truth = my_truth - base_truth
        least, most = sides(my_drawn - base_drawn, truth, spread, LEVEL, centred=False)
        ends += [value - (least - truth), value - (most - truth)]
        of_mine, of_base = (ours, ours), (theirs, theirs)
    ends += [one - end for one in accepted(mine) for end in of_base]
    ends += [end - one for one in accepted(base) for end in of_mine]
    assert found == pytest.approx((min(ends), max(ends)), abs=1e-12)


@pytest.mark.parametrize(
    ("value", "interval", "across", "expected"),
    [
        (0.2, (-3.0, 3.0), "mean", (-1.0, 1.0)),
        (0.2, (-3.0, 3.0), "gap", (-1.0, 1.0)),
        (0.2, (-0.1, 0.4), "mean", (-0.1, 0.4)),
        (0.2, (0.3, 0.4), "mean", (0.2, 0.4)),
        (0.2, (0.0, 0.1), "mean", (0.0, 0.2)),
    ],
)
def test_a_difference_stays_within_what_is_possible_and_holds_its_value(value, interval, across, expected):
    assert held(value, *interval, ENDS, across) == pytest.approx(expected)
    moved = held(value, *interval, (-0.5, 0.5), across)
    assert moved == pytest.approx(expected), "the range's place does not matter"


def test_ends_that_are_not_alike_give_the_range_of_a_gap():
    assert held(0.0, -9.0, 9.0, (1.0, 3.0), "gap") == (-2.0, 2.0)
    assert held(0.0, -9.0, 9.0, (1.0, 3.0), "mean") == (-2.0, 2.0)


def test_the_extreme_group_is_that_of_the_mean_over_seeds():
    values = np.array([[0.1, 0.9], [0.6, 0.6], [0.2, 0.3]])
    drawn = np.broadcast_to(values, (10, 3, 2))
    assert Groups(same, "highest", values, drawn, EVEN).extreme == 1
    assert Groups(same, "lowest", values, drawn, EVEN).extreme == 2
