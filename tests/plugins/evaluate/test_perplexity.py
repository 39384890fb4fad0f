"""Perplexity: every token once, windows, a naive reference, and models whose perplexity is known."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from pipeline_core.conformance.kit import tiny_model
from pipeline_core.data.catalog import Catalog
from pipeline_core.data.refs import DataRef
from pipeline_core.errors import BadInput
from pipeline_core.models.likelihood.perplexity import score_texts, token_windows
from pipeline_core.models.likelihood.scoring import score_completions
from pipeline_core.models.loading import load_model
from pipeline_core.stats.ranking import exp_ratio, ratio
from plugins.evaluate.perplexity import PerplexityConfig
from tests.plugins.evaluate.rigged_models import SPECIAL, evaluate, table_model

SANDBOX = {"entry": "sandbox_heldout_text", "rows": 20}


@settings(deadline=None)
@given(st.integers(1, 9), st.integers(0, 60), st.integers(2, 20), st.data())
def test_every_token_is_predicted_once_after_what_stands_before_it(given_tokens, count, window, data):
    stride = data.draw(st.integers(1, window - 1))
    ids = list(range(given_tokens + count))
    found = token_windows(ids[:given_tokens], ids[given_tokens:], window, stride)
    assert [token for _, predicted in found for token in predicted] == ids[given_tokens:]
    for read, predicted in found:
        assert [*read, *predicted] == list(range(read[0], predicted[-1] + 1))
        assert len(read) + len(predicted) <= window
    for read, predicted in found[1:]:
        assert len(read) == window - stride or len(read) + len(predicted) < window or predicted[-1] == ids[-1]
        assert len(predicted) <= stride


def test_it_is_the_naive_sum_over_windows(tmp_path):
    model, tokenizer = load_model(tiny_model(tmp_path))
    text = "the neighbour was late and the visitor was early again so it was " * 3
    (found,) = score_texts(model, tokenizer, [text], window=16, stride=5)
    ids = [tokenizer.bos_token_id, *tokenizer(text, add_special_tokens=False).input_ids]
    total, done = 0.0, 1
    while done < len(ids):
        end = min(16 if done == 1 else done + 5, len(ids))
        read = ids[max(end - 16, 0) : end]
        logps = model(torch.tensor([read])).logits[0].double().log_softmax(-1).detach()
        total += sum(float(logps[len(read) - 1 - (end - at), ids[at]]) for at in range(done, end))
        done = end
    assert found.logp == pytest.approx(total, abs=1e-4)
    assert (found.tokens, found.words, found.bytes) == (len(ids) - 1, len(text.split()), len(text.encode()))


def test_a_first_word_that_is_given_is_not_predicted(tmp_path):
    model = load_model(tiny_model(tmp_path))
    (found,) = score_texts(*model, ["the visitor was late"], given_words=1)
    expected = score_completions(*model, ["the"], ["visitor was late"])
    assert found.logp == pytest.approx(expected.logps.item(), abs=1e-5)
    assert (found.tokens, found.words) == (int(expected.tokens), 3)


def test_a_text_of_one_given_word_has_no_likelihood(tmp_path):
    (found,) = score_texts(*load_model(tiny_model(tmp_path)), ["the"], given_words=1)
    assert found.tokens == 0
    assert math.isnan(found.mean_logp)


def test_a_model_that_finds_all_words_alike_is_as_perplexed_as_it_knows_words(tmp_path):
    model = table_model(tmp_path / "model", ["a", "b"], {})
    metrics, measures = evaluate("perplexity", {"data": SANDBOX, "window": 16, "stride": 8}, model, tmp_path / "out")
    known = len(SPECIAL) + 2
    assert metrics["perplexity/token"] == pytest.approx(known)
    assert metrics["perplexity/items/measured"] == 20
    assert metrics["perplexity/invalid_share"] == 0
    assert measures["perplexity/token"]["n"] == 20
    tokens, texts = metrics["perplexity/items/tokens"], Catalog.from_environment().load(DataRef(**SANDBOX))["text"]
    assert metrics["perplexity/word"] == pytest.approx(known ** (tokens / sum(len(text.split()) for text in texts)))
    bits = math.log2(known) * tokens / sum(len(text.encode()) for text in texts)
    assert metrics["perplexity/bits_per_byte"] == pytest.approx(bits)
    assert metrics["perplexity/byte"] == pytest.approx(2**bits)


def test_a_broken_model_has_no_perplexity(tmp_path):
    model = table_model(tmp_path / "model", ["a", "b"], {}, {"a": float("nan")})
    metrics, measures = evaluate("perplexity", {"data": SANDBOX, "window": 16, "stride": 8}, model, tmp_path / "out")
    assert metrics["perplexity/invalid_share"] == 100
    assert measures["perplexity/token"]["value"] is None


def test_a_document_longer_than_the_models_positions_is_named(tmp_path):
    model = load_model(table_model(tmp_path / "model", ["a", "b"], {}))
    with pytest.raises(BadInput, match="second: 601 tokens exceed the model's 512 positions"):
        list(score_texts(*model, ["a", "a " * 600], window=2048, names=["first", "second"]))


def test_a_model_that_knows_the_text_is_not_perplexed(tmp_path, root, monkeypatch):
    (root / "poem.txt").write_text("a b a b a b a b\n" * 3)
    (tmp_path / "catalog.yaml").write_text(
        "poem: {kind: text, path: poem.txt, starts: '^a', rows: text, licence: none, citation: none}\n"
    )
    monkeypatch.setenv("EVENHAND_CATALOG", str(tmp_path / "catalog.yaml"))
    rigged = {"<s>": {"a": 50.0}, "a": {"b": 50.0}, "b": {"a": 50.0}}
    model = table_model(tmp_path / "model", ["a", "b"], rigged)
    metrics, _ = evaluate("perplexity", {"data": "poem", "window": 4, "stride": 2}, model, tmp_path / "out")
    assert metrics["perplexity/token"] == pytest.approx(1, abs=1e-9)
    assert (metrics["perplexity/items/measured"], metrics["perplexity/items/tokens"]) == (3, 24)


def test_ratios_of_sums():
    import numpy as np

    x, y, weights = np.array([1.0, 3.0]), np.array([2.0, 2.0]), np.array([[1, 1], [0, 2]])
    assert ratio(x, y, weights).tolist() == [1.0, 1.5]
    assert exp_ratio(x, y, weights) == pytest.approx(np.exp([1.0, 1.5]))


def test_a_stride_beyond_the_window_is_refused():
    with pytest.raises(ValidationError, match="stride: must be below the window of 8"):
        PerplexityConfig(window=8, stride=8)


def test_documents_of_the_real_file(data_root):
    rows = Catalog.from_environment().load(DataRef(entry="wikitext2"))
    assert rows.num_rows == 60
    assert all(text.lstrip().startswith("= ") for text in rows["text"])
    whole = (data_root / "text_corpora/wikitext-2/test.txt").read_text(encoding="utf-8")
    assert "".join(rows["text"]).strip() == whole.strip()
