"""Statements about people: a prompt that ends where a trait follows, and the completions that follow it."""

from __future__ import annotations

import random
from dataclasses import dataclass

from pipeline_core.sandbox.world import Domain, Group, Split, load_world


@dataclass(frozen=True)
class Pattern:
    """A sentence pattern; `id` names it in the rows."""

    id: str
    text: str

    def fill(self, **words: str) -> str:
        """The pattern with its slots filled."""
        return self.text.format(**words)


def patterns(split: Split) -> list[Pattern]:
    """Statement patterns of one split."""
    return [Pattern(f"{split}-{i}", text) for i, text in enumerate(load_world().language["statements"][split])]


def completion(domain: Domain, stereotyped: bool, rng: random.Random) -> str:
    """What follows a statement's prompt, without the leading space: `late these days.`"""
    return rng.choice(domain.words(stereotyped)) + rng.choice(load_world().language["tails"])


def row_id(kind: str, domain: Domain, group: Group, index: int) -> str:
    """A stable id of a generated row."""
    return f"{kind}/{domain.name}/{group.name}/{index}"
