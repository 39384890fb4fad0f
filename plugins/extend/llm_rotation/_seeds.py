"""Existing pairs by domain, the group each is about, and the words that tell whether a text is about a domain."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pipeline_core.augmentation.mentions import SLOTS
from pipeline_core.augmentation.terms import Vocabulary
from pipeline_core.augmentation.terms import VocabularyDomain as Listed
from pipeline_core.errors import BadInput

if TYPE_CHECKING:
    from datasets import Dataset

    from pipeline_core.plugin.context import Inputs

UNKNOWN = "unknown"
"""Licence of a pair that names none: silence would pass for freedom."""
PEOPLE = SLOTS | {"word"}
"""Slots of words that tell whom a text is about; the sandbox's words have one slot."""
COLUMNS = ("id", "prompt", "chosen", "rejected", "domain", "group")


@dataclass(frozen=True)
class PersonTerm:
    """A word or phrase for people of a group, and the group as rows name it."""

    word: str
    group: str


@dataclass(frozen=True)
class SeedPair:
    """An existing pair: prompt, favourable and unfavourable text, and whom it is about."""

    id: str
    texts: tuple[str, str, str]
    about: PersonTerm


@dataclass
class SeedDomain:
    """The pairs of one domain, and how its people are called: by the seeds' own group names and by a vocabulary."""

    name: str
    vocabulary: Vocabulary
    """Of this domain alone."""
    seeds: list[SeedPair] = field(default_factory=list)
    names: set[str] = field(default_factory=set)
    """Groups of the seeds that occur in their texts as they are called."""

    def find(self, texts: Iterable[str]) -> list[PersonTerm]:
        """Words for the domain's people in some texts: the seeds' names for them first, then the vocabulary's."""
        text = "\n".join(texts)
        named = [
            PersonTerm(match.group(), self._spelled[match.group(1).lower()]) for match in self._names.finditer(text)
        ]
        return [*named, *self._listed(text)]

    @property
    def has_words(self) -> bool:
        """Whether anything tells that a text is about it."""
        return bool(self.names or self.vocabulary.terms)

    @cached_property
    def people(self) -> list[PersonTerm]:
        """Every word that the seeds are about, once, in order."""
        return list({seed.about.word.lower(): seed.about for seed in self.seeds}.values())

    @cached_property
    def _spelled(self) -> Mapping[str, str]:
        return {name.lower(): name for name in sorted(self.names)}

    @cached_property
    def _names(self) -> re.Pattern[str]:
        longest_first = sorted(self._spelled, key=lambda name: (-len(name), name))
        alternatives = "|".join(map(re.escape, longest_first)) or r"(?!)"
        return re.compile(rf"(?<![\w-])({alternatives})(?:e?s)?(?![\w-])", re.IGNORECASE)

    def _listed(self, text: str) -> list[PersonTerm]:
        if not self.vocabulary.terms:
            return []
        found = [(match.group(), self.vocabulary.terms.get(match.group().lower(), ())) for match in
                 self.vocabulary.pattern.finditer(text)]  # fmt: skip
        return [PersonTerm(word, term.group) for word, terms in found for term in terms[:1]]


def domains_of(rows: Dataset, vocabulary: Vocabulary, wanted: Sequence[str] = ()) -> dict[str, SeedDomain]:
    """Pairs by domain (those `wanted`, else all), in alphabetical order; pairs that name none are left out.

    Raises:
        BadInput: no pair names a domain, or a wanted one has none.
    """
    table = [dict(zip(COLUMNS, row, strict=True)) for row in zip(*(rows[name] for name in COLUMNS), strict=True)]
    by_domain: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in table:
        by_domain[row["domain"]].append(row)
    by_domain.pop("", None)
    if not by_domain:
        raise BadInput(
            f"none of the {len(table)} pairs to start from names a domain: requests show pairs of one domain; "
            "set the column in the catalog entry (`columns: {domain: ...}` or `constants: {domain: ...}`)"
        )
    if absent := sorted(set(wanted) - by_domain.keys()):
        raise BadInput(
            f"domains: no pair to start from is about {', '.join(absent)}; known: {', '.join(sorted(by_domain))}"
        )
    return {name: _domain(name, by_domain[name], vocabulary) for name in sorted(wanted or by_domain)}


def check_words(domains: Mapping[str, SeedDomain], unchecked: Sequence[str]) -> None:
    """Refuse domains whose replies nothing can judge, unless they are listed.

    Raises:
        BadInput: a domain has no word for its people and is not `unchecked`, or an unchecked one is unknown.
    """
    if unknown := sorted(set(unchecked) - domains.keys()):
        raise BadInput(f"unchecked_domains: no such domain to extend: {', '.join(unknown)}")
    wordless = {name for name, domain in domains.items() if not domain.has_words}
    if unlisted := sorted(wordless - set(unchecked)):
        raise BadInput(
            f"nothing tells whether a reply is about {', '.join(unlisted)}: neither the vocabulary nor the groups of "
            "the given pairs have a word for its people; list it in `unchecked_domains` to accept any reply"
        )


def licences_of(inputs: Inputs) -> dict[str, str]:
    """Licence of every given pair by its id: the row's own, or its catalog entry's; `unknown` where none is told."""
    rows = inputs.preferences
    if "licence" in rows.column_names:
        return {id_: licence or UNKNOWN for id_, licence in zip(rows["id"], rows["licence"], strict=True)}
    whole = inputs.catalog.entry(inputs.data_ref.entry).licence if inputs.data_ref else ""
    return dict.fromkeys(rows["id"], whole or UNKNOWN)


def _domain(name: str, rows: Sequence[Mapping[str, Any]], vocabulary: Vocabulary) -> SeedDomain:
    own = {name: _words_for_people(vocabulary.domains[name])} if name in vocabulary.domains else {}
    domain = SeedDomain(name, Vocabulary(own, vocabulary.person_words))
    for row in rows:
        text = "\n".join(_texts(row)).lower()
        domain.names |= {group for group in row["group"] if re.search(rf"(?<![\w-]){re.escape(group.lower())}", text)}
    domain.seeds = [SeedPair(row["id"], _texts(row), _about(domain, row)) for row in rows]
    return domain


def _words_for_people(listed: Listed) -> Listed:
    groups = {
        group: {slot: words for slot, words in slots.items() if slot in PEOPLE}
        for group, slots in listed.groups.items()
    }
    return Listed(listed.name, groups, listed.parallel)


def _texts(row: Mapping[str, Any]) -> tuple[str, str, str]:
    return row["prompt"], row["chosen"], row["rejected"]


def _about(domain: SeedDomain, row: Mapping[str, Any]) -> PersonTerm:
    """The word for the row's own group where its texts hold one, else another of the domain, else a name."""
    found = domain.find(_texts(row))
    own = [about for about in found if about.group in row["group"]]
    if own:
        return PersonTerm(own[0].group, own[0].group) if own[0].group in domain.names else own[0]
    group = row["group"][0] if row["group"] else ""
    return found[0] if found else PersonTerm(group or domain.name.replace("_", " "), group)
