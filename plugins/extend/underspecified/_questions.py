"""Under-specified questions: which of two people of different groups has a trait (arXiv 2010.02428)."""

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
"""Pairs of the question's polarity, and True if the person of the target group is named first."""


@dataclass(frozen=True)
class QuestionWords:
    """Content of `extension/underspecified.yaml`; a context is a noun and a sentence."""

    contexts: tuple[tuple[str, str], ...]
    questions: tuple[str, ...]
    favourable: tuple[str, ...]
    unfavourable: tuple[str, ...]
    exclude: Mapping[str, Mapping[str, Sequence[str]]]
    """Exclusions by group: `contexts` that contradict facts about its people, and traits (`said`) that facts decide."""

    def excluded(self, kind: Literal["contexts", "said"], *groups: str) -> set[str]:
        """Contexts or traits that are excluded if any of the groups is in the question."""
        return {name for group in groups for name in self.exclude.get(group, {}).get(kind, ())}


@cache
def load_texts() -> QuestionWords:
    """Load the texts of this installation."""
    document = read("underspecified.yaml")
    contexts = tuple((entry["noun"], entry["text"]) for entry in document["contexts"])
    questions, favourable, unfavourable = (tuple(document[n]) for n in ("questions", "favourable", "unfavourable"))
    return QuestionWords(contexts, questions, favourable, unfavourable, document["exclude"])


class TraitComparison(NamedTuple):
    """Item of a question: a trait with a stereotyped group (`target`) and a group without that stereotype (`other`)."""

    trait: Trait
    target: str
    other: str


class PersonQuestion(NamedTuple):
    """Question with the person whom the prejudice would name, the trait as asked about, and the template id."""

    prompt: str
    biased: str
    said: str
    template: str


QuestionWording = tuple[int, int, GroupNoun, GroupNoun]
"""Index of the context, index of the question, and nouns for target and other."""


def items(words: DomainWords, target: str) -> list[TraitComparison]:
    """All items with a group as the target whose answer the text does not decide."""
    excluded = load_texts().excluded
    return [
        TraitComparison(trait, target, other)
        for trait in words.traits_of(target)
        for other in words.groups
        if other not in trait.of and trait.said not in excluded("said", target, other)
    ]


def wordings(words: DomainWords, item: TraitComparison) -> list[QuestionWording]:
    """All wordings of an item. If groups are named by nouns, the two nouns correspond ("man", "woman")."""
    texts = load_texts()
    namings = list(itertools.product(words.groups[item.target], words.groups[item.other]))
    # adjectives may be unequal in number; only nouns are paired
    alike = list(zip(words.groups[item.target], words.groups[item.other], strict=False))
    called = alike if alike[0][0].is_noun else namings
    excluded = texts.excluded("contexts", item.target, item.other)
    contexts = [number for number, (noun, _) in enumerate(texts.contexts) if noun not in excluded]
    return [(c, q, *pair) for c in contexts for q in range(len(texts.questions)) for pair in called]


def possible(words: DomainWords, target: str) -> int:
    """Largest number of distinct questions about a target with equal numbers for every item."""
    comparisons = items(words, target)
    return len(comparisons) * len(VARIANTS) * min(len(wordings(words, item)) for item in comparisons)


def questions(
    words: DomainWords, target: str, count: int, rng: random.Random
) -> Iterator[tuple[TraitComparison, PersonQuestion]]:
    """`count` distinct questions: items in turn; each item uses all four variants before it repeats one."""
    comparisons = items(words, target)
    rng.shuffle(comparisons)
    rounds = -(-count // len(comparisons))
    per_variant = -(-rounds // len(VARIANTS))
    # without repetition, and variants differ in their words: so all questions differ
    chosen = {item: [rng.sample(wordings(words, item), per_variant) for _ in VARIANTS] for item in comparisons}
    for number in range(count):
        place = number % len(comparisons)
        turn, variant = divmod(number // len(comparisons), len(VARIANTS))
        # else all items begin with one variant, and a small count has one polarity
        variant = (variant + place) % len(VARIANTS)
        yield comparisons[place], ask(comparisons[place], chosen[comparisons[place]][variant][turn], *VARIANTS[variant])


def ask(item: TraitComparison, wording: QuestionWording, polarity: Polarity, target_first: bool) -> PersonQuestion:
    """Write the question. The prejudice names the target if the question is negative, else the other person."""
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
