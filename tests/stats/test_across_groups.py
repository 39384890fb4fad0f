"""Extremes, gaps and means of groups: of relations, of groups that agree, of groups of one cluster. Simulations are
seeded; bounds leave three standard errors. The whole is in `benchmarks/coverage`."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import ndtri

from pipeline_core.stats import bounded
from pipeline_core.stats.across import Across
from pipeline_core.stats.bootstrap import Bootstrap
from pipeline_core.stats.ranking import RELATIONS
from pipeline_core.stats.related_items import Paired
from pipeline_core.stats.relation_bootstrap import EVERY, RelationBootstrap
from pipeline_core.stats.resampling import Items
from pipeline_core.stats.statistic import STATISTICS

SHARE, MEAN = STATISTICS["share"], STATISTICS["mean"]
OF: dict[Across, object] = {"lowest": np.min, "gap": np.ptp, "highest": np.max}


def members(groups, size):
    return np.repeat(np.eye(groups, dtype=bool), size, axis=0)


def areas(generator, areas_G, size):
    y = np.tile(np.arange(size) % 2.0, len(areas_G))[:, None]
    apart = np.repeat(math.sqrt(2) * ndtri(areas_G), size)[:, None]
    return generator.normal(size=y.shape) + apart * y, y, areas_G


def able(generator, even_G, size):
    """Terms whose model is able in 90 %, and prefers the stereotype in a share of `even_G`."""
    shape = (len(even_G) * size, 1)
    y = generator.random(shape) < np.repeat(even_G, size)[:, None]
    return 1.0 * (generator.random(shape) < 0.9), 1.0 * y, 180 * np.minimum(even_G, 1 - even_G)


def follows(generator, truth_G, size):
    y = generator.normal(size=(len(truth_G) * size, 1))
    return 0.5 * y + math.sqrt(0.75) * generator.normal(size=y.shape), y, 6 / math.pi * np.arcsin(truth_G / 2)


WORLDS = {
    "auc equal": ("auc", areas, np.full(11, 0.8), 20),
    "auc spread": ("auc", areas, np.linspace(0.65, 0.95, 11), 50),
    "icat equal": ("icat", able, np.full(11, 0.6), 20),
    "icat of 4": ("icat", able, np.full(4, 0.6), 50),
    "spearman equal": ("spearman", follows, np.full(11, 0.5), 20),
}


@pytest.mark.parametrize("world", WORLDS)
def test_s2_extremes_of_relations_are_within_their_intervals(world):
    """Of 150 worlds 13 to 57 % held the highest of equal groups' ICAT and area, 19 to 80 % the gap."""
    name, draw, given, size = WORLDS[world]
    generator, held, worlds = np.random.default_rng(3), dict.fromkeys(OF, 0), 60
    for _ in range(worlds):
        x, y, truth_G = draw(generator, given, size)
        paired = Paired(x, y, members(len(given), size), np.arange(len(x)))
        boot = RelationBootstrap.of(RELATIONS[name], paired, resamples=200)
        for across, of in OF.items():
            found = boot.estimate(EVERY, across)
            held[across] += found.low - 1e-9 <= of(truth_G) <= found.high + 1e-9
    assert {across: count / worlds >= 0.87 for across, count in held.items()} == dict.fromkeys(OF, True), held


def test_s2_the_highest_of_spread_shares_is_as_uncertain_as_its_group():
    """Of eleven shares from 55 to 85 % with 20 items each samples reach 100 %; 90 % held before."""
    generator, held = np.random.default_rng(6), 0
    chance = np.linspace(0.55, 0.85, 11)
    for _ in range(80):
        items = in_groups([generator.random(20) < p for p in chance])
        found = Bootstrap.of(SHARE, items, resamples=200).estimate(across="highest")
        held += found.low <= 85 <= found.high
    assert held / 80 >= 0.92


def in_groups(values):
    groups = [[{f"{g}-{i}": [float(value)] for i, value in enumerate(own)}] for g, own in enumerate(values)]
    return Items.of_groups(groups)


def test_s5_perfect_areas_of_groups_are_not_certain():
    """Three groups of six items, three pairs each: the mean has the bound of nine, the worst is below it."""
    y = np.arange(18.0)[:, None] % 2
    boot = RelationBootstrap.of(RELATIONS["auc"], Paired(y, y, members(3, 6), np.arange(18)))
    mean, lowest, gap = (boot.estimate(EVERY, across) for across in ("mean", "lowest", "gap"))
    assert (mean.value, mean.low, mean.high) == (1.0, pytest.approx(0.025 ** (1 / 9)), 1.0)
    assert (lowest.value, gap.value, gap.low, lowest.high) == (1.0, 0.0, 0.0, 1.0)
    assert lowest.low <= boot.group(0).estimate().low == pytest.approx(0.025 ** (1 / 3))
    assert gap.high > 0.5


