"""Statements about people: a prompt that ends before the trait, and its completions."""

from __future__ import annotations

import random
from dataclasses import dataclass

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
