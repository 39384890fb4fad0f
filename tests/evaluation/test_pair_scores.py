from pipeline_core.evaluation.pair_scores import pair_scores


def test_rows_of_a_kind_without_groups_are_scored():
    """`choice` rows have a prompt, options and a label, and neither domain nor group."""
    row = {"id": "q1", "prompt": "Who cooks?", "options": ["anybody", "she"], "label": 0}
    scores = list(pair_scores([row], [(-1.0, -3.0)], "fair", ["Who cooks?"]))
    assert {score.score: score.value for score in scores} == {"invalid": 0.0, "fair": 1.0, "tie": 0.0, "gap": 2.0}
    assert {(score.domain, tuple(score.group), score.cluster) for score in scores} == {("", (), "Who cooks?")}
