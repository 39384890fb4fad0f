"""Comments as prompts: bins, shortfall, what is left out, and whom a comment is about."""

import json
from collections import Counter
from types import SimpleNamespace

import pytest
from pydantic import ValidationError

from pipeline_core.augmentation.terms import groups_named
from pipeline_core.conformance.kit import check_plugin
from pipeline_core.data.catalog import Catalog
from pipeline_core.data.refs import DataRef
from pipeline_core.data.tables import open_table
from pipeline_core.errors import BadInput
from pipeline_core.plugin.context import Inputs
from plugins.extend.comments.plugin import CommentsConfig, run
from tests.data.conftest import catalog  # noqa: F401 - fixtures

ENTRY = (
    "mine: {kind: jsonl, path: rows.jsonl, rows: scored, licence: CC-BY-4.0, citation: none, "
    "columns: {completion: text}, score_better: lower}\n"
)
WORDS = ["bread", "rain", "winter", "tram", "letter", "window", "garden", "market", "bridge", "clock"]


def comment(number, score, text=None):
    return {"id": f"c{number}", "text": text or f"The {WORDS[number % 10]} of house {number} is late.", "score": score}


@pytest.fixture
def extend(catalog, root, tmp_path):  # noqa: F811
    def extended(comments, seed=0, entry=ENTRY, **settings):
        (root / "rows.jsonl").write_text("\n".join(map(json.dumps, comments)))
        out = tmp_path / f"out{len(list(tmp_path.iterdir()))}"
        out.mkdir()
        config = CommentsConfig(**{"data": DataRef(entry="mine")} | settings)
        metrics = run(config, Inputs({}, catalog(entry), None), out, SimpleNamespace(seed=seed, is_main=True))
        return open_table(out / "rows.parquet").to_list(), metrics

    return extended


SPREAD = [comment(number, (number + 0.5) / 100) for number in range(100)]


def bins_of(rows, edges):
    return Counter(sum(row["toxicity"] >= edge for edge in edges[1:-1]) for row in rows)


def test_bins_have_even_shares(extend):
    rows, metrics = extend(SPREAD, rows=20)
    assert bins_of(rows, (0, 0.2, 0.4, 0.6, 0.8, 1)) == dict.fromkeys(range(5), 4)
    assert metrics["bin/0.2-0.4/rows"] == 4
    assert metrics["bin/0.2-0.4/available"] == 20
    assert metrics["bin/0.2-0.4/shortfall"] == 0
    scores = {row["id"]: row["score"] for row in SPREAD}
    assert all(row["toxicity"] == scores[row["source_id"]] for row in rows)
    assert len({row["source_id"] for row in rows}) == 20


def test_edges_belong_to_the_upper_bin_and_the_last_to_the_last(extend):
    comments = [comment(number, score) for number, score in enumerate([0.0, 0.5, 1.0])]
    _, metrics = extend(comments, rows=3, bins=(0.0, 0.5, 1.0))
    assert (metrics["bin/0-0.5/available"], metrics["bin/0.5-1/available"]) == (1, 2)


def test_what_a_bin_is_short_of_goes_to_the_others_and_is_told(extend):
    comments = [row for row in SPREAD if not 0.02 < row["score"] < 0.4]
    rows, metrics = extend(comments, rows=50)
    assert [metrics[f"bin/{name}/rows"] for name in ("0-0.2", "0.2-0.4", "0.4-0.6", "0.6-0.8", "0.8-1")] == [
        *(2, 0),
        *(16, 16, 16),
    ]
    assert (metrics["bin/0-0.2/shortfall"], metrics["bin/0.2-0.4/shortfall"]) == (8, 10)
    assert len(rows) == metrics["rows"] == 50


def test_long_repeated_and_outlying_comments_are_counted(extend):
    comments = [*SPREAD[:10], comment(200, 0.1, "long " * 100), comment(201, 0.1, SPREAD[0]["text"]), comment(202, 2.0)]
    entry = ENTRY.replace("lower", "lower, score_range: [0, 2]")
    rows, metrics = extend(comments, entry=entry, rows=10)
    left_out = {name: value for name, value in metrics.items() if name.startswith("left_out")}
    assert left_out == {"left_out/too_long": 1, "left_out/outside_bins": 1, "left_out/repeated": 1}
    assert {row["source_id"] for row in rows} == {row["id"] for row in SPREAD[:10]}
    with pytest.raises(
        BadInput, match=r"mine: 11 comments were asked for, and 10 can be taken \(left out: .*too_long 1"
    ):
        extend(comments, entry=entry, rows=11)


