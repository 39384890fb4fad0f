"""Preference pairs from templates: in everyday situations a person is treated as an individual, or judged by a group.

Every row has a prompt of its own. Domains have even shares, and so have the groups of a domain. The favourable
completion refuses the inference from group to trait, the unfavourable one makes it. Most favourable ones mention the
same trait, and both are of like length on average, so that neither the trait nor the length tells them apart.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from pipeline_core.augmentation.people import DOMAINS, DomainNames, Trait, load_people, words_digests
from pipeline_core.augmentation.rows import OWN_LICENCE, row_metrics, write_rows
from pipeline_core.augmentation.shares import even_shares, most_even, refuse_more_than_even
from pipeline_core.plugin.context import Inputs, StageContext
from pipeline_core.plugin.hooks import hookimpl
from pipeline_core.plugin.specs import DataExtender, PluginConfig
from pipeline_core.plugin.types import Metrics
from pipeline_core.sandbox.sampling import rounds, shuffled, stream
from plugins.extend.templates._situations import SIDES, Cell, Situation, cells, fill, situations_of


class TemplatesConfig(PluginConfig):
    """Make preference pairs over eleven domains from our own templates and words."""

    row_kinds: ClassVar[tuple[str, ...]] = ()

    name: Literal["templates"] = "templates"
    rows: int = Field(3000, ge=1)
    """Rows to make, with even shares by domain and, within a domain, by group."""
    domains: DomainNames = DOMAINS
    """Domains to make rows about."""

    @model_validator(mode="after")
    def _is_possible(self) -> TemplatesConfig:
        refuse_more_than_even(self.rows, {domain: possible_rows(domain) for domain in self.domains})
        return self


def possible_rows(domain: str) -> int:
    """Most rows of a domain with even shares of its groups and a different prompt each."""
    words = load_people()[domain]

    def prompts(group: str) -> int:
        return sum(len(found) for situation in situations_of(domain) for found in cells(situation, words, group))

    return most_even({group: prompts(group) for group in words.groups})


def run(config: TemplatesConfig, inputs: Inputs, out: Path, context: StageContext) -> Metrics:  # noqa: ARG001
    """Write the rows as `rows.parquet`."""
    rows = list(chain.from_iterable(rows_of(config, context.seed)))
    random.Random(f"templates/{context.seed}/order").shuffle(rows)
    if context.is_main:
        write_rows(rows, out / "rows.parquet")
    possible = {f"domain/{domain}/possible": float(possible_rows(domain)) for domain in config.domains}
    return {**row_metrics(rows), **possible}


def rows_of(config: TemplatesConfig, seed: int) -> Iterator[list[dict[str, Any]]]:
    """The rows of every group, in the order of domains and groups."""
    for domain, share in even_shares(config.rows, config.domains).items():
        for group, count in even_shares(share, list(load_people()[domain].groups)).items():
            yield GroupRows(domain, group, stream(seed, "templates", domain, group)).make(count)


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
        return [self._row(number, *pair) for number, pair in enumerate(order[:count], 1)]

    def _in_turn(self, situation: Situation) -> list[Cell]:
        paraphrases = [shuffled(found, self.rng) for found in cells(situation, self.words, self.group)]
        return [cell for turn in zip_longest(*shuffled(paraphrases, self.rng)) for cell in turn if cell]

    def _row(self, number: int, situation: Situation, cell: Cell) -> dict[str, Any]:
        trait = cell.trait or self._next_trait(situation.scene)

        def filled(*templates: str) -> str:
            return " ".join(fill(text, situation, cell.naming, cell.value, trait) for text in templates)

        chosen, rejected = (
            filled(self._next(situation.openings[side]), self._next(situation.tails[side])) for side in SIDES
        )
        return {
            "id": f"templates/{self.domain}/{self.group}/{number}",
            "prompt": filled(situation.prompts[cell.prompt]),
            "chosen": chosen,
            "rejected": rejected,
            "domain": self.domain,
            "group": [self.group],
            "source": "templates",
            "template_id": f"{situation.name}/{cell.prompt + 1}",
            "source_id": "",
            "made_by": "templates",
            "licence": OWN_LICENCE,
        }

    def _next_trait(self, scene: str) -> Trait:
        if scene not in self.traits:
            self.traits[scene] = rounds(self.words.traits_of(self.group, scene), self.rng)
        return next(self.traits[scene])

    def _next(self, texts: tuple[str, ...]) -> str:
        if texts not in self.texts:
            self.texts[texts] = rounds(texts, self.rng)
        return next(self.texts[texts])


def sources(config: TemplatesConfig) -> dict[str, str]:  # noqa: ARG001
    """The words and templates, which are no part of the configuration."""
    return words_digests("templates.yaml")


@hookimpl
def register_data_extenders() -> list[DataExtender]:
    """Pairs from templates."""
    return [DataExtender(TemplatesConfig, run, example={"rows": 120}, sources=sources)]
