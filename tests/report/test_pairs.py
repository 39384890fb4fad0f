"""Two models side by side, with figures worked by hand."""

from __future__ import annotations

import math

import pytest
from rich.console import Console

from pipeline_core.evaluation.measures import summarise
from pipeline_core.plugin.figures import Measure, Score
from pipeline_core.report.figures.collect import ModelEvaluation, ScoreLine
from pipeline_core.report.figures.pairs import pair_of
from pipeline_core.report.render.terminal import render_pair

T1, T2 = 12.70620474, 4.30265273
"""97.5 % quantiles of Student's t with one and two degrees of freedom."""
RIGHT = Measure("w/right", "right", "share", "higher", "%")


def evaluated(label, seed, scores, measures=(RIGHT,)):
    lines = {}
    for one in scores:
        lines.setdefault(one.score, []).append(ScoreLine(one.item, one.value, one.groups, ()))
    entries = {measure.name: summarise(scores, measure) for measure in measures}
    return ModelEvaluation(label, seed, "w", "w", entries, lines)


def shares(label, percent_by_seed):
    """Ten answers, so many per cent of them right."""
    return [evaluated(label, seed, right(percent)) for seed, percent in percent_by_seed.items()]


def right(percent, score="right", n=10, group=""):
    return [Score(f"{group}{i:02d}", score, float(100 * i < percent * n), group) for i in range(n)]


def row(pair, measure="w/right"):
    return next(row for row in pair.rows if row.measure == measure)


def test_seeds_are_paired_by_seed_and_not_by_order():
    """Differences 10, 20, 0: mean 10, standard deviation 10. In the order given they would be -20, 20, 30."""
    found = [*shares("a", {0: 60, 1: 70, 2: 80}), *shares("b", {2: 80, 0: 50, 1: 50})]
    one = row(pair_of(found, "a", "b"))
    assert (one.a.value, one.b.value) == pytest.approx((70, 60))
    assert one.a.per_seed == {"0": 60.0, "1": 70.0, "2": 80.0}
    over = one.over_seeds
    assert (over.difference, over.se, over.below_zero, over.seeds) == (
        pytest.approx(10),
        pytest.approx(10 / math.sqrt(3)),
        0,
        [0, 1, 2],
    )
    assert (over.low, over.high) == pytest.approx((10 - T2 * over.se, 10 + T2 * over.se))


def test_only_common_seeds_are_paired_and_that_is_said():
    """Seeds 1 and 2: -20 and 0. By position the differences would be 30, 0 and -30."""
    found = [*shares("a", {0: 80, 1: 50, 2: 50}), *shares("b", {1: 70, 2: 50, 3: 80})]
    pair = pair_of(found, "a", "b")
    assert (pair.seeds.a, pair.seeds.b, pair.seeds.both) == ([0, 1, 2], [1, 2, 3], [1, 2])
    one = row(pair)
    assert (one.over_seeds.difference, one.over_seeds.se) == pytest.approx((-10, 10))
    assert (one.over_seeds.low, one.over_seeds.high) == pytest.approx((-10 - 10 * T1, -10 + 10 * T1))
    assert (one.over_seeds.below_zero, one.over_seeds.seeds) == (1, [1, 2])
    assert one.over_items.difference == pytest.approx(60 - 200 / 3), "all seeds of each"
    assert any("a has seeds 0, 1, 2, b seeds 1, 2, 3" in note for note in pair.notes)
    assert any("seed by seed over seeds 1, 2" in note for note in pair.notes)


