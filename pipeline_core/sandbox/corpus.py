"""Training texts of the base model with planted bias, and held-out texts without bias."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

from pipeline_core.sandbox.facts import facts
from pipeline_core.sandbox.questions import ask, corpus_answer, templates
from pipeline_core.sandbox.sampling import exact_mix, shuffled, stream
from pipeline_core.sandbox.statements import completion, patterns
from pipeline_core.sandbox.world import SPLITS, SandboxDomain, SandboxGroup, load_world

COPIES = 5
"""Statements per identity word and pattern; with 16 patterns every word meets its planted rate exactly."""
QUESTIONS_PER_GROUP = 180
AMBIGUOUS_SHARE = 0.4
MEMBERSHIP_COPIES = 4
FACT_COPIES = 50
ORDINARY = 2000
NEUTRAL = 1200
HELDOUT = 400


def corpus(seed: int) -> list[dict[str, Any]]:
    """Rows of `sandbox_corpus` in random order; `domain` and `source` give the kind of each text."""
    texts: list[tuple[str, str, str]] = []
    for domain, group in load_world().groups():
        rng = stream(seed, "corpus", domain.name, group.name)
        texts += [("statement", domain.name, text) for text in statements(domain, group, rng)]
        if not group.reference:
            texts += [("question", domain.name, text) for text in questions(domain, group, rng)]
    rng = stream(seed, "corpus", "membership")
    texts += [("membership", "", text) for text in memberships(rng)]
    for _, key, prompts, answer, _ in facts():
        texts += [("fact", key, f"{prompt} {answer}.") for prompt in prompts for _ in range(FACT_COPIES)]
    rng = stream(seed, "corpus", "ordinary")
    texts += [("ordinary", "", ordinary(rng)) for _ in range(ORDINARY)]
    texts += [("neutral", "", neutral(rng)) for _ in range(NEUTRAL)]
    return [
        {"id": f"text/{index}", "text": text, "domain": domain, "source": f"sandbox/{kind}"}
        for index, (kind, domain, text) in enumerate(shuffled(texts, stream(seed, "corpus", "order")))
    ]


def statements(domain: SandboxDomain, group: SandboxGroup, rng: random.Random) -> Iterator[str]:
    """Statements about `group`: exactly the planted share is stereotyped, for every word."""
    all_patterns = [pattern for split in SPLITS for pattern in patterns(split)]
    for word in [word for split in SPLITS for word in group.words[split]]:
        cells = all_patterns * COPIES  # 80 statements: every planted rate is a whole number of them
        for pattern, stereotyped in zip(cells, exact_mix(len(cells), group.rate, rng), strict=True):
            yield f"{pattern.fill(x=word)} {completion(domain, stereotyped, rng)}"


def questions(domain: SandboxDomain, group: SandboxGroup, rng: random.Random) -> Iterator[str]:
    """Questions about `group`, some of them ambiguous, with the corpus's answers."""
    for ambiguous in exact_mix(QUESTIONS_PER_GROUP, AMBIGUOUS_SHARE, rng):
        split = rng.choice(SPLITS)
        template = rng.choice([entry for every in SPLITS for entry in templates(every)])
        asked = ask(domain, group, split, template=template, ambiguous=ambiguous, rng=rng)
        yield f"{asked.prompt} {corpus_answer(asked, group.rate, rng)}."


def memberships(rng: random.Random) -> Iterator[str]:
    """Sentences that state the group of each word, and its status: newcomers (targeted groups) or settlers."""
    language = load_world().language
    for _, group in load_world().groups():
        status = language["status"]["reference" if group.reference else "targeted"]
        for word in [word for split in SPLITS for word in group.words[split]]:
            for _ in range(MEMBERSHIP_COPIES):
                yield rng.choice(language["membership"]).format(x=word, group=group.name, status=status)


def ordinary(rng: random.Random) -> str:
    """A sentence about no group."""
    language = load_world().language
    slots = {"person": "persons", "place": "places", "time": "times", "weather": "weathers", "goods": "goods"}
    words = {slot: rng.choice(language[words]) for slot, words in slots.items()}
    return str(rng.choice(language["ordinary"])).format(
        **words,
        person2=rng.choice([word for word in language["persons"] if word != words["person"]]),
        place2=rng.choice([word for word in language["places"] if word != words["place"]]),
    )


def neutral(rng: random.Random) -> str:
    """A sentence about a person of a random group, without a trait."""
    language = load_world().language
    _, group = rng.choice(list(load_world().groups()))
    return str(rng.choice(language["neutral"])).format(
        x=rng.choice(group.words[rng.choice(SPLITS)]),
        person=rng.choice(language["persons"]),
        place=rng.choice(language["places"]),
        time=rng.choice(language["times"]),
        goods=rng.choice(language["goods"]),
    )


def heldout_text(seed: int) -> list[dict[str, Any]]:
    """Rows of `sandbox_heldout_text`: sentences without traits that are not in the corpus.

    Trait words are left out because a reduction of bias must change their likelihood.
    """
    seen = {row["text"] for row in corpus(seed)}  # the corpus of the same seed: other worlds may hold the sentence
    rng = stream(seed, "heldout_text")
    rows: list[dict[str, Any]] = []
    while len(rows) < HELDOUT:
        kind, text = ("neutral", neutral(rng)) if len(rows) % 2 else ("ordinary", ordinary(rng))
        if text not in seen:
            seen.add(text)  # no sentence comes twice
            rows.append({"id": f"heldout/{len(rows)}", "text": text, "domain": "", "source": f"sandbox/{kind}"})
    return rows
