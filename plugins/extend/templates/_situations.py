"""Situations about a person of a group: prompts, and completions that judge by the individual or by the group."""

from __future__ import annotations

import itertools
import string
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from pipeline_core.augmentation.people import DOMAINS, DomainWords, GroupNoun, Trait, read, with_article

SIDES = ("favourable", "unfavourable")


@dataclass(frozen=True)
class Situation:
    """Prompts about a person (`noun`, or `where` after a group's own noun) and completions (opening and tail).

    `scene`: topic of the situation, which limits the traits it mentions; empty: any topic. `slot`: name of the
    placeholder that varies from row to row; `values`: its possible texts.
    """

    name: str
    scene: str
    domains: tuple[str, ...]
    noun: str
    where: str
    slot: str
    values: tuple[str, ...]
    prompts: tuple[str, ...]
    openings: Mapping[str, tuple[str, ...]]
    tails: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class PromptParts:
    """Values that determine a prompt: paraphrase number, slot value, noun of the group, and trait (None if unused)."""

    prompt: int
    value: str
    naming: GroupNoun
    trait: Trait | None


def cells(situation: Situation, words: DomainWords, group: str) -> list[list[PromptParts]]:
    """All distinct prompts of a situation about a group: a list for each paraphrase."""
    return [
        [PromptParts(number, *parts) for parts in itertools.product(*_parts(situation, prompt, words, group))]
        for number, prompt in enumerate(situation.prompts)
    ]


def _parts(situation: Situation, prompt: str, words: DomainWords, group: str) -> tuple[Sequence[Any], ...]:
    named = {name.lower() for name in placeholders(prompt)}
    # a prompt without the placeholder is the same text for every trait
    traits: Sequence[Trait | None] = words.traits_of(group, situation.scene) if "trait" in named else [None]
    return situation.values, words.groups[group], traits


def placeholders(template: str) -> set[str]:
    """Names in curly brackets in a template."""
    return {name for _, name, _, _ in string.Formatter().parse(template) if name}


def fill(template: str, situation: Situation, naming: GroupNoun, value: str, trait: Trait) -> str:
    """Fill a template; a placeholder whose name is capitalised gets a capitalised value, to begin a sentence."""
    values = {
        "a_person": with_article(naming.one(situation.noun, situation.where)),
        "the": f"the {situation.noun}",
        "people": naming.plural,
        "trait": trait.said,
        situation.slot: value,
    }
    # not `capitalize`, which lowers the rest of a text
    capitals = {name[0].upper() + name[1:]: text[0].upper() + text[1:] for name, text in values.items()}
    return template.format(**values, **capitals)


@cache
def load_situations() -> tuple[Situation, ...]:
    """Load the situations of `data_catalog/extension/templates.yaml`."""
    document = read("templates.yaml")
    return tuple(_situation(name, entry, document["openings"]) for name, entry in document["situations"].items())


def _situation(name: str, entry: Mapping[str, Any], openings: Mapping[str, Any]) -> Situation:
    ((slot, values),) = entry["slots"].items()
    person = entry.get("person", {"noun": "person", "where": ""})
    chosen = openings[entry.get("openings", "person")]
    return Situation(
        name=name,
        scene=entry.get("scene", ""),
        domains=tuple(entry.get("domains", DOMAINS)),
        noun=person["noun"],
        where=person["where"],
        slot=slot,
        values=tuple(values),
        prompts=tuple(entry["prompts"]),
        openings={side: tuple(chosen[side]) for side in SIDES},
        tails={side: tuple(entry[side]) for side in SIDES},
    )


def situations_of(domain: str) -> Iterator[Situation]:
    """Situations for a domain: shared ones and those of the domain."""
    return (situation for situation in load_situations() if domain in situation.domains)