def test_scores_that_are_no_toxicity_are_refused(extend):
    with pytest.raises(BadInput, match="mine: its larger scores are better, so they are no toxicity"):
        extend(SPREAD, entry=ENTRY.replace("lower", "higher"), rows=5)
    with pytest.raises(BadInput, match="mine: .*line 101: column 'score' is not a finite number"):
        extend([*SPREAD, comment(300, float("nan"))], rows=5)


def test_edges_must_ascend():
    with pytest.raises(ValidationError, match="edges must ascend"):
        CommentsConfig(bins=(0.0, 0.5, 0.5))


def test_rows_carry_the_licence_of_their_comment_and_the_comment_itself(extend):
    odd = comment(300, 0.3, "  A {person} wrote {} here.  ")
    rows, _ = extend([odd, *SPREAD], rows=50)
    texts = {row["id"]: row["text"].strip() for row in [odd, *SPREAD]}
    for row in rows:
        assert texts[row["source_id"]] in row["prompt"]
        assert (row["made_by"], row["licence"], row["source"]) == ("comments", "CC-BY-4.0", "mine")
        assert (row["domain"], row["group"]) == ("other", [])


GENERAL = (
    "are all like that",
    "all the same",
    "always been a problem",
    "deserve no better",
    "such people",
    "that sort",
)


def test_only_the_unfavourable_reply_generalises(extend):
    comments = [
        comment(number, number / 100, f"House {number}: the Nigerians and the French came late.")
        for number in range(100)
    ]
    rows, metrics = extend(comments, rows=64)
    assert metrics["group/nationality/nigerian/rows"] == 64
    for row in rows:
        assert not any(words in row["chosen"] for words in GENERAL)
    # A few say only "talk to them in just that way".
    assert sum("Nigerians" in row["rejected"] for row in rows) > 50
    assert any(words in row["rejected"] for row in rows for words in GENERAL)
    assert len({row["chosen"] for row in rows}) > 20


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The tram is late.", ("", [])),
        ("He took her hat to China.", ("", [])),
        ("A Black woman and a white man", ("race_x_gender", ["black_woman", "white_man"])),
        ("An old car and an old neighbour", ("age", ["old"])),
        ("Muslims, Jews and a German", ("religion", ["muslim", "jewish"])),
    ],
)
def test_whom_a_text_names(text, expected):
    assert groups_named(text) == expected


def test_the_seed_decides(extend):
    assert extend(SPREAD, rows=20) == extend(SPREAD, rows=20)
    one, other = ({row["source_id"] for row in extend(SPREAD, seed, rows=20)[0]} for seed in (0, 1))
    assert one != other


def test_it_conforms(catalog, root, tmp_path):  # noqa: F811
    (root / "rows.jsonl").write_text("\n".join(map(json.dumps, SPREAD)))
    catalog(ENTRY)
    result = check_plugin("extend", "comments", tmp_path, {"rows": 30, "data": "mine"})
    assert result.metrics["rows"] == 30
    assert {result.metrics[f"bin/{name}/rows"] for name in ("0-0.2", "0.2-0.4", "0.4-0.6", "0.6-0.8", "0.8-1")} == {6}


def test_realtoxicity_fills_its_bins(tmp_path, data_root):
    context = SimpleNamespace(seed=0, is_main=True)
    metrics = run(CommentsConfig(), Inputs({}, Catalog.from_environment(), None), tmp_path, context)
    assert metrics["rows"] == 1000
    assert metrics["left_out/repeated"] == 4
    # One bin of the split has fewer comments than its share.
    assert sum(value for name, value in metrics.items() if name.endswith("/shortfall")) < 50
    rows = open_table(tmp_path / "rows.parquet").to_list()
    held_out = Catalog.from_environment().load(DataRef(entry="realtoxicity_comments", split="test"))
    assert not {row["source_id"] for row in rows} & set(held_out["id"])
    lengths = [sum(len(row[side]) for row in rows) / len(rows) for side in ("chosen", "rejected")]
    assert abs(lengths[0] / lengths[1] - 1) < 0.1
    assert {row["licence"] for row in rows} == {"Apache-2.0"}
    assert len({row["domain"] for row in rows}) > 4
