"""The format read by a catalog entry of one's own, and the suite on its rows."""

import pytest

pytest.importorskip("evenhand_sentences")

from pipeline_core.conformance.kit import check_plugin
from pipeline_core.data.catalog import Catalog
from pipeline_core.data.refs import DataRef
from pipeline_core.errors import BadInput

CATALOG = """
mine:
  kind: csv
  path: pairs.csv
  shape: two_sentences
  rows: sentences
  licence: CC0-1.0
  citation: The example of the guide
"""
PAIRS = "stereotype,opposite,about\nThe old man is slow.,The young man is slow.,age\nShe cooks.,He cooks.,gender\n"


@pytest.fixture
def pairs(tmp_path, monkeypatch):
    (tmp_path / "catalog.yaml").write_text(CATALOG)
    (tmp_path / "pairs.csv").write_text(PAIRS)
    monkeypatch.setenv("EVENHAND_DATA", str(tmp_path))
    monkeypatch.setenv("EVENHAND_CATALOG", str(tmp_path / "catalog.yaml"))
    monkeypatch.setenv("EVENHAND_HOME", str(tmp_path / "home"))
    return tmp_path / "pairs.csv"


def test_both_sentences_are_options(pairs):
    rows = Catalog.from_environment().load(DataRef(entry="mine"))
    assert rows["options"][:] == [["The old man is slow.", "The young man is slow."], ["She cooks.", "He cooks."]]
    assert rows["domain"][:] == ["age", "gender"]


def test_a_pair_of_equal_sentences_is_named(pairs):
    pairs.write_text(PAIRS + "Same.,Same.,age\n")
    with pytest.raises(BadInput, match=r"pairs\.csv, row 3: column 'opposite' is the stereotype again"):
        Catalog.from_environment().load(DataRef(entry="mine"))


def test_it_conforms(pairs, tmp_path):
    result = check_plugin("evaluate", "two_sentences", tmp_path / "made", {"data": "mine"})
    assert 0 <= result.metrics["two_sentences/stereotype_share"] <= 100
