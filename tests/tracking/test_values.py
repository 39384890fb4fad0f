"""Names, parameters and metrics in the form MLflow takes."""

from __future__ import annotations

import hashlib
import math
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline_core.network.addresses import shown_uri
from pipeline_core.tracking.mlflow.values import (
    NAME_LENGTH,
    MlflowNames,
    batches,
    charted,
    clean_name,
    cut,
)
from pipeline_core.tracking.values import finite, flatten

calm = settings(deadline=None, derandomize=True)


def test_nested_configuration_becomes_flat_parameters():
    config = {"policy": [{"name": "dpo", "beta": 0.1}, {"name": "ipo"}], "seeds": [0, 1], "data": None, "empty": []}
    assert flatten(config) == {
        "policy.0.name": "dpo",
        "policy.0.beta": "0.1",
        "policy.1.name": "ipo",
        "seeds": "0, 1",
    }


@calm
@given(st.text(max_size=400))
def test_any_name_becomes_one_that_mlflow_accepts(name):
    clean = clean_name(name)
    assert re.fullmatch(r"[\w.\- /]+", clean)
    assert len(clean) <= NAME_LENGTH
    assert not any(part in ("", ".", "..") for part in clean.split("/"))


def test_names_that_are_fine_stay():
    for name in ("loss", "group/Middle Eastern/loss", "bbq/Age/ambiguous_accuracy", "policy.0.beta", "group/中国/loss"):
        assert clean_name(name) == name


def test_d11_a_replaced_character_leaves_a_digest_in_its_own_part():
    names = ["group/50% mixed/loss", "group/50# mixed/loss", "group/ Black /loss", "group//loss", "group/../loss"]
    cleaned = [clean_name(name) for name in names]
    assert len(set(cleaned)) == len(names)
    for name, clean in zip(names, cleaned, strict=True):
        part = name.removeprefix("group/").removesuffix("/loss")
        shown = {"50% mixed": "50_ mixed", "50# mixed": "50_ mixed", " Black ": "Black"}.get(part, "_")
        assert clean == f"group/{shown}-{hashlib.sha256(part.encode()).hexdigest()[:8]}/loss"


@calm
@given(st.lists(st.text(max_size=20), unique=True, max_size=20))
def test_different_names_stay_different(names):
    mapped = MlflowNames()
    assert len({mapped[name] for name in names}) == len(names)
    assert [mapped[name] for name in names] == [mapped[name] for name in names]


def test_values_that_are_not_finite_are_counted_apart():
    found = finite({"loss": 1.5, "kl": math.inf, "grad": math.nan, "none": None, "text": "x", "list": [1]})
    assert found == {"loss": 1.5, "nonfinite/kl": 1.0, "nonfinite/grad": 1.0}


def test_a_cut_text_says_how_long_it_was():
    assert cut("short", 6000) == "short"
    text = cut("x" * 9000, 6000)
    assert len(text) == 6000
    assert text.endswith("... (9000 characters)")


def test_batches_hold_everything_in_order():
    assert list(batches(list(range(7)), 3)) == [[0, 1, 2], [3, 4, 5], [6]]


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("https://user:secret@host:5000/x", "https://host:5000/x"),
        ("https://token@host", "https://host"),
        ("postgresql+psycopg://me:a/b:c@host/db", "postgresql+psycopg://host/db"),
        ("https://me:p@ss@host", "https://host"),
        ("mysql://host/db?user=me&password=secret&x=1", "mysql://host/db?user=me&password=***&x=1"),
        (
            "cannot reach https://u:p@host/a: refused (http://u:p@host/b)",
            "cannot reach https://host/a: refused (http://host/b)",
        ),
        ("https://account.blob.core/x?sv=1&sig=a%2Bb&se=2", "https://account.blob.core/x?sv=1&sig=***&se=2"),  # R12
        ("postgresql://me:my long pass@host/db", "postgresql://host/db"),  # R12
        ("http://host/x?password=a b", "http://host/x?password=***"),  # R12
        ("postgresql://host/db?password=a b c&x=1", "postgresql://host/db?password=***&x=1"),  # R12
        ("cannot reach http://host/x?sig=abc: refused", "cannot reach http://host/x?sig=*** refused"),
        ("no answer at http://host:5000: ask me@work", "no answer at http://host:5000: ask me@work"),
        ("http://host:5000/a and http://u:p@b/c", "http://host:5000/a and http://b/c"),
        ("sqlite:////home/me@work/mlflow.db", "sqlite:////home/me@work/mlflow.db"),
        ("http://127.0.0.1:5000", "http://127.0.0.1:5000"),
        ("databricks", "databricks"),
    ],
)
def test_addresses_are_shown_without_credentials(uri, shown):
    assert shown_uri(uri) == shown


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("group/Asian/loss", "group_loss/Asian"),
        ("validation/group/Asian/loss", "validation/group_loss/Asian"),
        ("group/Age/old/weight", "group_weight/Age - old"),
        ("domain/age/pairwise_accuracy", "domain_pairwise_accuracy/age"),
        *((name, name) for name in ("loss", "worst_group/loss", "dpo/bbq/bias", "group/Asian", "subgroup/a/loss")),
    ],
)
def test_charts_have_a_section_for_each_kind_of_metric(name, shown):
    assert charted(name) == shown
    assert MlflowNames()[name] == shown
