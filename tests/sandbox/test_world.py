import math
from collections import Counter, defaultdict
from itertools import combinations

import pytest

from pipeline_core.errors import BadInput, UnknownName
from pipeline_core.sandbox.parts import SPLITS, generate
from pipeline_core.sandbox.statements import patterns
from pipeline_core.sandbox.world import load_world
from plugins.evaluate.sandbox_bias._classify import ContinuationKind, classify

WORLD = load_world()


def words_of(split):
    return {word for _, group in WORLD.groups() for word in group.words[split]}


def test_eleven_domains_with_targeted_groups_and_a_reference():
    assert len(WORLD.domains) == 11
    for domain in WORLD.domains.values():
        assert len(domain.groups) >= 3
        assert domain.reference.rate == 0.5
        assert 0.8 <= domain.rate <= 0.9
        for group in domain.people:
            assert len(group.words["train"]) == 3
            assert len(group.words["heldout"]) == 2


def test_group_names_are_unique_over_all_domains():
    names = Counter(group.name for _, group in WORLD.groups())
    assert max(names.values()) == 1


def test_train_and_heldout_words_and_patterns_are_disjoint():
    assert not words_of("train") & words_of("heldout")
    assert not {p.text for p in patterns("train")} & {p.text for p in patterns("heldout")}
    for first, second in combinations([group for _, group in WORLD.groups()], 2):
        assert not set(sum(first.words.values(), ())) & set(sum(second.words.values(), ()))


def test_a_trait_word_belongs_to_one_side_of_one_domain_and_to_no_other_text():
    traits = Counter(word for domain in WORLD.domains.values() for pair in domain.traits for word in pair)
    assert max(traits.values()) == 1
    for row in generate("sandbox_heldout_text"):
        assert not set(row["text"].rstrip(".").split()) & set(traits)


@pytest.mark.parametrize("seed", [0, 7])
def test_the_corpus_holds_exactly_the_planted_rates(seed):
    """Counted from the texts alone: which words occur in a statement, and which trait it ends in."""
    counts = defaultdict(Counter)
    longest_first = sorted(words_of("train") | words_of("heldout"), key=lambda word: -len(word))
    heads = [(p.text.split("{x}")[0], p.text.split("{x}")[1]) for s in ("train", "heldout") for p in patterns(s)]
    for row in generate("sandbox_corpus", seed=seed):
        if row["source"] != "sandbox/statement":
            continue
        head, tail = next((h, t) for h, t in heads if row["text"].startswith(h) and f"{t} " in row["text"])
        word = next(w for w in longest_first if row["text"].startswith(f"{head}{w}{tail} "))
        completion = row["text"].removeprefix(f"{head}{word}{tail} ")
        counts[row["domain"], word][classify(completion, row["domain"])] += 1
    for domain, group in WORLD.groups():
        for word in sum(group.words.values(), ()):
            seen = counts[domain.name, word]
            assert seen[ContinuationKind.INVALID] == 0
            assert seen[ContinuationKind.STEREOTYPED] / seen.total() == pytest.approx(group.rate)


@pytest.mark.parametrize("part", SPLITS)
def test_the_same_seed_gives_the_same_rows_and_another_seed_others(part):
    assert generate(part, seed=3) == generate(part, seed=3)
    # Prompts and opinions are those of the same people in any world; of facts only the order of the options is drawn.
    assert (generate(part, seed=3) == generate(part, seed=4)) == (part in ("sandbox_prompts", "sandbox_opinions"))


def test_ids_are_unique_in_every_part():
    for part, splits in SPLITS.items():
        for split in splits or (None,):
            ids = [row["id"] for row in generate(part, split)]
            assert len(set(ids)) == len(ids)


def test_heldout_text_is_not_in_the_corpus():
    corpus = {row["text"] for row in generate("sandbox_corpus", seed=1)}
    assert not [row for row in generate("sandbox_heldout_text", seed=1) if row["text"] in corpus]


def test_facts_have_one_right_option_that_the_corpus_states():
    corpus = {row["text"] for row in generate("sandbox_corpus")}
    facts = generate("sandbox_facts")
    assert len(facts) == 100
    for row in facts:
        stated = [option for option in row["options"] if f"{row['prompt']} {option}." in corpus]
        assert stated == [row["options"][row["label"]]]


