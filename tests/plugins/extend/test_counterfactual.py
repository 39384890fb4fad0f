"""Counterfactual rows: grammar, provenance, balance, and nothing held out."""

import re
from collections import Counter
from types import SimpleNamespace

import hypothesis
import pytest
from hypothesis import strategies as st

from pipeline_core.augmentation.swaps import people_in, swap
from pipeline_core.augmentation.terms import load_vocabulary
from pipeline_core.conformance.kit import check_plugin
from pipeline_core.data.catalog import Catalog
from pipeline_core.data.duplicates.seen import NearDuplicates
from pipeline_core.data.duplicates.shingles import BANDS, FOUND, LEAST, jaccard, rows_per_band, shingles_of
from pipeline_core.data.refs import DataRef
from pipeline_core.data.tables import open_table, rows_as_table
from pipeline_core.sandbox.world import load_world
from plugins.extend.counterfactual import CounterfactualConfig, run

WORDS = load_vocabulary("identity_terms")


def swapped(text, target, domain=""):
    people = people_in(WORDS, [text], domain, [])
    result = swap(WORDS, [text], people, target) if people else None
    return result[0][0] if result else None


@pytest.mark.parametrize(
    ("text", "target", "expected"),
    [
        ("The Nigerian baker smiled.", "italian", "The Italian baker smiled."),
        ("We met a Nigerian and an Iranian.", "italian", None),
        ("A Nigerian baker and a Nigerian cook.", "italian", "An Italian baker and an Italian cook."),
        ("An Ethiopian sang.", "german", "A German sang."),
        ("THE NIGERIAN BAKER", "italian", "THE ITALIAN BAKER"),
        ("a nigerian baker", "indian", "an indian baker"),
        ("Muslims pray. Muslim children too.", "jewish", "Jews pray. Jewish children too."),
        ("Atheists meet here, the atheist said.", "hindu", "Hindus meet here, the Hindu said."),
        ("The old man is not an old car.", "young", "The young man is not an old car."),
        ("An elderly neighbour", "middle_aged", "A middle-aged neighbour"),
        ("The man took his hat; he left.", "female", "The woman took her hat; she left."),
        ("The woman took her hat.", "male", None),
        ("The woman said she was late.", "male", "The man said he was late."),
        ("South Americans like Latin American art", "german", None),
        ("A black car", "white", None),
        ("The Black woman sang.", "asian_woman", "The Asian woman sang."),
        ("He reads about Islam.", "hindu", "He reads about Hinduism."),
        ("He reads about Islam.", "atheist", None),
    ],
)
def test_swaps(text, target, expected):
    assert swapped(text, target, "religion" if target in {"jewish", "hindu", "atheist"} else "") == expected


def test_the_rows_own_domain_and_group_decide_between_several():
    texts = ["The Muslim man met a woman."]
    assert people_in(WORDS, texts, "religion", []).group == "muslim"
    assert people_in(WORDS, texts, "gender", []) is None
    assert people_in(WORDS, texts, "gender", ["male"]).group == "male"


def test_a_target_already_spoken_of_is_no_target():
    people = people_in(WORDS, ["A Muslim man met a Hindu."], "religion", ["muslim"])
    assert swap(WORDS, ["A Muslim man met a Hindu."], people, "hindu") is None


def test_all_texts_of_a_row_are_swapped_alike():
    texts = ["Tell me about the German.", "the German is late.", "he is a German."]
    people = people_in(WORDS, texts, "nationality", [])
    assert swap(WORDS, texts, people, "italian") == (
        ["Tell me about the Italian.", "the Italian is late.", "he is an Italian."],
        {"German": "Italian"},
    )


def given(rows, **inputs):
    return SimpleNamespace(**{"preferences": rows, "folders": {}, "data_ref": None, **inputs})


def test_it_conforms(tmp_path):
    result = check_plugin("extend", "counterfactual", tmp_path)
    assert result.metrics["rows"] == result.metrics["rows_in"] + result.metrics["swapped"]


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory):
    out = tmp_path_factory.mktemp("extended")
    rows = Catalog.from_environment().load(DataRef(entry="sandbox_pairs", rows=600, stratify=("domain", "group")))
    metrics = run(CounterfactualConfig(max_multiple=3), given(rows), out, context())
    return rows.to_list(), open_table(out / "rows.parquet").to_list(), metrics


def context(seed=0):
    return SimpleNamespace(seed=seed, is_main=True)


def test_groups_grow_towards_the_largest_of_their_domain(sandbox):
    before, after, metrics = sandbox
    old = Counter((row["domain"], row["group"][0]) for row in before)
    new = Counter((row["domain"], row["group"][0]) for row in after)
    for (domain, group), size in new.items():
        largest = max(count for (other, _), count in old.items() if other == domain)
        assert size <= max(old[domain, group], min(largest, 3 * old[domain, group]))
        assert metrics[f"group/{domain}/{group}/rows"] == size
    assert sum(new.values()) > sum(old.values())


