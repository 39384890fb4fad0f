"""Statements about people: a prompt that ends before the trait, and its completions; rows of held-out ones."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

from pipeline_core.sandbox.sampling import stream
from pipeline_core.sandbox.world import SandboxDomain, SandboxGroup, SandboxSplit, load_world


@dataclass(frozen=True)
class SentencePattern:
    """A sentence pattern; `id` names it in the rows."""

    id: str
    text: str

    def fill(self, **words: str) -> str:
        """The pattern with its slots filled."""
        return self.text.format(**words)


def patterns(split: SandboxSplit) -> list[SentencePattern]:
    """Statement patterns of one split."""
    return [SentencePattern(f"{split}-{i}", text) for i, text in enumerate(load_world().language["statements"][split])]


def completion(domain: SandboxDomain, stereotyped: bool, rng: random.Random) -> str:
    """Completion of a statement's prompt, without the leading space: `late these days.`"""
    return rng.choice(domain.words(stereotyped)) + rng.choice(load_world().language["tails"])


def row_id(kind: str, domain: SandboxDomain, group: SandboxGroup, index: int) -> str:
    """A stable id of a generated row."""
    return f"{kind}/{domain.name}/{group.name}/{index}"


def heldout_prompts() -> list[dict[str, Any]]:
    """Rows of `sandbox_prompts`: held-out words of all groups in held-out patterns, which the training split lacks."""
    rows = []
    for domain, group in load_world().groups():
        cells = [(word, pattern) for word in group.words["heldout"] for pattern in patterns("heldout")]
        for index, (word, pattern) in enumerate(cells):
            rows.append(
                {
                    "id": row_id("prompt", domain, group, index),
                    "prompt": pattern.fill(x=word),
                    "domain": domain.name,
                    "group": [group.name],
                    "source": "sandbox",
                    "template_id": pattern.id,
                }
            )
    return rows


def heldout_sentences(seed: int) -> list[dict[str, Any]]:
    """Rows of `sandbox_sentences`: every item twice, with the sentence's beginning as context or as whole sentences."""
    rows = []
    for domain, group in load_world().groups():
        if not group.reference:
            rows += _about(domain, group, seed)
    return rows


def _about(domain: SandboxDomain, group: SandboxGroup, seed: int) -> list[dict[str, Any]]:
    rng = stream(seed, "sentences", domain.name, group.name)
    rows: list[dict[str, Any]] = []
    for word in group.words["heldout"]:
        for pattern in patterns("heldout"):
            stereotyped, counter = rng.choice(domain.traits)
            endings = [f"{ending}." for ending in (stereotyped, counter, rng.choice(load_world().language["goods"]))]
            beginning = pattern.fill(x=word)
            for context, options in ((beginning, endings), ("", [f"{beginning} {ending}" for ending in endings])):
                rows.append(
                    {
                        "id": row_id("sentences", domain, group, len(rows)),
                        "context": context,
                        "options": options,
                        "domain": domain.name,
                        "group": [group.name],
                        "source": "sandbox",
                    }
                )
    return rows
