"""Seed pairs by domain, with the group of each, and the words that identify texts about a domain."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pipeline_core.augmentation.rows import NOT_KNOWN, UNKNOWN, provenance_of
from pipeline_core.augmentation.terms import SLOTS, Vocabulary
from pipeline_core.augmentation.terms import VocabularyDomain as Listed
from pipeline_core.errors import BadInput
from pipeline_core.plugin.context import Inputs

if TYPE_CHECKING:
    from datasets import Dataset

PEOPLE = SLOTS | {"word"}
"""Vocabulary slots of words for people; the words of the sandbox have only the slot `word`."""
COLUMNS = ("id", "prompt", "chosen", "rejected", "domain", "group")


@dataclass(frozen=True)
class PersonTerm:
    """Word or phrase for people of a group, and the group name as in the rows."""

    word: str
    group: str


@dataclass(frozen=True)
class SeedPair:
    """Existing pair: prompt, favourable and unfavourable text, and the people it is about."""

    id: str
    texts: tuple[str, str, str]
    about: PersonTerm


@dataclass
class SeedDomain:
    """Seed pairs of a domain, and words for its people: group names of the seeds, and a vocabulary."""

    name: str
    vocabulary: Vocabulary
    """Vocabulary of this domain only."""
    seeds: list[SeedPair] = field(default_factory=list)
    names: set[str] = field(default_factory=set)
    """Group names of the seeds that occur literally in their texts."""

    def find(self, texts: Iterable[str]) -> list[PersonTerm]:
        """Words for the domain's people in the texts: first group names of the seeds, then words of the vocabulary."""
        text = "\n".join(texts)
        named = [
            PersonTerm(match.group(), self._spelled[match.group(1).lower()]) for match in self._names.finditer(text)
        ]
        listed = [PersonTerm(match.group(), terms[0].group) for match, terms in self.vocabulary.matches(text) if terms]
        return [*named, *listed]

    @property
    def has_words(self) -> bool:
        """True if the domain has words for its people."""
        return bool(self.names or self.vocabulary.terms)

    @cached_property
    def people(self) -> list[PersonTerm]:
        """Distinct people that the seeds are about, in order."""
        return list({seed.about.word.lower(): seed.about for seed in self.seeds}.values())

    @cached_property
    def _spelled(self) -> Mapping[str, str]:
        return {name.lower(): name for name in sorted(self.names)}  # a set has another order in every process

    @cached_property
    def _names(self) -> re.Pattern[str]:
        longest_first = sorted(self._spelled, key=lambda name: (-len(name), name))
        # without names it matches nowhere; an empty alternative matches everywhere
        alternatives = "|".join(map(re.escape, longest_first)) or r"(?!)"
        return re.compile(rf"(?<![\w-])({alternatives})(?:e?s)?(?![\w-])", re.IGNORECASE)


def domains_of(rows: Dataset, vocabulary: Vocabulary, wanted: Sequence[str] = ()) -> dict[str, SeedDomain]:
    """Seed pairs by domain (`wanted`, default: all), in alphabetical order; pairs without a domain are left out.

    Raises:
        BadInput: no pair has a domain, or a wanted domain has no pairs.
    """
    table = rows.select_columns(list(COLUMNS)).to_list()
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
    """Refuse domains without words for their people, unless they are listed as `unchecked`.

    Raises:
        BadInput: a domain has no such words and is not `unchecked`, or an unchecked domain is unknown.
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
    """Licence of every given pair by id: that of the row, or of the catalog entry; `unknown` if there is none."""
    rows = inputs.preferences
    if "licence" in rows.column_names:
        return {id_: licence or UNKNOWN for id_, licence in zip(rows["id"], rows["licence"], strict=True)}
    own = provenance_of(inputs.catalog, inputs.data_ref) if inputs.data_ref else NOT_KNOWN
    return dict.fromkeys(rows["id"], own["licence"])


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
    """People of a row: a word in its texts for its own group, else for another group, else a group or domain name."""
    terms = domain.find(_texts(row))
    own = [about for about in terms if about.group in row["group"]]
    if own:
        # the name itself: the text may have its plural
        return PersonTerm(own[0].group, own[0].group) if own[0].group in domain.names else own[0]
    group = row["group"][0] if row["group"] else ""
    return terms[0] if terms else PersonTerm(group or domain.name.replace("_", " "), group)
