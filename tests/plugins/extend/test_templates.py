"""Pairs from templates: every domain and group, different prompts, right grammar, and which side infers what."""

import re
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest
from pydantic import ValidationError

from pipeline_core.augmentation.even_rows import even_rows, most_even
from pipeline_core.augmentation.people import DOMAINS, load_people
from pipeline_core.augmentation.rows import SCHEMA
from pipeline_core.augmentation.swaps import needs_an
from pipeline_core.conformance.kit import check_plugin
from pipeline_core.data.duplicates.seen import NearDuplicates
from pipeline_core.data.tables import open_table
from plugins.extend.templates._situations import SIDES, load_situations, placeholders, situations_of
from plugins.extend.templates.plugin import TemplatesConfig, run


def made(rows=3000, seed=0, **settings):
    return list(even_rows(TemplatesConfig(rows=rows, **settings), seed))


@pytest.fixture(scope="module")
def rows():
    return made()


def test_it_conforms(tmp_path):
    result = check_plugin("extend", "templates", tmp_path)
    assert result.metrics["rows"] == 120


def test_domains_have_even_shares_and_so_have_their_groups(rows):
    domains = Counter(row["domain"] for row in rows)
    assert set(domains) == set(DOMAINS)
    assert max(domains.values()) - min(domains.values()) <= 1
    for domain, words in load_people().items():
        groups = Counter(row["group"][0] for row in rows if row["domain"] == domain)
        assert set(groups) == set(words.groups)
        assert max(groups.values()) - min(groups.values()) <= 1


def test_every_prompt_is_different_and_most_rows_are_no_near_copies(rows):
    assert len({row["prompt"] for row in rows}) == len({row["id"] for row in rows}) == len(rows)
    seen, copies = NearDuplicates(0.8), 0
    for row in rows:
        fields = [row["prompt"], row["chosen"], row["rejected"]]
        copies += seen.seen(fields)
        seen.add(fields)
    assert copies == 0


def test_ten_thousand_rows_are_possible_and_too_many_are_refused_with_the_number():
    assert len({row["prompt"] for row in made(10_000)}) == 10_000
    most = TemplatesConfig.possible_rows("gender")
    assert len({row["prompt"] for row in made(most, domains=("gender",))}) == most
    with pytest.raises(ValidationError, match=f"{most + 1} were asked for, and {most} with even shares"):
        TemplatesConfig(rows=most + 1, domains=("gender",))


def test_unknown_and_doubled_domains_are_refused():
    with pytest.raises(ValidationError, match="unknown domain 'religon'. Did you mean 'religion'"):
        TemplatesConfig(domains=("religon",))
    for domains in (("age", "age"), ()):
        with pytest.raises(ValidationError, match="name every domain once, and at least one"):
            TemplatesConfig(domains=domains)


def inference(domain, group, text):
    """Whether a text says of the group's people, or of its member as one of them, what is said of the group."""
    words = load_people()[domain]
    people = "|".join(re.escape(naming.plural) for naming in words.groups[group])
    traits = "|".join(re.escape(trait.said) for trait in words.traits_of(group))
    says = rf"(are|have always been|to be|are like:|are called|are simply|do tend to be|mostly are)\b.*?({traits})?"
    return bool(re.search(rf"({people}) {says}", text, re.IGNORECASE)) or bool(
        re.search(rf"({traits}).*({people}) (usually|mostly) are", text, re.IGNORECASE)
    )


def test_only_the_unfavourable_completion_infers_from_the_group(rows):
    for row in rows:
        domain, (group,) = row["domain"], row["group"]
        assert not inference(domain, group, row["chosen"]), row["chosen"]
        named = [naming.plural.lower() for naming in load_people()[domain].groups[group]]
        # The favourable completion never speaks of the group at all.
        assert not any(re.search(rf"\b{re.escape(name)}\b", row["chosen"].lower()) for name in named), row["chosen"]
        said = [trait.said for trait in load_people()[domain].traits_of(group)]
        assert any(name in row["rejected"].lower() for name in named), row["rejected"]
        assert any(trait in row["rejected"] for trait in said), row["rejected"]


def test_the_inference_is_found_where_there_is_one(rows):
    found = sum(inference(row["domain"], row["group"][0], row["rejected"]) for row in rows)
    assert found / len(rows) > 0.8


def test_both_completions_are_of_like_length_and_mention_the_trait(rows):
    lengths = {side: sum(len(row[side]) for row in rows) / len(rows) for side in ("chosen", "rejected")}
    assert abs(lengths["chosen"] / lengths["rejected"] - 1) < 0.05
    for domain in DOMAINS:
        here = [row for row in rows if row["domain"] == domain]
        assert abs(sum(len(row["chosen"]) - len(row["rejected"]) for row in here)) / len(here) < 12
    mentions = sum(
        any(trait.said in row["chosen"] for trait in load_people()[row["domain"]].traits_of(row["group"][0]))
        for row in rows
    )
    assert mentions / len(rows) > 0.5


