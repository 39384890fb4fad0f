"""People of the eleven domains: how one speaks of one or several of a group, and which prejudices name it.

Groups and their words are those of `data_catalog/identity_terms.yaml`; prejudices stand in `extension/people.yaml`.
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
    """`names`, each known and named once.

    Raises:
        ValueError: with the nearest known names.
    """
    if unknown := [name for name in names if name not in DOMAINS]:
        raise ValueError(f"unknown domain {unknown[0]!r}. {suggestion(unknown[0], DOMAINS)}")
    if not names or len(set(names)) < len(names):
        raise ValueError("name every domain once, and at least one")
    return names


DomainNames = Annotated[tuple[str, ...], AfterValidator(known_domains)]


@dataclass(frozen=True)
class GroupNoun:
    """One way to speak of a group: a word before a noun ("Nigerian"), or a noun of its own ("woman")."""

    word: str
    plural: str
    is_noun: bool

    def one(self, noun: str, where: str = "") -> str:
        """One person without an article: "Nigerian applicant", "woman who has applied"."""
        return f"{self.word} {where}".strip() if self.is_noun else f"{self.word} {noun}"


@dataclass(frozen=True)
class Trait:
    """What is said of the groups `of`, in some scenes (none: in all), and its opposite; both follow "is" and "are"."""

    said: str
    opposite: str
    of: tuple[str, ...]
    scenes: tuple[str, ...] = ()


@dataclass(frozen=True)
class DomainWords:
    """Namings by group, and what is said of the groups of one domain."""

    groups: Mapping[str, tuple[GroupNoun, ...]]
    traits: tuple[Trait, ...]

    def traits_of(self, group: str, scene: str = "") -> list[Trait]:
        """What is said of one group, in one scene where it is named."""
        return [t for t in self.traits if group in t.of and (not scene or not t.scenes or scene in t.scenes)]


def with_article(phrase: str) -> str:
    """`phrase` after "a" or "an"."""
    return f"{'an' if needs_an(phrase) else 'a'} {phrase}"


def read(name: str) -> Any:
    """A YAML file of `data_catalog/extension`."""
    return yaml.safe_load(words_of_catalog(f"extension/{name}"))


def words_digests(*names: str) -> dict[str, str]:
    """Digests of the files of words a plugin reads: rows made from other words are other rows."""
    files = ("identity_terms.yaml", *(f"extension/{name}" for name in ("people.yaml", *names)))
    return {name: digest_of(words_of_catalog(name)) for name in files}


@cache
def load_people() -> Mapping[str, DomainWords]:
    """The eleven domains in the order of `DOMAINS`."""
    vocabulary, more = load_vocabulary("identity_terms"), read("people.yaml")
    return {
        name: DomainWords(
            {
                group: _namings(slots, more["omit"], more["plurals"])
                for group, slots in vocabulary.domains[name].groups.items()
            },
            tuple(_trait(entry) for entry in more["traits"][name]),
        )
        for name in DOMAINS
    }


def _trait(entry: Mapping[str, Sequence[str]]) -> Trait:
    said, opposite = entry["said"]
    return Trait(said, opposite, tuple(entry["of"]), tuple(entry.get("scenes", ())))


def _namings(
    slots: Mapping[str, tuple[str, ...]], omit: Sequence[str], named: Mapping[str, str]
) -> tuple[GroupNoun, ...]:
    """A group's words before a noun where it has some, else its nouns; plurals of its own where they correspond."""
    words = list(dict.fromkeys([*slots.get("before_person", ()), *slots.get("adjective", ())]))
    plurals = slots.get("people", ())
    if words:
        own = {**(dict(zip(words, plurals, strict=False)) if "before_person" not in slots else {}), **named}
        return tuple(GroupNoun(word, own.get(word, f"{word} people"), False) for word in words if word not in omit)
    return tuple(GroupNoun(w, p, True) for w, p in zip(slots["person"], plurals, strict=True) if w not in omit)
