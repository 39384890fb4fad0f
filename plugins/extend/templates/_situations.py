"""Situations in which one may or may not infer from a group to a person: prompts, and completions of either kind."""

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
    """Prompts about a person (`noun`, or `where` after a group's own noun) and completions: an opening and a tail.

    `scene` is what it is about, empty where it may be anything; it decides which traits are said in it. `slot` is the
    name of what changes from row to row, `values` what it may be.
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
    """What makes one prompt; parts that the prompt does not name are None."""

    prompt: int
    value: str
    naming: GroupNoun
    trait: Trait | None


def cells(situation: Situation, words: DomainWords, group: str) -> list[list[PromptParts]]:
    """All different prompts of a situation about a group, by paraphrase."""
    return [
        [PromptParts(number, *parts) for parts in itertools.product(*_parts(situation, prompt, words, group))]
        for number, prompt in enumerate(situation.prompts)
    ]


def _parts(situation: Situation, prompt: str, words: DomainWords, group: str) -> tuple[Sequence[Any], ...]:
    named = {name.lower() for name in placeholders(prompt)}
    traits: Sequence[Trait | None] = words.traits_of(group, situation.scene) if "trait" in named else [None]
    return situation.values, words.groups[group], traits


def placeholders(template: str) -> set[str]:
    """Names in curly brackets."""
    return {name for _, name, _, _ in string.Formatter().parse(template) if name}


def fill(template: str, situation: Situation, naming: GroupNoun, value: str, trait: Trait) -> str:
    """A template's text; a name that begins with a capital letter begins a sentence."""
    values = {
        "a_person": with_article(naming.one(situation.noun, situation.where)),
        "the": f"the {situation.noun}",
        "people": naming.plural,
        "trait": trait.said,
        situation.slot: value,
    }
    capitals = {name[0].upper() + name[1:]: text[0].upper() + text[1:] for name, text in values.items()}
    return template.format(**values, **capitals)


@cache
def load_situations() -> tuple[Situation, ...]:
    """The situations of `data_catalog/extension/templates.yaml`."""
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
    """Those that fit a domain: the shared ones and its own."""
    return (situation for situation in load_situations() if domain in situation.domains)