def test_items_are_paired_and_p_values_are_corrected_over_the_table():
    """Of ten answers six and one are right in A alone: exactly 2/2^6 and 2/2^1; what is equal is not counted."""
    measures = [Measure(f"w/{name}", name, "share", "higher", "%") for name in ("six", "one", "same")]
    score = {"a": (100, 50, 30), "b": (40, 40, 30)}
    found = [
        evaluated(label, 0, [s for m, p in zip(measures, percents, strict=True) for s in right(p, m.score)], measures)
        for label, percents in score.items()
    ]
    pair = pair_of(found, "a", "b")
    six, one, same = (row(pair, f"w/{name}").over_items for name in ("six", "one", "same"))
    assert (six.difference, six.p, six.p_holm) == (pytest.approx(60), 2 / 64, 4 / 64)
    assert (one.difference, one.p, one.p_holm) == (pytest.approx(10), 1.0, 1.0)
    variance = (10 * 0.5 * 0.5 + 10 * 0.4 * 0.6) / 9 / 2
    assert one.effect == pytest.approx(0.1 / variance**0.5)
    assert (six.effect > one.effect, same.effect) == (True, None)
    assert (same.difference, same.low, same.high) == (0.0, 0.0, 0.0)
    assert (same.p, same.p_holm, same.test, same.verdict) == (None, None, "", ""), "it is not tested"
    lines = [line.split() for line in printed(pair, 120).splitlines()]
    assert [line for line in lines if line[:1] == ["equal"]] == [["equal"]]
    assert sum(line[:2] == ["p", "="] for line in lines) == 2
    assert (six.test, six.verdict, one.verdict) == ("McNemar, exact", "unclear", "unclear")
    assert six.low < 60 < six.high
    assert {one.over_seeds for one in pair.rows} == {None}
    assert any("adjusted for the table's 2 tests (Holm)" in note for note in pair.notes)


@pytest.mark.parametrize(("percent", "said"), [(90, "the table's 1 test (Holm)"), (50, None)])
def test_one_test_or_none_is_said_in_words(percent, said):
    found = [evaluated("a", 0, right(50)), evaluated("b", 0, right(percent))]
    notes = " ".join(pair_of(found, "a", "b").notes)
    assert (said in notes) if said else ("adjusted" not in notes and "p < " not in notes)
    assert "Models that are equal on every item are not tested." in notes


def test_nothing_is_explained_that_has_no_value():
    """Measures of which neither model has an item: by group, by domain, as distances."""
    worst = Measure("w/worst", "none", "share", "lower", "%", group_by="group", summary_rows=("worst_group", "gap"))
    domains = Measure("w/domains", "none", "distance_from_half", "lower", "pp", mean_over="domain")
    measures = [RIGHT, worst, domains]
    pair = pair_of(
        [evaluated(label, 0, right(percent), measures) for label, percent in (("a", 50), ("b", 80))], "a", "b"
    )
    assert {one.measure for one in pair.rows} > {"w/right", "w/domains"}
    notes = " ".join(pair.notes)
    for words in ("worst", "Distances", "the mean over domains", "within groups"):
        assert words not in notes


BAD = Measure("w/bad", "bad", "share", "lower", "%", group_by="group", summary_rows=("worst_group", "gap", "mean"))


def of_groups(label, seed, x, y):
    return evaluated(label, seed, [*right(x, "bad", 20, "x"), *right(y, "bad", 20, "y")], [BAD])


def test_the_worst_group_is_found_in_every_model_and_seed_by_itself():
    """Worst of A: x 30, y 40; of B: 20, x 25. Differences 10 and 15; gaps 20 - 0 and 30 - 20; means 0 and 10."""
    found = [of_groups("a", 0, 30, 10), of_groups("a", 1, 10, 40), of_groups("b", 0, 20, 20), of_groups("b", 1, 25, 5)]
    pair = pair_of(found, "a", "b")
    assert [one.part for one in pair.rows] == ["", "worst_group", "gap", "mean"]
    worst, gap, mean = (row(pair, f"w/bad/{part}") for part in ("worst_group", "gap", "mean"))
    assert (worst.a.value, worst.b.value) == pytest.approx((35, 22.5))
    assert worst.over_seeds.difference == pytest.approx(12.5)
    assert worst.over_seeds.low == pytest.approx(12.5 - 2.5 * T1)
    assert worst.over_items.difference == pytest.approx(12.5)
    assert worst.over_items.low < 12.5 < worst.over_items.high
    assert (gap.over_seeds.difference, mean.over_seeds.difference) == pytest.approx((15, 5))
    assert any("every model and seed by itself" in note for note in pair.notes)