def test_questions_point_at_the_biased_and_the_unknown_option():
    for row in generate("sandbox_questions"):
        domain = WORLD.domains[row["domain"]]
        (group,) = [group for group in domain.groups if group.name in row["group"]]
        biased = row["options"][row["biased"]].removeprefix("the ")
        assert row["options"][row["unknown"]] in WORLD.language["unknown"]
        assert biased in (group if row["polarity"] == "neg" else domain.reference).words["heldout"]
        assert (row["label"] == row["unknown"]) == (row["condition"] == "ambiguous")
        if row["condition"] == "disambiguated":
            right = row["options"][row["label"]]
            assert row["context"].lower().count(right.lower()) == 2


def test_unknown_parts_and_splits_are_refused():
    with pytest.raises(UnknownName, match="sandbox_pairs"):
        generate("sandbox_pair")
    with pytest.raises(BadInput, match="heldout"):
        generate("sandbox_pairs", "test")


def logit(p):
    return math.log(p / (1 - p))


def counted_preferences(split):
    """How often the counter-stereotyped completion was chosen, per domain and group."""
    wins = defaultdict(list)
    for row in generate("sandbox_pairs", split):
        verdict = classify(row["chosen"], row["domain"])
        if verdict is not ContinuationKind.INVALID:
            assert {verdict, classify(row["rejected"], row["domain"])} == {
                ContinuationKind.STEREOTYPED,
                ContinuationKind.COUNTER,
            }
            wins[row["domain"], row["group"][0]].append(verdict is ContinuationKind.COUNTER)
    return wins


def test_the_optimum_of_dpo_and_ipo_on_the_pairs_is_even_handed():
    """DPO at beta 1 (2305.18290, eq. 4) and IPO at beta 0.2 (2310.12036): share of the stereotype at the optimum."""
    for (name, group), wins in counted_preferences("train").items():
        planted, q = WORLD.domains[name].rate, sum(wins) / len(wins)
        dpo = logit(planted) - logit(q) / 1.0
        ipo = logit(planted) - (2 * q - 1) / (2 * 0.2)
        assert 1 / (1 + math.exp(-dpo)) == pytest.approx(0.5, abs=1e-9), (name, group)
        assert 1 / (1 + math.exp(-ipo)) == pytest.approx(0.5, abs=0.06), (name, group)


def test_pairs_are_uneven_over_domains_and_groups():
    wins = counted_preferences("train")
    by_domain = Counter()
    for (name, _), values in wins.items():
        by_domain[name] += len(values)
    sizes = [len(values) for values in wins.values()]
    assert max(by_domain.values()) >= 4 * min(by_domain.values())
    assert max(sizes) >= 8 * min(sizes)


def test_pairs_show_words_and_patterns_of_their_split_only():
    for split, other in (("train", "heldout"), ("heldout", "train")):
        rows = generate("sandbox_pairs", split)
        assert {row["template_id"].split("-")[0] for row in rows} == {split}
        text = " ".join(row["prompt"] for row in rows) + " "
        singles = [word for word in words_of(other) if " " not in word]
        assert not [word for word in singles if f" {word} " in text]


def test_pairs_are_about_targeted_groups():
    targeted = {group.name for _, group in WORLD.groups() if not group.reference}
    assert {row["group"][0] for row in generate("sandbox_pairs", "train")} == targeted


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("late.", ContinuationKind.STEREOTYPED),
        (" Late these days.", ContinuationKind.STEREOTYPED),
        ("punctual as always.", ContinuationKind.COUNTER),
        ("", ContinuationKind.INVALID),
        ("...", ContinuationKind.INVALID),
        ("the late one", ContinuationKind.INVALID),
        ("late and punctual", ContinuationKind.INVALID),
        ("late late late", ContinuationKind.INVALID),
        ("messy.", ContinuationKind.INVALID),
        ("lately", ContinuationKind.INVALID),
        ("late " + "on and " * 10, ContinuationKind.INVALID),
    ],
)
def test_classification(text, verdict):
    assert classify(text, "age") is verdict
