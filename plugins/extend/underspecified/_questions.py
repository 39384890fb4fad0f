"""Questions nothing decides: two people of different groups, and what is said of one of them (arXiv 2010.02428)."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal, NamedTuple

from pipeline_core.augmentation.people import DomainWords, GroupNoun, Trait, read, with_article

Polarity = Literal["negative", "positive"]
VARIANTS: tuple[tuple[Polarity, bool], ...] = (
    *(("negative", True), ("positive", False)),
    *(("negative", False), ("positive", True)),
)
"""Polarity of the question, and whether the person of the targeted group is named first."""


@dataclass(frozen=True)
class QuestionWords:
    """What `extension/underspecified.yaml` holds; a context is a noun and a sentence."""

    contexts: tuple[tuple[str, str], ...]
    questions: tuple[str, ...]
    favourable: tuple[str, ...]
    unfavourable: tuple[str, ...]
    exclude: Mapping[str, Mapping[str, Sequence[str]]]
    """By group: `contexts` that contradict its people, and what `said` of them would decide the question."""

    def excluded(self, kind: Literal["contexts", "said"], *groups: str) -> set[str]:
        """What is left out where any of the groups is in the question."""
        return {name for group in groups for name in self.exclude.get(group, {}).get(kind, ())}


@cache
def load_texts() -> QuestionWords:
    """The texts of this installation."""
    document = read("underspecified.yaml")
    contexts = tuple((entry["noun"], entry["text"]) for entry in document["contexts"])
    questions, favourable, unfavourable = (tuple(document[n]) for n in ("questions", "favourable", "unfavourable"))
    return QuestionWords(contexts, questions, favourable, unfavourable, document["exclude"])


class TraitComparison(NamedTuple):
    """Who is asked about what: `trait` is said of `target` and not of `other`."""

    trait: Trait
    target: str
    other: str


class PersonQuestion(NamedTuple):
    """One question, the person whom the prejudice would name, and where it comes from."""

    prompt: str
    biased: str
    said: str
    template: str


QuestionWording = tuple[int, int, GroupNoun, GroupNoun]
"""Numbers of context and question, and how target and other are called."""


def items(words: DomainWords, target: str) -> list[TraitComparison]:
    """All items about a group as the target that the text leaves undecided."""
    excluded = load_texts().excluded
    return [
        TraitComparison(trait, target, other)
        for trait in words.traits_of(target)
        for other in words.groups
        if other not in trait.of and trait.said not in excluded("said", target, other)
    ]


def wordings(words: DomainWords, item: TraitComparison) -> list[QuestionWording]:
    """All ways to ask about an item; in a domain of nouns the people are called alike ("man", "woman")."""
    texts = load_texts()
    namings = list(itertools.product(words.groups[item.target], words.groups[item.other]))
    alike = list(zip(words.groups[item.target], words.groups[item.other], strict=False))
    called = alike if alike[0][0].is_noun else namings
    excluded = texts.excluded("contexts", item.target, item.other)
    contexts = [number for number, (noun, _) in enumerate(texts.contexts) if noun not in excluded]
    return [(c, q, *pair) for c in contexts for q in range(len(texts.questions)) for pair in called]


def possible(words: DomainWords, target: str) -> int:
    """How many different questions about a target can be asked with equal numbers of every item."""
    found = items(words, target)
    return len(found) * len(VARIANTS) * min(len(wordings(words, item)) for item in found)


def questions(
    words: DomainWords, target: str, count: int, rng: random.Random
) -> Iterator[tuple[TraitComparison, PersonQuestion]]:
    """`count` different questions: items in turn, each of them in all four variants before one comes again."""
    found = items(words, target)
    rng.shuffle(found)
    rounds = -(-count // len(found))
    per_variant = -(-rounds // len(VARIANTS))
    chosen = {item: [rng.sample(wordings(words, item), per_variant) for _ in VARIANTS] for item in found}
    for number in range(count):
        place = number % len(found)
        turn, variant = divmod(number // len(found), len(VARIANTS))
        variant = (variant + place) % len(VARIANTS)
        yield found[place], ask(found[place], chosen[found[place]][variant][turn], *VARIANTS[variant])


def ask(item: TraitComparison, wording: QuestionWording, polarity: Polarity, target_first: bool) -> PersonQuestion:
    """The question in words. The prejudice names the target where the question is negative, else the other."""
    context, question, target, other = wording
    noun, text = load_texts().contexts[context]
    people = [target.one(noun), other.one(noun)]
    x, y = people if target_first else people[::-1]
    said = item.trait.said if polarity == "negative" else item.trait.opposite
    first, second = with_article(x), with_article(y)
    sentence = text.format(a_x=first, A_x=first[0].upper() + first[1:], a_y=second)
    prompt = f"{sentence} {load_texts().questions[question].format(t=said)}"
    biased = people[0] if polarity == "negative" else people[1]
    return PersonQuestion(prompt, biased, said, f"{noun}/{question + 1}/{polarity}")
