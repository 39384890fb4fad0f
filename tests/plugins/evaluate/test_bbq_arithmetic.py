"""BBQ's figures from the scores of items; test_bbq_predictions.py compares them with the paper's."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_core.evaluation.measures import write_evaluation
from pipeline_core.evaluation.question_scores import item_scores
from pipeline_core.stats.bbq import INVALID, judge, tally
from plugins.evaluate.bbq.plugin import measures
from tests.stats.test_bbq import AMBIGUOUS, CLEAR


@given(st.lists(st.sampled_from([0, 1, 2, INVALID]), min_size=1, max_size=40), st.sampled_from([AMBIGUOUS, CLEAR]))
def test_the_scores_of_items_give_the_papers_formula(choices, item):
    rows = [item | {"id": str(number)} for number in range(len(choices))]
    scores = list(item_scores(rows, choices))
    expected = tally([judge(item, choice) for choice in choices], item["condition"])
    name = "ambiguous_bias" if item is AMBIGUOUS else "disambiguated_biased"
    values = [score.value for score in scores if score.score == name]
    right = [score.value for score in scores if score.score == f"{item['condition']}_right"]
    assert len(right) == expected.n
    if expected.n:
        assert 100 * sum(right) / len(right) == pytest.approx(expected.accuracy)
    if expected.bias is not None:
        mean = sum(values) / len(values)
        assert 100 * (mean if item is AMBIGUOUS else 2 * mean - 1) == pytest.approx(expected.bias, abs=1e-9)
    else:
        assert not any(values)


def test_measures_name_every_category_and_leave_out_what_is_undefined(tmp_path):
    rows = [AMBIGUOUS | {"id": "a"}, AMBIGUOUS | {"id": "b", "domain": "Race_ethnicity", "names": True}]
    scores = list(item_scores(rows, [2, 0]))
    metrics = write_evaluation(tmp_path, scores, measures(score.domain for score in scores))
    assert metrics["bbq/Age/ambiguous_accuracy"] == 100
    assert metrics["bbq/Race_ethnicity_names/ambiguous_accuracy"] == 0
    assert metrics["bbq/Race_ethnicity_names/ambiguous_bias"] == 100
    assert "bbq/Age/ambiguous_bias" not in metrics
    assert "bbq/disambiguated_bias" not in metrics
    assert metrics["bbq/invalid_share"] == 0
