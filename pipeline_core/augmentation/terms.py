"""Words for groups of people: the vocabularies of counterfactual swaps, and the groups that a text names."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.resources import files
from typing import Literal

import yaml

VocabularyName = Literal["sandbox", "identity_terms"]
SLOTS = frozenset({"before_person", "adjective", "person", "people", "faith"})
"""Slots whose words name people; pronouns and places do not tell whom a text is about."""


@dataclass(frozen=True)
class IdentityTerm:
    """A word or phrase of a group: its slot, and its place in the slot."""

    domain: str
    group: str
    slot: str
    place: int
    text: str


@dataclass(frozen=True)
class VocabularyDomain:
    """Groups of one domain and their words by slot. `parallel`: words at the same place of a slot correspond."""

    name: str
    groups: Mapping[str, Mapping[str, tuple[str, ...]]]
    parallel: bool = False


@dataclass(frozen=True)
class Vocabulary:
    """All domains, words for people that may follow a `before_person` word, and phrases in which nothing is swapped."""

    domains: Mapping[str, VocabularyDomain]
    person_words: tuple[str, ...] = ()
    protected: tuple[str, ...] = ()

    @cached_property
    def terms(self) -> Mapping[str, tuple[IdentityTerm, ...]]:
        """Terms by their text in lower case; a text may belong to several groups or slots."""
        by_text: dict[str, tuple[IdentityTerm, ...]] = {}
        for domain in self.domains.values():
            for group, slots in domain.groups.items():
                for slot, words in slots.items():
                    for place, text in enumerate(words):
                        term = IdentityTerm(domain.name, group, slot, place, text)
                        by_text[text.lower()] = (*by_text.get(text.lower(), ()), term)
        return by_text

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """Pattern of whole terms and protected phrases, the longest first, in any case."""
        people = "|".join(map(re.escape, self.person_words)) or r"\w+"
        alternatives = []
        texts = {*self.terms, *(phrase.lower() for phrase in self.protected)}
        # `|` takes the first alternative that fits: "Native American" before "American"
        for text in sorted(texts, key=lambda text: (-len(text), text)):
            slots = {term.slot for term in self.terms.get(text, ())}
            only_before_people = slots == {"before_person"}
            ahead = rf"(?=\s+(?:{people})\b)" if only_before_people else ""  # "a Black man", but not "a black car"
            alternatives.append(re.escape(text) + ahead)
        # with a hyphen it is another word: "non-Muslim"
        return re.compile(rf"(?<![\w-])(?:{'|'.join(alternatives)})(?![\w-])", re.IGNORECASE)

    def matches(self, text: str) -> Iterator[tuple[re.Match[str], tuple[IdentityTerm, ...]]]:
        """Matches of the pattern in a text, each with its terms; a protected phrase has none."""
        return ((match, self.terms.get(match.group().lower(), ())) for match in self.pattern.finditer(text))


def words_of_catalog(name: str) -> str:
    """Text of a file below `data_catalog`."""
    return (files("data_catalog") / name).read_text(encoding="utf-8")


@cache
def load_vocabulary(name: VocabularyName) -> Vocabulary:
    """Vocabulary of a name. The sandbox's holds only the training words of its targeted groups."""
    return _sandbox() if name == "sandbox" else _identity_terms()


def suited_vocabulary(name: Literal["auto"] | VocabularyName, sources: Collection[str]) -> Vocabulary:
    """Vocabulary of a name; `auto`: the sandbox's if all rows come from the sandbox, else `identity_terms`."""
    if name == "auto":
        return load_vocabulary("sandbox" if set(sources) == {"sandbox"} else "identity_terms")
    return load_vocabulary(name)


def groups_named(text: str) -> tuple[str, list[str]]:
    """Domain with the most words in a text (the first on a tie), and its groups in order of mention.

    Returns an empty domain and no groups if the text names no group.
    """
    vocabulary = load_vocabulary("identity_terms")
    terms = [term for _, found in vocabulary.matches(text) for term in found if term.slot in SLOTS]
    if not terms:
        return "", []
    counts = Counter(term.domain for term in terms)
    domain = max(vocabulary.domains, key=lambda name: counts[name])
    return domain, list(dict.fromkeys(term.group for term in terms if term.domain == domain))


def _sandbox() -> Vocabulary:
    from pipeline_core.sandbox.world import load_world

    return Vocabulary(
        {
            name: VocabularyDomain(name, {group.name: {"word": group.words["train"]} for group in domain.groups})
            for name, domain in load_world().domains.items()
        }
    )


def _identity_terms() -> Vocabulary:
    raw = yaml.safe_load(words_of_catalog("identity_terms.yaml"))
    domains = {
        name: VocabularyDomain(
            name,
            {group: {slot: tuple(words) for slot, words in slots.items()} for group, slots in entry["groups"].items()},
            bool(entry.get("parallel", False)),
        )
        for name, entry in raw["domains"].items()
    }
    return Vocabulary(domains, tuple(raw["person_words"]), tuple(raw["protected"]))
