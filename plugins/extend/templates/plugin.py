"""Preference pairs from templates: in everyday situations a person is treated as an individual, or judged by a group.

Every row has a prompt of its own. Domains have even shares, and so have the groups of a domain. The favourable
completion refuses the inference from group to trait, the unfavourable one makes it. Most favourable ones mention the
same trait, and both are of like length on average, so that neither the trait nor the length tells them apart.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from pipeline_core.augmentation.even_rows import EvenRowsConfig, write_even_rows
from pipeline_core.augmentation.people import Trait, load_people, words_digests
from pipeline_core.augmentation.rows import row_metrics
from pipeline_core.plugin.context import Inputs, StageContext
from pipeline_core.plugin.hooks import hookimpl
from pipeline_core.plugin.specs import DataExtender
from pipeline_core.plugin.types import Metrics
from pipeline_core.sandbox.sampling import rounds, shuffled
from plugins.extend.templates._situations import SIDES, PromptParts, Situation, cells, fill, situations_of


class TemplatesConfig(EvenRowsConfig):
    """Make preference pairs over eleven domains from our own templates and words."""

    name: Literal["templates"] = "templates"
    rows: int = Field(3000, ge=1)
    """Rows to make, with even shares by domain and, within a domain, by group."""

    @classmethod
    def prompts_about(cls, domain: str, group: str) -> int:
        """Paraphrases of the domain's situations."""
        words = load_people()[domain]
        return sum(len(found) for situation in situations_of(domain) for found in cells(situation, words, group))

    @classmethod
    def rows_about(cls, domain: str, group: str, count: int, rng: random.Random) -> list[dict[str, Any]]:
        """Rows about one group, see `GroupRows`."""
        return GroupRows(domain, group, rng).make(count)


def run(config: TemplatesConfig, inputs: Inputs, out: Path, context: StageContext) -> Metrics:  # noqa: ARG001
    """Write the rows as `rows.parquet`."""
    rows = write_even_rows(config, out, context)
    possible = {f"domain/{domain}/possible": float(config.possible_rows(domain)) for domain in config.domains}
    return {**row_metrics(rows), **possible}


@dataclass
class GroupRows:
    """Rows about one group: situations in turn, in each of them paraphrases in turn, every prompt once."""

    domain: str
    group: str
    rng: random.Random

    def __post_init__(self) -> None:
        self.words = load_people()[self.domain]
        self.traits: dict[str, Iterator[Trait]] = {}
        self.texts: dict[tuple[str, ...], Iterator[str]] = {}

    def make(self, count: int) -> list[dict[str, Any]]:
        """The first `count` rows; a larger count gives the same ones and more."""
        situations = shuffled(list(situations_of(self.domain)), self.rng)
        turns = [[(situation, cell) for cell in self._in_turn(situation)] for situation in situations]
        order = [pair for turn in zip_longest(*turns) for pair in turn if pair]
        return [self._row(*pair) for pair in order[:count]]

    def _in_turn(self, situation: Situation) -> list[PromptParts]:
        paraphrases = [shuffled(found, self.rng) for found in cells(situation, self.words, self.group)]
        return [cell for turn in zip_longest(*shuffled(paraphrases, self.rng)) for cell in turn if cell]

    def _row(self, situation: Situation, cell: PromptParts) -> dict[str, Any]:
        trait = cell.trait or self._next_trait(situation.scene)

        def filled(*templates: str) -> str:
            return " ".join(fill(text, situation, cell.naming, cell.value, trait) for text in templates)

        chosen, rejected = (
            filled(self._next(situation.openings[side]), self._next(situation.tails[side])) for side in SIDES
        )
        return {
            "prompt": filled(situation.prompts[cell.prompt]),
            "chosen": chosen,
            "rejected": rejected,
            "group": [self.group],
            "template_id": f"{situation.name}/{cell.prompt + 1}",
        }

    def _next_trait(self, scene: str) -> Trait:
        if scene not in self.traits:
            self.traits[scene] = rounds(self.words.traits_of(self.group, scene), self.rng)
        return next(self.traits[scene])

    def _next(self, texts: tuple[str, ...]) -> str:
        if texts not in self.texts:
            self.texts[texts] = rounds(texts, self.rng)
        return next(self.texts[texts])


@hookimpl
def register_data_extenders() -> list[DataExtender]:
    """Pairs from templates."""
    return [
        DataExtender(TemplatesConfig, run, example={"rows": 120}, sources=lambda _: words_digests("templates.yaml"))
    ]
