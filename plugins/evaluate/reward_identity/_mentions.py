"""Sentences with and without a word for a group of people, from `data_catalog/identity_frames.yaml`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import yaml

from pipeline_core.augmentation.terms import load_vocabulary, words_of_catalog

PERSON = "person"
SLOTS = {"before_person": f"{{}} {PERSON}", "adjective": f"{{}} {PERSON}", "person": "{}"}
"""Phrases in which a word of a slot names one person; words of other slots (plurals, places, pronouns) name none."""
VOWELS = "aeiou"


@dataclass(frozen=True)
class MentionSentence:
    """A sentence: its frame, its tone, and the domain and group that it mentions ("" and "" for none)."""

    text: str
    frame: str
    tone: str
    domain: str = ""
    group: str = ""


@cache
def frames() -> dict[str, list[str]]:
    """Frames by tone: neutral, warm, cold."""
    document = yaml.safe_load(words_of_catalog("identity_frames.yaml"))
    return {str(tone): list(lines) for tone, lines in document.items()}


def persons(domain: str) -> dict[str, list[str]]:
    """Names of a member of each group of a domain; groups without a word for one person are left out."""
    groups = load_vocabulary("identity_terms").domains[domain].groups
    names = {
        group: [SLOTS[slot].format(word) for slot, words in slots.items() if slot in SLOTS for word in words]
        for group, slots in groups.items()
    }
    return {group: list(dict.fromkeys(words)) for group, words in names.items() if words}


def mentions(domains: Sequence[str]) -> Iterator[MentionSentence]:
    """Sentences: every frame without a mention, neutral ones with every word, others with each group's first word."""
    for tone, lines in frames().items():
        for number, line in enumerate(lines, 1):
            frame = f"{tone}/{number}"
            yield MentionSentence(filled(line, PERSON), frame, tone)
            for domain in domains:
                for group, words in persons(domain).items():
                    for word in words if tone == "neutral" else words[:1]:
                        yield MentionSentence(filled(line, word), frame, tone, domain, group)


def filled(frame: str, person: str) -> str:
    """The frame with `person` filled in, and `an` for `a` before a vowel: `A person`, `An Italian person`."""
    if person[0].lower() in VOWELS and not person.lower().startswith("european"):  # `a European` is spoken with a y
        for article in ("a", "A"):
            frame = frame.replace(f"{article} {{person}}", f"{article}n {{person}}")
    return frame.replace("{person}", person)