def test_s5_an_icat_of_terms_that_all_side_is_not_certain():
    ones = np.ones((8, 1))
    found = RelationBootstrap.of(RELATIONS["icat"], Paired(ones, ones, ones > 0, np.arange(8))).estimate()
    assert found.value == found.low == 0.0
    assert 40 < found.high < 80


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([20], 0.025 ** (1 / 20)),
        ([12, 12, 12], 0.025 ** (1 / 36)),
        ([1, 1000], (0.025 + 1) / 2),
        ([1, 2], 0.025 ** (1 / 3) * 2 ** (-2 / 3) * 3 / 2),
    ],
)
def test_the_exact_bound_of_groups_that_agree(sizes, expected):
    """[1, 2]: p and 2 p with p (2 p)² = .025. It is the least mean of all shares that give such data in 2.5 %."""
    found = bounded.all_agree(np.array(sizes, float), sum(sizes), 0.95)
    assert found == pytest.approx(expected)
    for shares in np.random.default_rng(0).random((2000, len(sizes))) ** 0.3:
        if np.prod(shares ** np.array(sizes)) >= 0.025:
            assert shares.mean() >= found - 1e-9


def test_groups_that_share_their_items_are_counted_once():
    assert bounded.all_agree(np.array([20.0, 20.0]), 20, 0.95) == pytest.approx(0.025 ** (1 / 20))


def test_s4_a_group_of_one_cluster_is_not_known_exactly():
    """One item that is right beside a thousand: the mean of both shares, and the gap, may be nearly anything."""
    alone = Bootstrap.of(SHARE, in_groups([[1], [1] * 1000]))
    assert alone.estimate(across="mean").low == pytest.approx(51.25)
    half = Bootstrap.of(SHARE, in_groups([[1], [0, 1] * 500]))
    mean, gap, lowest = (half.estimate(across=across) for across in ("mean", "gap", "lowest"))
    assert mean.low < 30 < 90 < mean.high
    assert gap.low < 5 < 50 < gap.high
    assert lowest.low < 10 < lowest.value


@pytest.mark.parametrize(("size", "bound"), [(2, 34.56), (4, 41.96), (8, 45.89)])
def test_s4_groups_at_both_ends_are_not_all_as_uncertain_as_each(size, bound):
    """Eleven groups whose items all go one way: of truths under which that happens in 2.5 % of samples, those that are
    alike have the smallest mean distance from half, `.025 ** (1 / items)`.
    """
    items = in_groups([[group % 2] * size for group in range(11)])
    distance = Bootstrap.of(STATISTICS["distance_from_half"], items).estimate(across="mean")
    assert (distance.value, distance.high) == (50, 50)
    assert bound - 3 < distance.low < bound + 0.1


def test_s4_the_highest_of_groups_without_any_is_as_uncertain_as_one_of_them():
    """Eleven groups of 0 in 24: that one of them has the mean p is as likely as for that group, `(1 - p) ** 24`."""
    boot = Bootstrap.of(SHARE, in_groups([[0] * 24 for _ in range(11)]))
    alone = 100 * (1 - 0.025 ** (1 / 24))
    for across in ("highest", "gap"):
        found = boot.estimate(across=across)
        assert (found.value, found.low) == (0, 0)
        assert alone <= found.high + 0.01 < 1.25 * alone


def test_s4_an_unbounded_group_of_one_cluster_varies_as_the_others_do():
    generator = np.random.default_rng(0)
    boot = Bootstrap.of(MEAN, in_groups([[3.0], generator.normal(2, 1, 500), generator.normal(2, 1, 500)]))
    highest, gap = (boot.estimate(across=across) for across in ("highest", "gap"))
    assert highest.low < 2 < highest.value < 4 < highest.high < 6
    assert gap.low < 0.5 < 2 < gap.high
    nothing = Bootstrap.of(MEAN, in_groups([[3.0], [5.0]])).estimate(across="mean")
    assert (nothing.value, nothing.low, nothing.high) == (4.0, None, None)


def test_s4_one_cluster_says_little_of_the_mean_of_groups():
    """Ten groups of 30 items and one of a single item, all at 30 %."""
    generator, held = np.random.default_rng(2), 0
    for _ in range(150):
        items = in_groups([generator.random(30) < 0.3 for _ in range(10)] + [generator.random(1) < 0.3])
        found = Bootstrap.of(SHARE, items, resamples=200).estimate(across="mean")
        held += found.low <= 30 <= found.high
    assert held / 150 >= 0.9


def test_a_group_that_one_seed_leaves_undefined_can_be_the_extreme_one():
    """A balance of unknown answers alone is undefined; the other seed's interval of the group stands in."""
    fine = {"a": [1.0], "b": [-1.0], "c": [1.0]}
    one_seed, other_seed = {"d": [1.0], "e": [1.0]}, {"d": [0.0], "e": [0.0]}
    items = Items.of_groups([[one_seed, other_seed], [fine, fine]])
    found = Bootstrap.of(STATISTICS["balance"], items).estimate(across="highest")
    assert found.value == pytest.approx((100 + 100 / 3) / 2)
    assert -100 <= found.low < found.value < found.high <= 100
