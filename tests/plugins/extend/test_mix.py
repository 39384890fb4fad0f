"""Mixing: counts, repeats, evaluation items, columns, ids, and the gate."""

import json
import random
from types import SimpleNamespace

import pytest
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline_core.data.duplicates.shingles import jaccard, shingles_of
from pipeline_core.data.refs import DataRef
from pipeline_core.data.tables import open_table
from pipeline_core.errors import BadInput, GateFailed, UnknownName
from pipeline_core.quality.contamination import ROW_TEXTS
from pipeline_core.quality.items import FEWEST_WINDOWS, plain
from plugins.extend.mix.plugin import MixConfig, run
from tests.data.test_duplicates import inside
from tests.quality.rows import WORDS, dataset, pairs

TEXTS = ("prompt", "chosen", "rejected")


def mix(folder, parts, seed=0, data_ref=None, sets=None, **config):
    """The written rows and the metrics of a mix; `sets` are evaluation sets of prompts by name."""
    sets = {name: dataset(rows, "prompt") for name, rows in (sets or {}).items()}
    entry = SimpleNamespace(rows="prompt", licence="CC-BY-4.0")
    inputs = SimpleNamespace(
        parts={label: rows if isinstance(rows, Dataset) else dataset(rows) for label, rows in parts.items()},
        data_ref=data_ref,
        catalog=SimpleNamespace(entry=lambda _: entry, load=lambda ref: sets[ref.entry]),
    )
    folder.mkdir(exist_ok=True)
    against = tuple(DataRef(entry=name) for name in sets)
    context = SimpleNamespace(seed=seed, device="cpu", is_main=True)
    metrics = run(MixConfig(**{"quality": None, "against": against, **config}), inputs, folder, context)
    return open_table(folder / "rows.parquet").to_list(), metrics


def fields(row):
    return tuple(row[name] for name in TEXTS)


def labelled(prefix, rows):
    return [{**row, "id": f"{prefix}{row['id']}"} for row in rows]


def test_parts_stand_one_after_another_with_all_they_had(tmp_path):
    one, two = labelled("a", pairs(5)), labelled("b", pairs(4, seed=1, swap_to=["x"], made_by="templates"))
    rows, metrics = mix(tmp_path / "out", {"data": one, "two": two}, data_ref=DataRef(entry="mine"))
    assert [row["id"] for row in rows] == [row["id"] for row in [*one, *two]]
    assert [fields(row) for row in rows] == [fields(row) for row in [*one, *two]]
    assert {(row["made_by"], row["licence"], row["source_id"]) for row in rows[:5]} == {("", "CC-BY-4.0", "")}
    assert [row["swap_to"] for row in rows] == [None] * 5 + [["x"]] * 4
    assert {(row["made_by"], row["licence"]) for row in rows[5:]} == {("templates", "unknown")}
    assert (metrics["rows"], metrics["rows_in"], metrics["part/two/rows"]) == (9, 9, 4)


def test_what_nothing_tells_of_a_row_is_unknown(tmp_path):
    rows, _ = mix(tmp_path / "out", {"one": pairs(2), "two": pairs(2, seed=1, licence=None, made_by="", source_id="x")})
    found = {(row["made_by"], row["licence"], row["source_id"]) for row in rows}
    assert found == {("unknown", "unknown", ""), ("", "unknown", "x")}


def test_counts_are_met_with_the_shares_of_the_domains(tmp_path):
    rows = labelled("a", pairs(30)) + labelled("g", pairs(10, seed=1, domain="gender"))
    found, metrics = mix(tmp_path / "one", {"one": rows, "two": labelled("t", pairs(6, seed=2))}, take={"one": 20})
    of_one = [row for row in found if row["id"][0] != "t"]
    assert [sum(row["domain"] == domain for row in of_one) for domain in ("age", "gender")] == [15, 5]
    assert (metrics["part/one/rows"], metrics["part/two/rows"], metrics["part/one/short"]) == (20, 6, 0)
    again, _ = mix(tmp_path / "two", {"one": rows}, take={"one": 20})
    assert again == [{**row} for row in of_one], "what is taken of a part does not depend on the others"
    other, _ = mix(tmp_path / "three", {"one": rows}, take={"one": 20}, seed=1)
    assert other != again
    nothing, _ = mix(tmp_path / "four", {"one": rows, "two": pairs(3, seed=5)}, take={"two": 0})
    assert len(nothing) == 40


def test_the_same_seed_gives_the_same_bytes(tmp_path):
    parts = {"one": pairs(20), "two": pairs(20, seed=1)}
    for name in ("first", "second"):
        mix(tmp_path / name, parts, take={"one": 7}, quality={"sample": 10, "subsamples": 2})
    files = sorted(path.name for path in (tmp_path / "first").iterdir())
    assert files == ["contamination.json", "mix.json", "quality.json", "quality.md", "rows.parquet"]
    for name in files:
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()


