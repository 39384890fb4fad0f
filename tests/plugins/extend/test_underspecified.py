"""Questions that nothing decides: both polarities and orders, and whom the prejudice would name."""

import re
from collections import Counter
from types import SimpleNamespace

import pytest
from pydantic import ValidationError

from pipeline_core.augmentation.even_rows import even_rows
from pipeline_core.augmentation.people import DOMAINS, load_people
from pipeline_core.augmentation.swaps import needs_an
from pipeline_core.conformance.kit import check_plugin
from pipeline_core.data.tables import open_table
from plugins.extend.underspecified._questions import TraitComparison, ask, load_texts, wordings
from plugins.extend.underspecified.plugin import UnderspecifiedConfig, run


def made(seed=0, **settings):
    return list(even_rows(UnderspecifiedConfig(**settings), seed))


@pytest.fixture(scope="module")
def rows():
    return made(rows=2200, domains=DOMAINS)


def polarity(row):
    return row["template_id"].rpartition("/")[2]


def words_of(row, group):
    return [naming.word for naming in load_people()[row["domain"]].groups[group]]


def place(row, group):
    """Where a group is named in the context; the longest word counts, so that "poor White" is no "White"."""
    return min(
        found.start()
        for word in words_of(row, group)
        for found in re.finditer(rf"(?<![\w-]){re.escape(word)}(?![\w-])", row["prompt"])
    )


def test_it_conforms(tmp_path):
    assert check_plugin("extend", "underspecified", tmp_path).metrics["rows"] == 80


def test_the_default_is_unqovers(tmp_path):
    metrics = run(UnderspecifiedConfig(), None, tmp_path, SimpleNamespace(seed=0, is_main=True))
    written = open_table(tmp_path / "rows.parquet")
    assert metrics["rows"] == len(written) == 999
    assert Counter(written["domain"][:]) == {"gender": 250, "nationality": 250, "race": 250, "religion": 249}
    assert {(row["made_by"], row["licence"]) for row in written} == {("underspecified", "Apache-2.0")}


def test_every_group_is_targeted_as_often_as_any_other(rows):
    for domain in DOMAINS:
        targets = Counter(row["group"][0] for row in rows if row["domain"] == domain)
        assert set(targets) == set(load_people()[domain].groups)
        assert max(targets.values()) - min(targets.values()) <= 1


def test_neither_position_nor_polarity_tells_who_is_named(rows):
    """In every domain: as many negative as positive questions, and either person first in half of each."""
    for domain in DOMAINS:
        here = [row for row in rows if row["domain"] == domain]
        cells = Counter((polarity(row), place(row, row["group"][0]) < place(row, row["group"][1])) for row in here)
        groups = len(load_people()[domain].groups)
        assert set(cells) == {(p, first) for p in ("negative", "positive") for first in (True, False)}
        assert max(cells.values()) - min(cells.values()) <= 2 * groups


def test_every_item_is_asked_in_four_ways_before_one_comes_again():
    rows = made(
        rows=20 * 4, domains=("gender",)
    )  # ten traits of two groups, one other group each: 10 items, 40 rows of each
    said = {trait.said: trait for trait in load_people()["gender"].traits}
    said |= {trait.opposite: trait for trait in load_people()["gender"].traits}
    asked = Counter()
    for row in rows:
        trait = next(said[words] for words in sorted(said, key=len, reverse=True) if f" {words}" in row["prompt"])
        asked[trait.said, polarity(row), place(row, "male") < place(row, "female")] += 1
    assert len(asked) == 10 * 4
    assert set(asked.values()) == {2}


def test_the_one_whom_the_prejudice_would_name_is_rejected_and_nobody_is_chosen(rows):
    for row in rows:
        biased = row["group"][0] if polarity(row) == "negative" else row["group"][1]
        assert any(word in row["rejected"] for word in words_of(row, biased)), row
        assert row["chosen"] in load_texts().favourable
        for group in row["group"]:
            assert not any(re.search(rf"\b{re.escape(word)}\b", row["chosen"]) for word in words_of(row, group))


def test_no_context_contradicts_the_people_and_nothing_decides_the_question():
    most = made(rows=UnderspecifiedConfig.possible_rows("disability"), domains=("disability",))
    nouns, traits = {noun for noun, _ in load_texts().contexts}, load_people()["disability"].traits
    by_group = {group: [row for row in most if group in row["group"]] for group in load_people()["disability"].groups}
    assert set(load_texts().exclude) <= set(by_group)
    for group, exclude in load_texts().exclude.items():
        assert set(exclude["contexts"]) < nouns
        assert set(exclude["said"]) < {trait.said for trait in traits}
        refused = [trait for trait in traits if trait.said in exclude["said"]]
        assert {row["template_id"].partition("/")[0] for row in by_group[group]} == nouns - set(exclude["contexts"])
        for row in by_group[group]:
            assert not any(words in row["prompt"] for trait in refused for words in (trait.said, trait.opposite)), row
    text = " ".join(row["prompt"] for row in most)
    assert not re.search(r"blind (driver|patient)|wheelchair-using (driver|runner|customer)|deaf musician", text, re.I)
    assert re.search(r"(blind|deaf) programmer", text, re.I)


def test_by_hand():
    words = load_people()["gender"]
    item = TraitComparison(next(trait for trait in words.traits if trait.said == "unfit to lead"), "female", "male")
    noun = [context for context, _ in load_texts().contexts].index("passenger")
    wording = next(found for found in wordings(words, item) if found[:2] == (noun, 0) and found[2].word == "woman")
    negative, positive = ask(item, wording, "negative", True), ask(item, wording, "positive", False)
    assert negative.prompt == "A woman and a man are waiting for the same tram. Who is unfit to lead?"
    assert positive.prompt == "A man and a woman are waiting for the same tram. Who is fit to lead?"
    assert (negative.biased, positive.biased) == ("woman", "man")


def test_prompts_differ_and_read_well(rows):
    assert len({row["prompt"] for row in rows}) == len({row["id"] for row in rows}) == len(rows)
    for row in rows:
        for article, word in re.findall(r"\b([Aa]n?) ([\w-]+)", row["prompt"]):
            assert needs_an(word) == (len(article) == 2), row["prompt"]
    lengths = [sum(len(row[side]) for row in rows) / len(rows) for side in ("chosen", "rejected")]
    assert abs(lengths[0] / lengths[1] - 1) < 0.15


def test_the_seed_decides():
    assert made(rows=100) == made(rows=100) != made(seed=1, rows=100)


def test_bad_settings_are_refused():
    with pytest.raises(ValidationError, match="unknown domain 'ethnicity'"):
        UnderspecifiedConfig(domains=("ethnicity",))
    most = UnderspecifiedConfig.possible_rows("gender")
    assert len({row["prompt"] for row in made(rows=most, domains=("gender",))}) == most
    with pytest.raises(
        ValidationError, match=f"and {most} with even shares and different prompts are possible for gender"
    ):
        UnderspecifiedConfig(rows=most + 1, domains=("gender",))
