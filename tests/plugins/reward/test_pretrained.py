"""A classifier somebody else trained: its sign is decided by labelled pairs, or it is refused."""

import json

import pytest
import torch
from datasets import Dataset

from pipeline_core.errors import BadInput
from pipeline_core.plugin.registry import load_registry
from pipeline_core.rewards.classifiers import log_odds
from pipeline_core.rewards.load import load_reward
from plugins.reward import pretrained
from plugins.reward.pretrained import PretrainedConfig
from tests.rewards.worlds import Given, context, digests, pairs, tiny_bert

ROWS = pairs(80)


def classifier(folder, sign=1.0, labels=1, rows=ROWS, trained=True):
    """A classifier whose first output grows with `sign` times the share of good words; the rest are zero."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tiny_bert(folder, rows, labels=labels)
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    words = [tokenizer(word, add_special_tokens=False).input_ids[0] for word in ("early", "alert", "late", "dreamy")]
    with torch.no_grad():
        model.classifier.weight.zero_()
        model.classifier.bias.zero_()
    if trained:  # a short training makes the planted words count
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
        target = torch.tensor([1.0, 1.0, -1.0, -1.0]) * sign
        batch = torch.tensor([[2, word, 3] for word in words])
        for _ in range(80):
            loss = (model(input_ids=batch).logits[:, 0] - target).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    model.save_pretrained(folder)
    return folder


def make(folder, out, rows=ROWS, **settings):
    out.mkdir(parents=True, exist_ok=True)
    config = PretrainedConfig(model=str(folder), reads="completion", max_length=32, **settings)
    return pretrained.run(config, Given(Dataset.from_list(rows)), out, context())


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_whatever_the_sign_the_better_text_scores_higher(tmp_path, sign):
    metrics = make(classifier(tmp_path / "model", sign), tmp_path / "out")
    assert metrics["sign"] == sign
    assert metrics["held_out/pairwise_accuracy"] == 100
    raw = pretrained.load(tmp_path / "out", "cpu")
    good, bad = raw(["", ""], ["early today.", "late today."]).tolist()
    assert sign * good > sign * bad
    (tmp_path / "out" / "manifest.json").write_text(json.dumps({"plugin": "pretrained", "metrics": metrics}))
    reward = load_reward(tmp_path / "out", "cpu", load_registry())
    good, bad = reward(["", ""], ["early today.", "late today."]).tolist()
    assert good > bad


def test_how_the_sign_was_decided_is_returned(tmp_path):
    metrics = make(classifier(tmp_path / "model", -1.0), tmp_path / "out", pairs=20)
    assert (metrics["sign"], metrics["sign/pairs"], metrics["sign/held_out"]) == (-1, 20, 1)
    assert metrics["sign/p_value"] == pytest.approx(2 / 2**20)


def test_a_model_the_pairs_cannot_decide_is_refused(tmp_path):
    half = [{**row, "chosen": row["rejected"], "rejected": row["chosen"]} for row in ROWS[:40]] + ROWS[40:]
    with pytest.raises(BadInput, match=r"undecided on 80 labelled pairs .* p = 1 > 0.01\)"):
        make(classifier(tmp_path / "model"), tmp_path / "out", rows=half)
    assert not (tmp_path / "out" / "reward.json").exists()


def test_a_model_that_says_the_same_of_everything_is_refused(tmp_path):
    with pytest.raises(BadInput, match=r"undecided on 0 labelled pairs \(ties left out"):
        make(classifier(tmp_path / "model", trained=False), tmp_path / "out")


@pytest.mark.parametrize("better", ["early", "late"])
def test_scored_rows_decide_a_sign_too(tmp_path, better):
    worse = {"early": "late", "late": "early"}[better]
    rows = [
        {"prompt": f"p{i}", "completion": f"{word} today.", "score": score}
        for i in range(20)
        for word, score in ((better, 0.9), (worse, 0.2))
    ]
    assert make(classifier(tmp_path / "model"), tmp_path / "out", rows=rows)["sign"] == (1 if better == "early" else -1)


def test_of_several_outputs_one_is_chosen_by_number_or_label(tmp_path):
    folder = classifier(tmp_path / "model", labels=3)
    with pytest.raises(BadInput, match=r"choose one of 0 \(LABEL_0\), 1 \(LABEL_1\), 2 \(LABEL_2\)"):
        make(folder, tmp_path / "none")
    with pytest.raises(BadInput, match="'LABEL_9' names none"):
        make(folder, tmp_path / "wrong", output="LABEL_9")
    for name, output, sign in (("number", 0, 1), ("label", "LABEL_0", 1), ("other", 1, -1)):
        assert make(folder, tmp_path / name, output=output)["sign"] == sign


def test_log_odds_by_hand():
    logits = torch.log(torch.tensor([[0.2, 0.3, 0.5]]))
    assert log_odds(logits, 2).item() == pytest.approx(0.0, abs=1e-6)
    assert log_odds(logits, 0).item() == pytest.approx(torch.tensor(0.25).log().item())


@pytest.mark.parametrize(
    ("problem_type", "exclusive"),
    [(None, True), ("single_label_classification", True), ("multi_label_classification", False), ("regression", False)],
)
def test_only_exclusive_outputs_are_weighed_against_each_other(tmp_path, problem_type, exclusive):
    folder = classifier(tmp_path / "model", labels=2, trained=False)
    model, tokenizer, column = pretrained.open_classifier(folder, 1, 32)
    torch.nn.init.constant_(model.classifier.bias, 3.0)  # both outputs are 3
    model.config.problem_type = problem_type
    score = pretrained.scorer(model, tokenizer, column, "completion", 32, "cpu")
    assert score([""], ["early today."]).item() == pytest.approx(0.0 if exclusive else 3.0)


def test_an_encoder_without_a_trained_head_is_refused(tmp_path):
    tiny_bert(tmp_path / "model", ROWS)
    with pytest.raises(BadInput, match=r"is no complete trained classifier: 2 weights are missing, classifier"):
        make(tmp_path / "model", tmp_path / "out", output=0)


def test_the_same_seed_gives_the_same_bytes(tmp_path):
    folder = classifier(tmp_path / "model")
    for name in ("a", "b"):
        make(folder, tmp_path / name)
    assert digests(tmp_path / "a") == digests(tmp_path / "b")