def test_removed_rows_are_counted_by_reason_and_part(tmp_path):
    one = labelled("a", pairs(6))
    near = {**one[0], "id": "near", "rejected": one[0]["rejected"] + "!"}
    two = [*labelled("b", one[:2]), near, *labelled("c", pairs(3, seed=1))]
    items = [{"id": "q7", "prompt": two[3]["prompt"].upper()}]
    rows, metrics = mix(tmp_path / "out", {"one": one, "two": two}, sets={"asked": items})
    assert len(rows) == 8
    assert {name: metrics[f"part/two/{name}"] for name in ("contaminated", "duplicate", "near_duplicate", "rows")} == {
        "contaminated": 1,
        "duplicate": 2,
        "near_duplicate": 1,
        "rows": 2,
    }
    assert metrics["part/one/rows"] == 6, "the earlier part keeps its rows"
    assert metrics["removed/duplicate"] == 2
    report = json.loads((tmp_path / "out" / "contamination.json").read_text())
    assert report["sets"] == [
        {
            "entry": "asked",
            "items": 1,
            "parts": {"two": 1},
            "how": {"alike": 1},
            "examples": [{"part": "two", "row": "cr0", "item": "q7", "how": "alike"}],
        }
    ]


sentences = st.lists(st.sampled_from(WORDS[:6]), min_size=1, max_size=6).map(" ".join)
longer = st.lists(st.sampled_from(WORDS[:6]), min_size=1, max_size=12).map(" ".join)
prefs = st.lists(
    st.tuples(sentences, sentences, sentences).filter(lambda row: row[1] != row[2]), min_size=1, max_size=8
)


@settings(derandomize=True, deadline=None, max_examples=25)
@given(prefs, prefs, st.lists(longer, min_size=1, max_size=3))
def test_no_kept_row_resembles_another_or_an_evaluation_item(tmp_path_factory, one, two, prompts):
    def part(rows, label):
        return [dict(zip(("id", *TEXTS), (f"{label}{n}", *row), strict=True)) for n, row in enumerate(rows)]

    items = [{"id": str(number), "prompt": prompt} for number, prompt in enumerate(prompts)]
    parts = {"one": part(one, "a"), "two": part(two, "b")}
    try:
        rows, _ = mix(tmp_path_factory.mktemp("mix"), parts, sets={"asked": items})
    except BadInput as error:
        assert "no row is left" in str(error)
        rows = []

    def alike(a, b):
        return jaccard(shingles_of(a), shingles_of(b)) >= 0.8

    def seen(row):
        texts = fields(row)
        forms = [plain([texts[field] for field in form]) for form in ROW_TEXTS]
        return any(met(form, plain([prompt])) for form in forms for prompt in prompts)

    def met(form, item):
        long = len(shingles_of([item])) >= FEWEST_WINDOWS
        return alike([form], [item]) or (long and inside((item,), (form,), 0.8))

    kept = [fields(row) for row in rows]
    assert not any(alike(a, b) for number, a in enumerate(kept) for b in kept[:number])
    assert not any(map(seen, rows))
    for row in [*parts["one"], *parts["two"]]:
        assert fields(row) in kept or seen(row) or any(alike(fields(row), other) for other in kept), (
            "removed for nothing"
        )


def test_ids_are_told_apart_by_the_label(tmp_path):
    made = [{**row, "id": "two/r0"} for row in pairs(1, seed=3)]
    parts = {"one": pairs(2), "two": pairs(2, seed=1), "three": made}
    rows, _ = mix(tmp_path / "out", parts)
    assert [row["id"] for row in rows] == ["r0", "r1", "two/r0", "two/r1", "three/two/r0"]
    twice = [{**row, "id": "same"} for row in pairs(2)]
    with pytest.raises(BadInput, match="part 'one': id 'same' cannot be told from another row's"):
        mix(tmp_path / "bad", {"one": twice})


def test_too_few_rows_are_an_error_or_counted(tmp_path):
    rows = [*pairs(4), {**pairs(1)[0], "id": "again"}]
    words = (
        r"take.one: 5 rows are asked for and 4 of 5 are left \(removed: 0 contaminated, 1 duplicate, 0 near-duplicate"
    )
    with pytest.raises(BadInput, match=words):
        mix(tmp_path / "out", {"one": rows}, take={"one": 5})
    found, metrics = mix(tmp_path / "fewer", {"one": rows}, take={"one": 5}, allow_fewer=True)
    assert (len(found), metrics["part/one/short"]) == (4, 1)


def test_what_cannot_be_mixed_is_said(tmp_path):
    with pytest.raises(UnknownName, match=r"take: unknown part 'tow'. Did you mean 'two'\?"):
        mix(tmp_path / "a", {"one": pairs(2), "two": pairs(2, seed=1)}, take={"tow": 1})
    with pytest.raises(BadInput, match="there are no rows to combine"):
        mix(tmp_path / "b", {})
    with pytest.raises(BadInput, match="no row is left"):
        mix(tmp_path / "c", {"one": pairs(2)}, take={"one": 0})
    with pytest.raises(BadInput, match="part 'one' has no column 'region'"):
        mix(tmp_path / "d", {"one": pairs(3)}, take={"one": 1}, stratify=["region"])
    with pytest.raises(BadInput, match="part 'two' has a column of another type"):
        mix(tmp_path / "e", {"one": pairs(2, extra="a"), "two": pairs(2, seed=1, extra=[1])})
    with pytest.raises(BadInput, match="one: preference rows have the columns"):
        mix(tmp_path / "f", {"one": dataset([{"id": "1", "prompt": "p"}], "prompt")})
    lacking = Dataset.from_list([{"prompt": "p", "chosen": None, "rejected": "r"}])
    with pytest.raises(BadInput, match="one: row 1: column 'chosen' is missing"):
        mix(tmp_path / "g", {"one": lacking})


