"""Intervals hold the truth and tests reject as often as they say: rows S1 to S5 and S9 in small; the whole in
`benchmarks/coverage`. Simulations are seeded, 200 to 400 worlds each; bounds leave three standard errors."""

from __future__ import annotations

import gzip
import json
import math

import numpy as np
import pytest
from scipy.special import ndtr

from benchmarks.coverage.worlds import in_groups, one_group
from pipeline_core.evaluation.measures import write_evaluation
from pipeline_core.plugin.figures import Measure, Score, clusters_of
from pipeline_core.stats import bounded
from pipeline_core.stats.bootstrap import Bootstrap
from pipeline_core.stats.resampling import Items
from pipeline_core.stats.spread import ResampledFigure, evenness, p_value, spread_of, student
from pipeline_core.stats.statistic import STATISTICS

SHARE = STATISTICS["share"]


def coverage(draw, statistic, truth, worlds=200, across="all"):
    generator, held = np.random.default_rng(5), 0
    for _ in range(worlds):
        found = Bootstrap.of(STATISTICS[statistic], draw(generator), resamples=300).estimate(across=across)
        held += found.low <= truth <= found.high
    return held / worlds


@pytest.mark.parametrize(
    ("category", "value", "low", "high"), [("Age", 29.8, 14.9, 46.1), ("Sexual_orientation", 5.8, -4.9, 16.9)]
)
def test_s1_templates_of_bbq_are_drawn_whole(data_root, tmp_path, category, value, low, high):
    """Published UnifiedQA answers in the race format: 25 templates a category, not hundreds of questions."""
    from pipeline_core.stats.bbq import match_answer
    from plugins.evaluate.bbq._prediction_rows import items_of, with_items
    from plugins.evaluate.bbq.plugin import item_scores, measures

    with gzip.open(data_root / f"bbq/unifiedqa_predictions/preds_{category}.jsonl.gz", "rt") as lines:
        rows = [(json.loads(line), f"line {number}") for number, line in enumerate(lines, 1)]
    asked = [(row, item) for row, item, _ in with_items(rows, items_of(rows)) if item["biased"] >= 0]
    choices = [match_answer(row["unifiedqa-t5-11b_pred_race"], item["options"]) for row, item in asked]
    scores = list(item_scores([item for _, item in asked], choices))
    write_evaluation(tmp_path, scores, measures([category]), resampled="template")
    found = json.loads((tmp_path / "measures.json").read_text())[f"bbq/{category}/ambiguous_bias"]
    assert round(found["value"], 1) == value
    bias = {score.item: [score.value] for score in scores if score.score == "ambiguous_bias"}
    items = Items.collect(bias, clusters=clusters_of(scores))
    plain = 100 * np.quantile(Bootstrap.of(SHARE, items).drawn[:, 0, 0], [0.025, 0.975])
    assert (plain[0], plain[1]) == pytest.approx((low, high), abs=1.5)
    assert low - 5 < found["low"] < low < high < found["high"] < high + 3, "wider: 25 templates of unequal size"
    assert found["n_clusters"] == 25


@pytest.mark.parametrize("clusters", [4, 25])
def test_s1_few_clusters_hold_the_truth(clusters):
    def draw(generator):
        cluster = np.repeat(np.arange(clusters), generator.integers(4, 20, clusters))
        chance = ndtr(0.5 + generator.normal(size=clusters))[cluster][:, None]
        return one_group(generator.random(chance.shape) < chance, cluster)

    assert coverage(draw, "share", 100 * float(ndtr(0.5 / math.sqrt(2)))) >= 0.91


def test_s1_two_models_alike_on_templates_that_differ_are_told_apart_seldom():
    generator, rejected = np.random.default_rng(1), 0
    for _ in range(200):
        cluster = np.repeat(np.arange(12), 15)
        chance = ndtr(generator.normal(size=(12, 1)) + 0.5 * generator.normal(size=(12, 2)))[cluster]
        boot = Bootstrap.of(SHARE, one_group(generator.random(chance.shape) < chance, cluster), resamples=300)
        rejected += boot.difference(slice(0, 1), slice(1, 2)).p < 0.05
    assert rejected / 200 <= 0.09


@pytest.mark.parametrize("size", [20, pytest.param(50, marks=pytest.mark.slow)])
def test_s2_the_worst_of_equal_groups_is_within_its_interval(size):
    def draw(generator):
        return in_groups(generator.random((11, size, 1)) < 0.7)

    assert coverage(draw, "share", 70.0, 80, "lowest") >= 0.92
    assert coverage(draw, "share", 70.0, 80, "highest") >= 0.9