def test_given_rows_stay_as_they_are_and_new_ones_tell_their_origin(sandbox):
    before, after, _ = sandbox
    columns = list(before[0])
    assert [{name: row[name] for name in columns} for row in after[: len(before)]] == before
    origin = {row["id"]: row for row in before}
    for row in after[len(before) :]:
        source = origin[row["source_id"]]
        assert row["template_id"] == source["template_id"]
        assert row["group"] != source["group"]
        for name in ("prompt", "chosen", "rejected"):
            text = source[name]
            for old, new in zip(row["swap_from"], row["swap_to"], strict=True):
                text = re.sub(rf"\b{re.escape(old)}\b", new, text)
            assert re.sub(r"\b[Aa]n?\b ", "", text) == re.sub(r"\b[Aa]n?\b ", "", row[name])
    assert len({row["id"] for row in after}) == len(after)


def test_no_word_held_out_for_evaluation_is_brought_in(sandbox):
    _, after, _ = sandbox
    held_out = {word for _, group in load_world().groups() for word in group.words["heldout"]}
    text = " ".join(f"{row['prompt']} {row['chosen']} {row['rejected']}" for row in after)
    assert not [word for word in held_out if re.search(rf"\b{word}\b", text)]


def test_the_seed_decides(tmp_path):
    rows = Catalog.from_environment().load(DataRef(entry="sandbox_pairs", rows=200))
    found = []
    for number, seed in enumerate([0, 0, 1]):
        (tmp_path / str(number)).mkdir()
        run(CounterfactualConfig(), given(rows), tmp_path / str(number), context(seed))
        found.append((tmp_path / str(number) / "rows.parquet").read_bytes())
    assert found[0] == found[1] != found[2]


def test_real_words_are_taken_for_other_data_and_duplicates_are_dropped(tmp_path):
    from datasets import Dataset

    texts = [("The German sang.", "german")] * 4 + [("The Italian sang.", "italian")]
    rows = [
        {"id": str(i), "prompt": p, "chosen": "good.", "rejected": "bad.", "domain": "nationality", "group": [g]}
        for i, (p, g) in enumerate(texts)
    ]
    data = Dataset(rows_as_table(rows, "preference", "mine"))
    metrics = run(CounterfactualConfig(), given(data), tmp_path, context())
    # Every swap to Italian repeats the one row there is; each further country gets its one new row.
    assert metrics["group/nationality/italian/rows"] == 1
    assert metrics["dropped"] >= 4
    made = open_table(tmp_path / "rows.parquet").to_list()[5:]
    assert len({row["prompt"] for row in made}) == len(made)


def test_rows_tell_their_licence_and_what_made_them(tmp_path):
    catalog = Catalog.from_environment()
    ref = DataRef(entry="sandbox_pairs", rows=200)
    rows, licence = catalog.load(ref), catalog.entry("sandbox_pairs").licence
    licences = ["CC-BY-4.0", None] * (len(rows) // 2)
    of_artifact = rows.add_column("licence", licences)
    artifact = {"folders": {"preferences": tmp_path}, "data_ref": ref, "catalog": catalog}
    own = {"data_ref": ref, "catalog": catalog}
    for number, (table, inputs, found) in enumerate(
        [(rows, own, {licence}), (of_artifact, artifact, {"CC-BY-4.0", "unknown"}), (rows, {}, {"unknown"})]
    ):
        (out := tmp_path / str(number)).mkdir()
        run(CounterfactualConfig(), given(table, **inputs), out, context())
        written = open_table(out / "rows.parquet").to_list()
        before, made = written[: len(rows)], written[len(rows) :]
        assert {row["licence"] for row in before} == {row["licence"] for row in made} == found
        assert {row["made_by"] for row in made} == {"counterfactual"}
        assert {(row["made_by"], row["source_id"]) for row in before} == {("" if inputs is own else "unknown", "")}
        licence_of = {row["id"]: row["licence"] for row in before}
        assert all(row["licence"] == licence_of[row["source_id"]] for row in made)


def test_a_similarity_that_is_missed_more_often_is_refused():
    assert 1 - (1 - LEAST ** rows_per_band(LEAST)) ** BANDS >= FOUND
    with pytest.raises(ValueError, match="greater than or equal to 0.4"):
        CounterfactualConfig(similarity=0.35)


@hypothesis.given(st.text("ab ", min_size=1, max_size=40), st.text("ab ", min_size=1, max_size=40))
def test_shingles_give_the_jaccard_of_windows(one, other):
    def windows(text):
        data = text.encode().ljust(5)
        return {data[start : start + 5] for start in range(len(data) - 4)}

    expected = len(windows(one) & windows(other)) / len(windows(one) | windows(other))
    assert jaccard(shingles_of([one]), shingles_of([other])) == pytest.approx(expected)


def test_duplicates_are_found_and_exchanged_completions_are_none():
    seen = NearDuplicates(0.8)
    seen.add(["The baker is known to be", "punctual and friendly.", "late and unfriendly."])
    assert seen.seen(["The baker is known to be", "punctual and friendly!", "late and unfriendly."])
    assert not seen.seen(["The baker is known to be", "late and unfriendly.", "punctual and friendly."])
    assert [rows_per_band(s) for s in (0.95, 0.9, 0.8, 0.5)] == [8, 8, 4, 1]
