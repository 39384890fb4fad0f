"""Data extender `templates`: preference pairs about everyday situations, in which a person is judged by a group or not.

Every prompt is unique. Domains have equal shares of the rows, and so have the groups of a domain. The favourable
completion rejects the inference from group to trait; the unfavourable completion makes it. Most favourable completions
mention the trait too, and mean lengths are similar, so that neither trait nor length separates the two.
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
    """Make preference pairs in eleven domains from built-in templates and word lists."""

    name: Literal["templates"] = "templates"
    rows: int = Field(3000, ge=1)
    """Number of rows, in equal shares by domain and, within a domain, by group."""

    @classmethod
    def prompts_about(cls, domain: str, group: str) -> int:
        """Number of distinct prompts about a group."""
        words = load_people()[domain]
        return sum(len(prompts) for situation in situations_of(domain) for prompts in cells(situation, words, group))

    @classmethod
    def rows_about(cls, domain: str, group: str, count: int, rng: random.Random) -> list[dict[str, Any]]:
        """Rows about a group, see `GroupRows`."""
        return GroupRows(domain, group, rng).make(count)


def run(config: TemplatesConfig, inputs: Inputs, out: Path, context: StageContext) -> Metrics:  # noqa: ARG001
    """Write the rows as `rows.parquet`."""
    rows = write_even_rows(config, out, context)
    possible = {f"domain/{domain}/possible": float(config.possible_rows(domain)) for domain in config.domains}
    return {**row_metrics(rows), **possible}


@dataclass
class GroupRows:
    """Rows about a group: situations in turn, within a situation paraphrases in turn, every prompt once."""

    domain: str
    group: str
    rng: random.Random

    def __post_init__(self) -> None:
        self.words = load_people()[self.domain]
        self.traits: dict[str, Iterator[Trait]] = {}
        self.texts: dict[tuple[str, ...], Iterator[str]] = {}

    def make(self, count: int) -> list[dict[str, Any]]:
        """First `count` rows; a larger count gives these rows first, then more."""
        situations = shuffled(list(situations_of(self.domain)), self.rng)
        turns = [[(situation, cell) for cell in self._in_turn(situation)] for situation in situations]
        # situations have unequal numbers of prompts, and none ends the turns of the others
        order = [pair for turn in zip_longest(*turns) for pair in turn if pair]
        return [self._row(*pair) for pair in order[:count]]

    def _in_turn(self, situation: Situation) -> list[PromptParts]:
        paraphrases = [shuffled(prompts, self.rng) for prompts in cells(situation, self.words, self.group)]
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
        return next(self.traits.setdefault(scene, rounds(self.words.traits_of(self.group, scene), self.rng)))

    def _next(self, texts: tuple[str, ...]) -> str:
        # `rounds` draws nothing before its first item, so those that `setdefault` drops leave `rng` alone
        return next(self.texts.setdefault(texts, rounds(texts, self.rng)))


@hookimpl
def register_data_extenders() -> list[DataExtender]:
    """Register `templates`."""
    return [
        DataExtender(TemplatesConfig, run, example={"rows": 120}, sources=lambda _: words_digests("templates.yaml"))
    ]