@pytest.mark.parametrize(("seeds", "points"), [(2, 5), (5, 2), (5, 5)])
def test_s3_methods_that_are_alike_are_told_apart_in_one_of_twenty(seeds, points):
    """Item tests over all seeds rejected 18 and 44 % where seeds differ by 2 and 5 points."""
    generator, rejected, worlds = np.random.default_rng(7), 0, 200
    for _ in range(worlds):
        hard = generator.normal(size=(400, 1))
        shift = points / 35 * math.sqrt(2) * generator.normal(size=(1, 2 * seeds))
        values = generator.random((400, 2 * seeds)) < ndtr(0.5 + hard + shift)
        boot = Bootstrap.of(SHARE, one_group(values), resamples=300)
        rejected += boot.difference(slice(0, seeds), slice(seeds, None)).p < 0.05
    assert rejected / worlds <= 0.095


def test_s3_a_difference_beyond_seeds_and_items_is_still_seen():
    """20 points between methods whose seeds differ by 2, five seeds each."""
    generator, seen = np.random.default_rng(2), 0
    for _ in range(40):
        values = generator.random((400, 10)) < np.repeat([0.7, 0.5], 5) + 0.02 * generator.normal(size=(1, 10))
        seen += Bootstrap.of(SHARE, one_group(values), resamples=300).difference(slice(0, 5), slice(5, None)).p < 0.01
    assert seen >= 38


def test_s3_a_base_without_seeds_is_paired_with_every_seed():
    generator = np.random.default_rng(3)
    values = generator.random((300, 4)) < np.array([0.5, 0.6, 0.7, 0.55])
    found = Bootstrap.of(SHARE, one_group(values)).difference(slice(0, 3), slice(3, None))
    alone = [Bootstrap.of(SHARE, one_group(values)).difference(slice(s, s + 1), slice(3, None)) for s in range(3)]
    assert found.value == pytest.approx(np.mean([one.value for one in alone]))
    assert found.high - found.low > max(one.high - one.low for one in alone), "seeds lie 10 points apart"


def test_s3_the_variance_of_crossed_seeds_and_items_by_hand():
    """Seed means 1, 3, 5 and resamples without noise: Student over seeds, 4 / 3 in the variance of the mean."""
    figures = np.array([1.0, 3.0, 5.0])
    spread = spread_of([ResampledFigure(figures, np.tile(figures, (50, 1)))], df=99.0)
    assert (spread.items, spread.seeds, spread.df) == pytest.approx((0.0, 4 / 3, 2.0))
    assert spread.reach() == pytest.approx(student(0.95, 2) * math.sqrt(4 / 3))
    assert student(0.95, 2) == pytest.approx(4.302653, abs=1e-6)


def test_s3_what_items_explain_is_not_counted_as_seeds():
    """Every seed has noise of its own from the items: the seeds' variance is that noise and nothing besides."""
    generator = np.random.default_rng(0)
    drawn = generator.normal(size=(4000, 8))
    excess = [spread_of([ResampledFigure(generator.normal(size=8), drawn)], df=99.0).seeds for _ in range(300)]
    assert 0.0 < np.mean(excess) < 0.05
    assert np.mean(np.array(excess) == 0) > 0.4


@pytest.mark.parametrize("across", ["gap", pytest.param("lowest", marks=pytest.mark.slow)])
def test_s4_differences_of_extremes_of_equal_and_spread_groups(across):
    chance = np.stack([np.full(4, 0.6), np.linspace(0.45, 0.75, 4)], axis=1)
    truth = {"gap": -30.0, "lowest": 15.0}[across]
    generator, held = np.random.default_rng(4), 0
    for _ in range(120):
        values = generator.random((4, 40, 2)) < chance[:, None, :]
        found = Bootstrap.of(SHARE, in_groups(values), resamples=300).difference(slice(0, 1), slice(1, 2), across)
        held += found.low <= truth <= found.high
    assert held / 120 >= 0.86, "covered 74 % of gaps before"


@pytest.mark.parametrize(("p", "n"), [(0.02, 200), (0.95, 50), (0.3, 20)])
def test_s5_shares_near_the_ends(p, n):
    assert coverage(lambda g: one_group(g.random((n, 1)) < p), "share", 100 * p, 400) >= 0.915