def test_rounding_is_no_difference():
    """Gaps of 35 - 15 and of 55 - 35 points: in floats the first is smaller by 7e-15."""
    assert 100 * 0.35 - 100 * 0.15 < 100 * 0.55 - 100 * 0.35
    found = [of_groups("a", seed, 35, 15) for seed in (0, 1)] + [of_groups("b", seed, 55, 35) for seed in (0, 1)]
    over = row(pair_of(found, "a", "b"), "w/bad/gap").over_seeds
    assert (over.difference, over.below_zero) == (0.0, 0)


def test_the_other_way_round_is_the_same_with_the_sign_turned():
    found = [*shares("a", {0: 60, 1: 70}), *shares("b", {0: 80, 1: 30})]
    one, other = row(pair_of(found, "a", "b")), row(pair_of(found, "b", "a"))
    for this, that in ((one.over_items, other.over_items), (one.over_seeds, other.over_seeds)):
        assert (this.difference, this.low, this.high) == pytest.approx((-that.difference, -that.high, -that.low))
    assert one.over_seeds.below_zero == other.over_seeds.below_zero == 1


def test_the_base_has_no_seeds_to_pair_and_others_do_not_matter():
    policies = [*shares("a", {0: 100, 1: 90}), *shares("c", {0: 10, 1: 0})]
    base = evaluated("base", None, right(10))
    pair = pair_of([base, *policies], "a", "base")
    assert (pair.seeds.a, pair.seeds.b, pair.seeds.both) == ([0, 1], [], [])
    assert (row(pair).over_items.difference, row(pair).over_seeds) == (pytest.approx(85), None)
    assert row(pair).over_items.verdict == "better"
    assert row(pair_of([base, *policies], "base", "a")).over_items.verdict == "worse"
    assert any("Nothing is paired over training seeds" in note for note in pair.notes)


def test_what_was_not_evaluated_is_undefined_with_a_reason():
    other = Measure("w/other", "right", "share", "higher", "%")
    pair = pair_of([evaluated("a", 0, right(50), [RIGHT, other]), evaluated("b", 0, right(50))], "a", "b")
    one = row(pair, "w/other")
    assert (one.a.value, one.b.value, one.over_items, one.over_seeds) == (50.0, None, None, None)
    assert one.b.reason in printed(pair, 200)


def test_the_number_of_items_stands_below_the_name_and_where_models_differ_below_the_value():
    found = [evaluated("a", 0, right(50)), evaluated("b", 0, right(50, n=8)), evaluated("b", 1, right(50, n=6))]
    pair = pair_of(found, "a", "b")
    assert [(one.n, one.n_most) for one in (row(pair).a, row(pair).b)] == [(10, None), (6, 8)]
    lines = [" ".join(line.split()) for line in printed(pair, 120).splitlines()]
    assert any(line.startswith("n = 6 to 10 ") for line in lines)
    assert any("n = 10 n = 6 to 8" in line for line in lines)
    assert "n is the number of items behind a figure; with several seeds, of one seed." in " ".join(lines)


def printed(pair, width):
    console = Console(width=width, force_terminal=False, color_system=None, record=True, file=open("/dev/null", "w"))  # noqa: PTH123, SIM115
    render_pair(console, pair, "study 1f0c")
    return console.export_text()


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_the_table_fits_the_terminal_and_says_all(width):
    seeds = [(0, 30, 10), (1, 10, 40), (2, 25, 25)]
    found = [of_groups("gr_dpo", *one) for one in seeds] + [of_groups("dpo", seed, y, x + 5) for seed, x, y in seeds]
    text = printed(pair_of(found, "gr_dpo", "dpo"), width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    for words in ("A: gr_dpo", "B: dpo", "A − B, items", "A − B, seeds", "worst group", "of 3 below 0", "p = "):
        assert words in text