def test_the_gate_and_the_report_are_about_what_was_taken(tmp_path):
    one = pairs(8)
    two = labelled("b", [*random.Random(0).sample(one, 4), *pairs(4, seed=1)])
    items = [{"id": "q", "prompt": two[5]["prompt"]}]
    gate = {"max_near_duplicates": 0, "max_contaminated": 0}
    quality = {"sample": 8, "subsamples": 1, "gate": gate}
    rows, metrics = mix(tmp_path / "fine", {"one": one, "two": two}, quality=quality, sets={"asked": items})
    assert metrics["quality/rows"] == len(rows) == 11
    assert [metrics[f"quality/{name}"] for name in ("duplicates", "near_duplicates", "contaminated")] == [0, 0, 0]
    shares = [metrics[f"offered/{name}"] for name in ("duplicates", "near_duplicates", "contaminated")]
    assert shares == pytest.approx([4 / 16, 4 / 16, 1 / 16])
    found = json.loads((tmp_path / "fine" / "quality.json").read_text())
    assert found["offered"]["rows"] == 16
    assert found["offered"]["contamination"][0]["parts"] == {"two": 1}
    assert "| asked | 1 | 1 |" in (tmp_path / "fine" / "quality.md").read_text()
    quality["gate"] = {"min_rows_per_domain": 12}
    with pytest.raises(GateFailed, match=r"rows of age is 11, below the limit 12"):
        mix(tmp_path / "out", {"one": one, "two": two}, quality=quality, sets={"asked": items})
    assert json.loads((tmp_path / "out" / "quality.json").read_text())["overall"]["rows"] == 11


def test_a_gate_on_evaluation_items_needs_evaluation_sets():
    gated = {"gate": {"max_contaminated": 0}}
    with pytest.raises(ValueError, match="max_contaminated needs evaluation sets to compare with"):
        MixConfig(quality=gated)
    assert MixConfig(quality=gated, against=({"entry": "bbq"},)).against


def test_a_part_of_which_nothing_is_taken_takes_no_part(tmp_path):
    one = pairs(6)
    parts = {"one": one, "two": labelled("b", one) + labelled("c", pairs(3, seed=1)), "three": pairs(2, seed=2)}
    rows, metrics = mix(tmp_path / "out", parts, take={"one": 0}, quality={"sample": 8, "subsamples": 1})
    assert len(rows) == 11, "rows of a part left out remove no others"
    assert (metrics["rows_in"], metrics["offered/duplicates"]) == (11, 0)
    assert not any(name.startswith(("part/one/", "quality/part/one/")) for name in metrics)


def test_every_part_is_measured_by_itself_besides_the_whole(tmp_path):
    repeated = [{**row, "rejected": f"{row['rejected']} {number}"} for number, row in enumerate(pairs(1) * 6)]
    parts = {"one": pairs(12, seed=4), "two": [{**row, "id": f"c{n}"} for n, row in enumerate(repeated)]}
    _, metrics = mix(tmp_path / "out", parts, similarity=1.0, quality={"sample": 6, "subsamples": 2})
    found = json.loads((tmp_path / "out" / "quality.json").read_text())
    assert {label: part["overall"]["rows"] for label, part in found["parts"].items()} == {"one": 12, "two": 6}
    assert metrics["quality/part/one/rows"] + metrics["quality/part/two/rows"] == metrics["quality/rows"] == 18
    assert metrics["quality/part/two/vendi"] < 2 < metrics["quality/part/one/vendi"]
    assert "quality/part/one/domain/age/rows" not in metrics
    page = (tmp_path / "out" / "quality.md").read_text()
    assert all(f"| {name} | {rows} | 6 |" in page for name, rows in (("all", 18), ("one", 12), ("two", 6)))


def test_rows_beyond_one_piece_keep_their_order_and_ids(tmp_path, monkeypatch):
    monkeypatch.setattr("plugins.extend.mix._writing.ROW_GROUP", 4)
    rows, _ = mix(tmp_path / "out", {"one": pairs(10), "two": pairs(9, seed=1)}, take={"two": 6})
    assert [row["id"] for row in rows[:10]] == [f"r{number}" for number in range(10)]
    assert len({row["id"] for row in rows}) == 16
    assert all(row["id"].startswith("two/r") for row in rows[10:])
    assert {fields(row) for row in rows[10:]} <= {fields(row) for row in pairs(9, seed=1)}