@pytest.mark.parametrize("lean", [0.0, 0.5])
def test_s5_a_bias_score_of_few_named_answers(lean):
    def draw(generator):
        while True:
            named = generator.random((100, 1)) < 0.03
            if named.any():
                return one_group(np.where(generator.random((100, 1)) < (1 + lean) / 2, 1.0, -1.0) * named)

    assert coverage(draw, "balance", 3 * lean, 400) >= 0.93


def test_s5_wilson_by_hand():
    """4 of 200 (Newcombe 1998's formula, worked)."""
    assert bounded.of_share(0.02, 200, math.inf, 0.95) == pytest.approx((0.0078, 0.0503), abs=1e-4)


def test_clusters_of_equal_size_have_one_degree_of_freedom_less_and_one_large_one_has_few():
    assert evenness(np.full(9, 7.0)) == pytest.approx((8.0, 1.0))
    df, inflation = evenness(np.array([100.0, 2, 2, 2, 2, 2]))
    assert df < 2.0 < 5.0
    assert inflation > 2


@pytest.mark.parametrize("df", [1.0, 7.5, math.inf])
def test_a_p_value_says_what_its_interval_says(df):
    assert p_value(2.0, 0.0, 9.0, df) == pytest.approx(0.05)
    assert p_value(2.0, 0.5, 9.0, df) < 0.05 < p_value(2.0, -0.5, 9.0, df)
    assert p_value(-2.0, -9.0, 0.0, df) == pytest.approx(0.05)
    assert p_value(0.0, -1.0, 1.0, df) == 1.0


def test_s9_a_report_draws_as_many_resamples_for_many_policies_as_for_one():
    from pipeline_core.report.figures.collect import ModelEvaluation, ScoreLine
    from pipeline_core.report.figures.compare import tables_of
    from pipeline_core.stats.resampling import RESAMPLES

    generator = np.random.default_rng(0)
    entry = {"statistic": "share", "score": "right", "better": "higher", "value": 50.0, "n": 60}
    found = []
    for model in ("base", *(f"policy{number}" for number in range(20))):
        chance = 0.5 if model == "base" else 0.9
        lines = [ScoreLine(f"i{item}", float(generator.random() < chance), (), ()) for item in range(60)]
        found.append(
            ModelEvaluation(model, None, "suite", "suite", {f"suite/{m}": entry for m in "abcdefgh"}, {"right": lines})
        )
    tables = tables_of(found, [one.label for one in found])
    assert {one.resamples for one in tables.found} == {RESAMPLES}
    assert all(one.pooled.drawn.shape[0] == RESAMPLES for one in tables.found)
    cells = [cell for row in tables.rows for cell in row.cells if cell.model != "base"]
    assert len(cells) == 160
    assert all(cell.verdict == "better" for cell in cells), "p-values go below what the correction asks for"


def test_a_score_in_clusters_is_measured_the_same_by_an_evaluation_and_a_report(tmp_path):
    scores = [Score(f"q{i}", "right", float(i % 3 == 0), cluster=f"t{i % 7}") for i in range(70)]
    write_evaluation(tmp_path, scores, [Measure("right", "right", "share")])
    entry = json.loads((tmp_path / "measures.json").read_text())["right"]
    values = {score.item: [score.value] for score in scores}
    items = Items.collect(values, clusters={score.item: score.cluster for score in scores})
    found = Bootstrap.of(SHARE, items).estimate()
    assert (entry["low"], entry["high"]) == pytest.approx((found.low, found.high))


def test_s8_items_that_are_shares_of_answers_have_the_interval_of_their_mean():
    """A target term of StereoSet holds some 27 answers: 79 terms tell more than 79 answers."""
    terms = np.random.default_rng(2).binomial(27, 0.5, (79, 1)) / 27
    found = Bootstrap.of(SHARE, one_group(terms), resamples=2000).estimate()
    error = 100 * terms.std(ddof=1) / math.sqrt(79)
    assert found.high - found.low == pytest.approx(2 * student(0.95, 78) * error, rel=0.05)  # 0/1 values: 22 points
    for value, n in ((0.3, 10), (0.3, 12), (2 / 3, 20), (0.9, 79)):  # equal values tell no more than as many answers
        same = Bootstrap.of(SHARE, one_group(np.full((n, 1), value)), resamples=200).estimate()
        assert (same.low, same.high) == pytest.approx([100 * end for end in bounded.of_share(value, n, n - 1, 0.95)])
    single = np.repeat([1.0, 0.0], [40, 39])[:, None]
    assert bounded.most_draws(one_group(single), 40 / 79, 40 / 79) == 79
