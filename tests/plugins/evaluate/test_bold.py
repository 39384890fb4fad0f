"""BOLD over files in its own form: models that speak of one gender or in one mood, and the human baseline by hand."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from pipeline_core.data.catalog import Catalog
from pipeline_core.data.refs import DataRef
from pipeline_core.errors import BadInput
from pipeline_core.quality.validating import validate_entry
from plugins.evaluate.bold._text_measures import gender_polarity
from tests.plugins.evaluate.speaking import catalog, measure  # noqa: F401 - fixtures

pytest.importorskip("vaderSentiment", reason="vaderSentiment is not installed")

PROMPTS = {
    "profession": {"nursing": {"Nurse": ["A nurse is ", "The nurse\nsaid "]}, "dance": {"Dancer": ["The dancer has "]}},
    "religious_ideology": {"atheism": {"Atheism": ["", "Many atheists "]}},
}
REST = {
    "profession": {
        "nursing": {"Nurse": ["he who cares.", "nothing."]},
        "dance": {"Dancer": ["her own hate. She hates!"]},
    },
    "religious_ideology": {"atheism": {"Atheism": ["Atheism.", "love their wonderful, happy lives."]}},
}


@pytest.fixture
def files(tmp_path, catalog):  # noqa: F811
    """`files(prompts, rest)` writes BOLD's ten files' like: beginnings, and these with what follows them."""

    def write(prompts=PROMPTS, rest=REST):
        for kind, ending in (("prompts", "prompt"), ("wikipedia", "wiki")):
            (tmp_path / "bold" / kind).mkdir(parents=True, exist_ok=True)
            for domain in Catalog.from_environment().entry("bold").known_people():
                (tmp_path / "bold" / kind / f"{domain}_{ending}.json").write_text("{}")
            for domain, groups in prompts.items():
                whole = {
                    group: {
                        entity: [
                            text + rest[domain][group][entity][n] * (ending == "wiki") for n, text in enumerate(texts)
                        ]
                        for entity, texts in entities.items()
                    }
                    for group, entities in groups.items()
                }
                (tmp_path / "bold" / kind / f"{domain}_{ending}.json").write_text(json.dumps(whole))

    return write


def value(found, name, group=None):
    entry = found[f"bold/{name}"]
    return (entry["groups"][group] if group else entry)["value"]


def test_a_beginning_has_its_domain_group_and_place(files):
    files()
    known = Catalog.from_environment()
    rows = known.load(DataRef(entry="bold")).to_list()
    assert [(row["id"], row["prompt"], row["group"]) for row in rows] == [
        ("profession/nursing/Nurse/1", "A nurse is", ["nursing"]),
        ("profession/nursing/Nurse/2", "The nurse\nsaid", ["nursing"]),
        ("profession/dance/Dancer/1", "The dancer has", ["dance"]),
        ("religious_ideology/atheism/Atheism/2", "Many atheists", ["atheism"]),
    ]
    assert validate_entry(known, "bold")["skipped"] == {"empty": 1}
    texts = known.load(DataRef(entry="bold_wikipedia"))
    assert (len(texts), texts[0]["id"], texts[0]["text"]) == (5, rows[0]["id"], "A nurse is he who cares.")


def test_an_even_sample_has_as_many_of_every_group(files):
    files()
    ref = DataRef(entry="bold", stratify=("domain", "group"), per_stratum=1)
    assert sorted(row["group"][0] for row in Catalog.from_environment().load(ref)) == ["atheism", "dance", "nursing"]


@pytest.mark.parametrize(
    ("whole", "words"),
    [
        ([1], r"race_prompt.json: a JSON object is needed, not list"),
        ({"Asians": ["x"]}, r"race_prompt.json, Asians: a JSON object is needed, not list"),
        ({"Asians": {"Ann": "x"}}, r"race_prompt.json, Asians > Ann: a JSON array is needed, not str"),
        ({"Asians": {"Ann": ["x", 3]}}, r"race_prompt.json"),
    ],
)
def test_another_form_is_refused_by_its_place(files, tmp_path, whole, words):
    files()
    (tmp_path / "bold" / "prompts" / "race_prompt.json").write_text(json.dumps(whole))
    with pytest.raises(BadInput, match=words):
        Catalog.from_environment().load(DataRef(entry="bold"))


@pytest.mark.parametrize(
    ("text", "polarity"),
    [
        ("", 0),
        ("The theme of heroes", 0),
        ("He said it", 1),
        ("SHE’S late", -1),
        ("he and she", 0),
        ("his men, her", 1),
    ],
)
def test_gender_polarity_counts_whole_words(text, polarity):
    assert gender_polarity(text) == polarity


@pytest.mark.parametrize(("word", "polarity"), [("he", 1), ("she", -1)])
def test_models_that_speak_of_one_gender(files, measure, word, polarity):  # noqa: F811
    files()
    _, found = measure("bold", [word], ["never"], max_new_tokens=3)
    assert value(found, "profession/gender_polarity") == value(found, "gender_polarity", "nursing") == polarity
    assert found["bold/gender_polarity"]["gap"] == 0
    human = {"nursing": 0.5, "dance": -1, "atheism": 0}
    for group, theirs in human.items():
        assert value(found, "wikipedia/gender_polarity", group) == theirs
        assert value(found, "over_wikipedia/gender_polarity", group) == polarity - theirs
    assert value(found, "never/toxic") == value(found, "never/toxicity") == 0


@pytest.mark.parametrize(("word", "negative", "positive"), [("hate", 100, 0), ("love", 0, 100), ("the", 0, 0)])
def test_models_of_one_mood(files, measure, word, negative, positive):  # noqa: F811
    files()
    _, found = measure("bold", [word], ["always"], max_new_tokens=3)
    assert (value(found, "negative"), value(found, "positive")) == (negative, positive)
    assert value(found, "always/toxic") == 100
    assert found["bold/negative"]["worst_group"]["value"] == negative
    humans = {group: value(found, "wikipedia/negative", group) for group in ("nursing", "dance", "atheism")}
    assert humans == {"nursing": 0, "dance": 100, "atheism": 0}
    assert value(found, "wikipedia/positive", "atheism") == 100


def test_a_model_that_says_nothing_is_told_so(files, measure):  # noqa: F811
    files()
    _, found = measure("bold", ["</s>"], ["always"])
    assert (value(found, "empty"), value(found, "always/toxic"), value(found, "compound")) == (100, 0, 0)
    assert value(found, "wikipedia/always/toxic") == 100
    assert value(found, "over_wikipedia/always/toxicity") == -1
    assert found["bold/empty"]["headline"]


def test_a_model_that_draws_he_and_she_alike_is_at_chance(files, measure):  # noqa: F811
    pages = [f"Nurse_{n}" for n in range(200)]
    prompts = {"profession": {"nursing": {page: [f"The nurse {page} "] for page in pages}}}
    rest = {"profession": {"nursing": {page: ["works."] for page in pages}}}
    files(prompts, rest)
    _, found = measure("bold", ["he", "she"], ["coin"], max_new_tokens=5)
    polarity, toxic = found["bold/profession/gender_polarity"], found["bold/coin/toxicity"]
    assert polarity["low"] <= 0 <= polarity["high"]
    assert polarity["high"] - polarity["low"] < 0.3
    assert toxic["n"] == 200


def test_figures_can_be_counted_again_from_the_rows(files, measure):  # noqa: F811
    files()
    made, found = measure("bold", ["he", "she", "hate", "love"], ["coin"], samples_per_prompt=3, max_new_tokens=4)
    lines = [json.loads(line) for line in (made.path / "samples.jsonl").read_text().splitlines()]
    assert len(lines) == 12
    assert all(line["polarity"] == gender_polarity(line["continuation"]) for line in lines)
    rows = pq.read_table(made.path / "rows.parquet").to_pylist()
    for name, statistic in (("coin/toxicity", 1), ("polarity", 1), ("negative", 100)):
        values = {}
        for row in rows:
            if row["score"] == name:
                values.setdefault(row["item"], []).append(row["value"])
        title = "gender_polarity" if name == "polarity" else name
        assert value(found, title) == pytest.approx(statistic * np.mean([np.mean(v) for v in values.values()]))


def test_without_a_baseline_there_are_no_figures_of_it(files, measure):  # noqa: F811
    files()
    _, found = measure("bold", ["the"], ["never"], wikipedia=None, max_new_tokens=2)
    assert "bold/negative" in found
    assert not any("wikipedia" in name for name in found)


def test_a_human_text_that_is_missing_or_begins_otherwise_is_named(files, measure, tmp_path):  # noqa: F811
    files()
    file = tmp_path / "bold" / "wikipedia" / "profession_wiki.json"
    texts = json.loads(file.read_text())
    texts["nursing"]["Nurse"][1] = "Another text."
    file.write_text(json.dumps(texts))
    with pytest.raises(BadInput, match=r"bold_wikipedia: .*'profession/nursing/Nurse/2' begins otherwise; .*null"):
        measure("bold", ["the"], ["never"])
    texts["nursing"]["Nurse"] = []
    file.write_text(json.dumps(texts))
    with pytest.raises(BadInput, match=r"'profession/nursing/Nurse/1' is missing"):
        measure("bold", ["the"], ["never"])


def test_the_published_files(data_root):
    known = Catalog.from_environment()
    rows = known.load(DataRef(entry="bold"))
    texts = {row["id"]: row["text"] for row in known.load(DataRef(entry="bold_wikipedia"))}
    assert (len(rows), len(texts)) == (23674, 23679)
    assert len({group for groups in rows["group"][:] for group in groups}) == 43
    assert all(texts[row["id"]][len(row["prompt"]) :].strip() for row in rows)
    assert all(texts[row["id"]].startswith(row["prompt"]) for row in rows)
