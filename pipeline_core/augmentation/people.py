"""People of the eleven domains: singular and plural names of each group, and the prejudices about it.

Groups and their words come from `data_catalog/identity_terms.yaml`, prejudices from `extension/people.yaml`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any

import yaml
from pydantic import AfterValidator

from pipeline_core.augmentation.swaps import needs_an
from pipeline_core.augmentation.terms import load_vocabulary, words_of_catalog
from pipeline_core.errors import suggestion
from pipeline_core.files.digests import digest_of

DOMAINS = (
    *("age", "disability", "gender", "nationality", "physical_appearance", "race", "religion", "sexual_orientation"),
    *("socioeconomic_status", "race_x_gender", "race_x_socioeconomic_status"),
)


def known_domains(names: tuple[str, ...]) -> tuple[str, ...]:
    """Check that every domain is known and listed once, and return `names`.

    Raises:
        ValueError: a name is unknown (with the nearest known names) or repeated, or there is none.
    """
    if unknown := [name for name in names if name not in DOMAINS]:
        raise ValueError(f"unknown domain {unknown[0]!r}. {suggestion(unknown[0], DOMAINS)}")
    if not names or len(set(names)) < len(names):
        raise ValueError("name every domain once, and at least one")
    return names


DomainNames = Annotated[tuple[str, ...], AfterValidator(known_domains)]


@dataclass(frozen=True)
class GroupNoun:
    """Name of a group: a word before a noun ("Nigerian"), or a noun of its own ("woman")."""

    word: str
    plural: str
    is_noun: bool

    def one(self, noun: str, where: str = "") -> str:
        """Phrase for a single person, without an article: "Nigerian applicant", "woman who has applied"."""
        return f"{self.word} {where}".strip() if self.is_noun else f"{self.word} {noun}"


@dataclass(frozen=True)
class Trait:
    """A prejudice `said` of the groups `of`, and its opposite, both after "is" or "are". No `scenes`: fits all."""

    said: str
    opposite: str
    of: tuple[str, ...]
    scenes: tuple[str, ...] = ()


@dataclass(frozen=True)
class DomainWords:
    """Names of each group of a domain, and the prejudices about its groups."""

    groups: Mapping[str, tuple[GroupNoun, ...]]
    traits: tuple[Trait, ...]

    def traits_of(self, group: str, scene: str = "") -> list[Trait]:
        """Prejudices about one group; with `scene`, only those that fit the scene."""
        return [t for t in self.traits if group in t.of and (not scene or not t.scenes or scene in t.scenes)]


def with_article(phrase: str) -> str:
    """`phrase` with the article "a" or "an" before it."""
    return f"{'an' if needs_an(phrase) else 'a'} {phrase}"


def read(name: str) -> Any:
    """Content of a YAML file in `data_catalog/extension`."""
    return yaml.safe_load(words_of_catalog(f"extension/{name}"))


def words_digests(*names: str) -> dict[str, str]:
    """Digests of the word files a plugin reads, by file name; other words make other rows."""
    files = ("identity_terms.yaml", *(f"extension/{name}" for name in ("people.yaml", *names)))
    return {name: digest_of(words_of_catalog(name)) for name in files}


@cache
def load_people() -> Mapping[str, DomainWords]:
    """Words of the eleven domains, in the order of `DOMAINS`."""
    vocabulary, people = load_vocabulary("identity_terms"), read("people.yaml")
    return {
        name: DomainWords(
            {
                group: _namings(slots, people["omit"], people["plurals"])
                for group, slots in vocabulary.domains[name].groups.items()
            },
            tuple(_trait(entry) for entry in people["traits"][name]),
        )
        for name in DOMAINS
    }


def _trait(entry: Mapping[str, Sequence[str]]) -> Trait:
    said, opposite = entry["said"]
    return Trait(said, opposite, tuple(entry["of"]), tuple(entry.get("scenes", ())))


def _namings(
    slots: Mapping[str, tuple[str, ...]], omit: Sequence[str], named: Mapping[str, str]
) -> tuple[GroupNoun, ...]:
    """Words of a group before a noun if it has any, else its nouns; each with its plural (default: `<word> people`)."""
    words = list(dict.fromkeys([*slots.get("before_person", ()), *slots.get("adjective", ())]))
    plurals = slots.get("people", ())
    if words:
        # with `before_person` words, plurals do not stand in the order of `words`
        own = {**(dict(zip(words, plurals, strict=False)) if "before_person" not in slots else {}), **named}
        return tuple(GroupNoun(word, own.get(word, f"{word} people"), False) for word in words if word not in omit)
    return tuple(GroupNoun(w, p, True) for w, p in zip(slots["person"], plurals, strict=True) if w not in omit)