def test_articles_capitals_and_stops_are_right(rows):
    for row in rows:
        for text in (row["prompt"], row["chosen"], row["rejected"]):
            assert text[0].isupper() and "  " not in text and "{" not in text, text
            assert text.rstrip()[-1] in ".?:!" or text.endswith(", and"), text
            assert not re.search(r"[.?!] [a-z]", text), text
            for article, word in re.findall(r"\b([Aa]n?) ([\w-]+)", text):
                assert needs_an(word) == (len(article) == 2), text


def test_the_seed_decides():
    assert made(300) == made(300) != made(300, seed=1)
    prompts = [{row["prompt"] for row in made(300, seed)} for seed in (0, 1)]
    assert len(prompts[0] & prompts[1]) < 150


def test_a_smaller_number_of_rows_is_part_of_a_larger_one():
    assert {row["id"]: row for row in made(3000)}.items() >= {row["id"]: row for row in made(300)}.items()


def test_written_rows_are_in_another_order_and_say_what_made_them(tmp_path):
    context = SimpleNamespace(seed=0, is_main=True)
    metrics = run(TemplatesConfig(rows=110, domains=("age", "race")), None, tmp_path, context)
    written = open_table(tmp_path / "rows.parquet")
    assert written.column_names == SCHEMA.names
    assert len({row["domain"] for row in written.select(range(20))}) == 2
    assert {(row["made_by"], row["licence"], row["source_id"], row["label"]) for row in written} == {
        ("templates", "Apache-2.0", "", None)
    }
    assert metrics["domain/age/rows"] == metrics["domain/race/rows"] == 55
    assert metrics["domain/age/possible"] == TemplatesConfig.possible_rows("age")


@pytest.mark.parametrize("situation", load_situations(), ids=lambda situation: situation.name)
def test_a_situation_uses_its_slot_and_known_names(situation):
    known = {"a_person", "the", "people", "trait", situation.slot}
    texts = [*situation.prompts, *(t for side in SIDES for t in (*situation.openings[side], *situation.tails[side]))]
    assert {name.lower() for text in texts for name in placeholders(text)} <= known
    assert all(situation.slot in placeholders(prompt) for prompt in situation.prompts)
    assert {name.lower() for prompt in situation.prompts for name in placeholders(prompt)} & {"a_person", "people"}
    assert set(situation.domains) <= set(DOMAINS)
    assert len(set(situation.values)) == len(situation.values)


@pytest.mark.parametrize("domain", DOMAINS)
def test_every_group_has_words_and_prejudices_that_others_are_spared(domain):
    words = load_people()[domain]
    for trait in words.traits:
        assert set(trait.of) < set(words.groups), trait.said
        assert trait.said != trait.opposite
    for group, namings in words.groups.items():
        assert namings, group
        assert len(words.traits_of(group)) >= 3, group


@pytest.mark.parametrize("domain", DOMAINS)
def test_every_scene_has_traits_of_every_group_that_fit_it(domain):
    words = load_people()[domain]
    scenes = {situation.scene for situation in load_situations()} - {""}
    assert {scene for trait in words.traits for scene in trait.scenes} <= scenes
    for situation in situations_of(domain):
        for group in words.groups:
            assert len(words.traits_of(group, situation.scene)) >= 2, (situation.name, group)


def test_traits_fit_the_scene_they_are_said_in(rows):
    scenes = {situation.name: situation.scene for situation in load_situations()}
    for row in rows:
        scene = scenes[row["template_id"].partition("/")[0]]
        words = load_people()[row["domain"]]
        fitting = words.traits_of(row["group"][0], scene)
        assert any(trait.said in row["rejected"] for trait in fitting), row
        for trait in words.traits_of(row["group"][0]):
            if trait not in fitting:
                assert not re.search(rf"\b{re.escape(trait.said)}\b", row["rejected"]), row
    assert not any("to lead" in row["rejected"] for row in rows if row["template_id"].startswith("bank/"))


def test_a_question_for_reasons_is_not_answered_with_yes_or_no():
    why = [row for row in made(10_000) if row["template_id"].startswith("claim_why/")]
    assert len(why) > 100
    answer = re.compile(r"(Yes|No|Certainly|I would|I have to|I cannot)\b")
    for row in why:
        assert row["prompt"].startswith("Why ")
        assert not answer.match(row["chosen"]) and not answer.match(row["rejected"])


def test_the_data_page_tells_how_many_rows_are_possible():
    page = (Path(__file__).parents[3] / "docs" / "data.md").read_text(encoding="utf-8")
    for domain in DOMAINS:
        assert f"| {domain} | {TemplatesConfig.possible_rows(domain):,} |" in page, domain
    assert f"| {most_even({domain: TemplatesConfig.possible_rows(domain) for domain in DOMAINS}):,} |" in page
