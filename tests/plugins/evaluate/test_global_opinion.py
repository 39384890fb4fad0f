"""Distance to the answers of countries: worked numbers, rigged models, what is left out, and the real file."""

import gzip
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from pipeline_core.conformance.kit import tiny_model
from pipeline_core.data.catalog import Catalog
from pipeline_core.data.refs import DataRef
from pipeline_core.errors import BadInput
from plugins.evaluate.global_opinion import GlobalOpinionConfig, js_distance
from tests.plugins.evaluate.rigged_models import evaluate, table_model

SMALL = {"min_questions": 1}


def row(country, shares, question="Is it good?"):
    return {"question": question, "country": country, "options": ["Yes", "No"], "distribution": shares}


@pytest.fixture
def opinions(root):
    def write(rows):
        (root / "globalopinionqa").mkdir(exist_ok=True)
        path = root / "globalopinionqa" / "eval_country_question_distributions.json.gz"
        path.write_bytes(gzip.compress(json.dumps(rows).encode()))
        return path

    return write


def test_worked_distances():
    assert js_distance([1, 0], [0, 1]) == 1
    assert js_distance([0.3, 0.7], [0.3, 0.7]) == 0
    expected = 0.5 * (math.log2(4 / 3) + 0.5 * math.log2(2 / 3) + 0.5 * math.log2(2))
    assert js_distance([1, 0], [0.5, 0.5]) == pytest.approx(math.sqrt(expected))
    assert js_distance([2, 0], [0.5, 0.499]) == pytest.approx(math.sqrt(expected), abs=1e-3)


shares = st.lists(st.integers(0, 9), min_size=3, max_size=3).filter(any)


@settings(deadline=None)
@given(shares, shares, shares)
def test_it_is_a_distance(one, other, third):
    assert js_distance(one, other) == pytest.approx(js_distance(other, one))
    assert js_distance(one, third) <= js_distance(one, other) + js_distance(other, third) + 1e-9
    spatial = pytest.importorskip("scipy.spatial.distance")
    p, q = np.array(one) / sum(one), np.array(other) / sum(other)
    assert js_distance(one, other) == pytest.approx(np.nan_to_num(spatial.jensenshannon(p, q, base=2)), abs=1e-6)


def test_a_rigged_model_is_where_it_was_put(opinions, tmp_path):
    opinions([row("Here", [0.75, 0.25]), row("There", [0.0, 1.0]), row("Nowhere", [0, 0])])
    model = table_model(tmp_path / "fair", ["A", "B", ":"], {":": {"A": math.log(3)}})
    metrics, measures = evaluate("global_opinion", SMALL, model, tmp_path / "out")
    groups = measures["global_opinion/distance"]["groups"]
    assert groups["Here"]["value"] == pytest.approx(0, abs=1e-3)
    assert groups["There"]["value"] == pytest.approx(js_distance([0.75, 0.25], [0, 1]), abs=1e-6)
    assert measures["global_opinion/distance"]["worst_group"]["name"] == "There"
    assert metrics["global_opinion/distance/mean"] == pytest.approx(groups["There"]["value"] / 2, abs=1e-3)
    assert metrics["global_opinion/items/measured"] == 2
    assert metrics["global_opinion/items/left_out_distribution"] == 1
    sure = table_model(tmp_path / "sure", ["A", "B", ":"], {":": {"A": 50.0}})
    _, measures = evaluate("global_opinion", SMALL, sure, tmp_path / "other")
    assert measures["global_opinion/distance"]["groups"]["There"]["value"] == pytest.approx(1)


def test_a_random_model_is_as_far_as_an_even_answer(tmp_path):
    settings = {"data": {"entry": "sandbox_opinions"}, **SMALL}
    _, measures = evaluate("global_opinion", settings, tiny_model(tmp_path / "model"), tmp_path / "out")
    found, even = (measures[f"global_opinion/{name}"]["value"] for name in ("distance", "even_distance"))
    assert found == pytest.approx(even, abs=0.02)


def test_countries_of_few_questions_are_counted(opinions, tmp_path):
    opinions([row("Here", [0.5, 0.5], f"Is it {n}?") for n in range(3)] + [row("There", [0.5, 0.5])])
    model = table_model(tmp_path / "model", ["A", "B", ":"], {})
    metrics, measures = evaluate("global_opinion", {"min_questions": 3}, model, tmp_path / "out")
    assert list(measures["global_opinion/distance"]["groups"]) == ["Here"]
    assert metrics["global_opinion/items/left_out_small_country"] == 1
    with pytest.raises(BadInput, match="no country has 4 questions"):
        evaluate("global_opinion", {"min_questions": 4}, model, tmp_path / "none")


def test_bad_files_are_named(opinions):
    path = opinions([row("Here", [0.5, 0.5]), row("There", [0.2, 0.3, 0.5])])
    load = Catalog.from_environment().load
    with pytest.raises(BadInput, match="row 2: column 'distribution' holds 3 shares for 2 options"):
        load(DataRef(entry="global_opinion_answers"))
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(BadInput, match="is damaged or cut short"):
        load(DataRef(entry="global_opinion_answers"))


def test_rows_without_shares_are_refused(tmp_path):
    model = table_model(tmp_path / "model", ["A", ":"], {})
    with pytest.raises(BadInput, match="sandbox_pairs: missing column 'question'"):
        evaluate("global_opinion", {"data": {"entry": "sandbox_pairs", "rows": 4}}, model, tmp_path / "out")


@pytest.mark.parametrize("prompt", ["{question}", "{question} {options} {else}"])
def test_a_prompt_with_other_fields_is_refused(prompt):
    with pytest.raises(ValidationError, match="fields must be question and options"):
        GlobalOpinionConfig(prompt=prompt)


def test_the_real_file(data_root):
    catalog = Catalog.from_environment()
    rows = catalog.load(DataRef(entry="global_opinion_answers"))
    assert (rows.num_rows, len({name for names in rows["group"] for name in names})) == (4624, 130)
    assert catalog.left_out(DataRef(entry="global_opinion_answers")) == {"distribution": 9}
    trained = set(catalog.load(DataRef(entry="global_opinion", split="train"))["prompt"])
    measured = catalog.load(DataRef(entry="global_opinion_five"))
    assert measured.num_rows == 29
    assert not trained & set(measured["prompt"])
