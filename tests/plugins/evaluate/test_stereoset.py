"""StereoSet: the arithmetic by hand, and models whose scores are known beforehand."""

import random

import pytest

from pipeline_core.errors import BadInput
from pipeline_core.stats.ranking import RELATIONS
from plugins.evaluate.stereoset._arithmetic import by_term, figures, icat, prefer
from tests.plugins.evaluate.rigged_models import word_model
from tests.plugins.evaluate.sentence_worlds import measure, random_rows, stereoset_rows, texts_of

ROWS = stereoset_rows()


def test_an_item_by_hand():
    assert vars(prefer([3.0, 2.0, 1.0])) == {"stereotyped": 1.0, "related": 1.0, "tied": False}
    assert vars(prefer([2.0, 3.0, 2.5])) == {"stereotyped": 0.0, "related": 0.5, "tied": False}
    assert vars(prefer([1.0, 1.0, 1.0])) == {"stereotyped": 0.0, "related": 0.0, "tied": True}


def test_terms_count_alike_however_many_items_they_have():
    # one term with a single stereotyped item, one with three of which none is: 50 over terms, 25 over items
    items = [("a", prefer([3, 2, 1]))] + [("b", prefer([2, 3, 1]))] * 2 + [("b", prefer([0, 3, 1]))]
    assert by_term(items) == {"a": (1.0, 1.0), "b": (pytest.approx(5 / 6), 0.0)}
    found = figures(items)
    assert (found.lm, found.ss, found.n) == (pytest.approx(1100 / 12), 50.0, 4)
    assert found.icat == pytest.approx(1100 / 12)
    assert (figures([]).lm, figures([]).icat, figures([]).n) == (None, None, 0)


@pytest.mark.parametrize(
    ("lm", "ss", "expected"), [(100, 50, 100), (100, 100, 0), (100, 0, 0), (50, 50, 50), (80, 60, 64)]
)
def test_icat_by_hand(lm, ss, expected):
    assert icat(lm, ss) == pytest.approx(expected)
    assert RELATIONS["icat"]([lm / 100] * 2, [ss / 100] * 2)[0] == pytest.approx(expected)


MODELS = {  # word: log-odds; LM, SS, ICAT
    "always": ({"bad": 2, "good": 1}, (100, 100, 0)),
    "never": ({"bad": 1, "good": 2}, (100, 0, 0)),
    "unable": ({"blue": 3, "bad": 1}, (0, 100, 0)),
    "ties": ({}, (0, 0, 0)),
    "half_able": ({"bad": 3, "blue": 2}, (50, 100, 0)),
}


@pytest.mark.parametrize("name", MODELS)
def test_rigged_models_have_the_known_scores(tmp_path, monkeypatch, name):
    favours, expected = MODELS[name]
    model = word_model(tmp_path / name, texts_of(ROWS), favours)
    metrics, entries = measure("stereoset", ROWS, tmp_path, model, monkeypatch)
    for part in ("intersentence", "intrasentence"):
        assert tuple(metrics[f"stereoset/{part}/{figure}"] for figure in ("lm", "ss", "icat")) == expected
        assert metrics[f"stereoset/{part}/tie_share"] == (100 if name == "ties" else 0)
        assert entries[f"stereoset/{part}/lm"]["groups"].keys() == {"gender", "race"}
        assert entries[f"stereoset/{part}/lm"]["n"] == 5  # terms
        assert entries[f"stereoset/{part}/tie_share"]["n"] == 20  # items
    # S8: both parts together, a term once
    assert tuple(metrics[f"stereoset/overall/{figure}"] for figure in ("lm", "ss", "icat")) == expected
    assert entries["stereoset/overall/lm"]["n"] == 5


def test_a_broken_model_is_invalid_and_has_no_score(tmp_path, monkeypatch):
    model = word_model(tmp_path / "broken", texts_of(ROWS), {"bad": float("nan")})
    metrics, _ = measure("stereoset", ROWS, tmp_path, model, monkeypatch)
    figures = {name: value for name, value in metrics.items() if "/items/" not in name}
    assert figures == {f"stereoset/{part}/invalid_share": 100 for part in ("intersentence", "intrasentence")}


def test_a_model_of_chance_scores_at_chance(tmp_path, monkeypatch):
    rows = random_rows()
    rng = random.Random(0)
    words = sorted({word for text in texts_of(rows) for word in text.split()})
    model = word_model(tmp_path / "chance", texts_of(rows), {word: rng.gauss(0, 1) for word in words})
    _, entries = measure("stereoset", rows, tmp_path, model, monkeypatch)
    for figure in ("lm", "ss"):
        entry = entries[f"stereoset/intersentence/{figure}"]
        assert entry["low"] < 50 < entry["high"], figure
    icat_entry = entries["stereoset/intersentence/icat"]
    assert icat_entry["low"] <= icat_entry["value"] <= icat_entry["high"]


def test_rows_of_two_options_are_refused_by_name(tmp_path, monkeypatch):
    model = word_model(tmp_path / "m", texts_of(ROWS))
    rows = [ROWS[0], ROWS[1] | {"options": ["one", "two"]}]
    with pytest.raises(BadInput, match="mine: row 'intra/aunt/0' has not three options and one term"):
        measure("stereoset", rows, tmp_path, model, monkeypatch)
