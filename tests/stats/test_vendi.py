"""The Vendi score against numbers worked by hand and a plain decomposition."""

import math

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from pipeline_core.quality.embeddings import tfidf
from pipeline_core.stats.vendi import vendi_score


def unit_rows(count, width, seed=0):
    rows = np.random.default_rng(seed).normal(size=(count, width))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize("form", [np.asarray, csr_matrix])
def test_numbers_worked_by_hand(form):
    assert vendi_score(form(np.tile([0.6, 0.8, 0.0], (7, 1)))) == pytest.approx(1)
    assert vendi_score(form(np.eye(5))) == pytest.approx(5)
    # Two alike and one apart: eigenvalues 2/3 and 1/3.
    expected = math.exp(2 / 3 * math.log(3 / 2) + 1 / 3 * math.log(3))
    assert vendi_score(form(np.array([[1.0, 0, 0], [1, 0, 0], [0, 1, 0]]))) == pytest.approx(expected)
    # A pair at cosine c: eigenvalues (1 + c) / 2 and (1 - c) / 2.
    expected = math.exp(-0.8 * math.log(0.8) - 0.2 * math.log(0.2))
    assert vendi_score(form(np.array([[1, 0], [0.6, 0.8]]))) == pytest.approx(expected)


@pytest.mark.parametrize(("count", "width"), [(6, 40), (40, 6), (12, 12)])
def test_both_sides_agree_with_a_plain_decomposition(count, width):
    rows = unit_rows(count, width)
    eigenvalues = np.linalg.eigvals(rows @ rows.T / count).real
    plain = math.exp(-sum(value * math.log(value) for value in eigenvalues if value > 1e-12))
    assert vendi_score(rows) == pytest.approx(plain)
    assert vendi_score(csr_matrix(rows)) == pytest.approx(plain)


def test_neither_order_nor_doubling_matters():
    rows = unit_rows(20, 30)
    score = vendi_score(rows)
    assert vendi_score(rows[::-1]) == pytest.approx(score)
    assert vendi_score(np.vstack([rows, rows])) == pytest.approx(score)


def test_texts_keep_their_score_when_the_set_is_doubled():
    texts = ["the baker is late", "a cook was early", "the baker is early again", "?!"]
    assert vendi_score(tfidf(texts * 2)) == pytest.approx(vendi_score(tfidf(texts)))
    assert vendi_score(tfidf(["!", "??", "..."])) == pytest.approx(1), "texts without words are alike"
    assert vendi_score(tfidf(["one two", "three four", "five six"])) == pytest.approx(3)


def test_rows_of_another_length_and_no_rows_are_refused():
    with pytest.raises(ValueError, match="^rows of length 1 are needed; the square of one differs from 1 by 1$"):
        vendi_score(np.array([[1.0, 1.0]]))
    with pytest.raises(ValueError, match="^the Vendi score of no rows is not defined$"):
        vendi_score(np.zeros((0, 3)))
