"""Even shares of rows, and extensions that make rows from Evenhand's own words in even shares of domains and groups."""

from __future__ import annotations

import random
from abc import abstractmethod
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from pydantic import Field, model_validator

from pipeline_core.augmentation.people import DOMAINS, DomainNames, load_people
from pipeline_core.augmentation.rows import OWN_LICENCE, write_rows
from pipeline_core.plugin.context import StageContext
from pipeline_core.plugin.specs import PluginConfig
from pipeline_core.sandbox.sampling import stream

T = TypeVar("T", bound=Hashable)


def even_shares(rows: int, names: Sequence[T]) -> dict[T, int]:
    """Divide `rows` among `names`; shares differ by at most 1, and the first names get the larger ones."""
    share, rest = divmod(rows, len(names))
    return {name: share + (place < rest) for place, name in enumerate(names)}


def most_even(possible: Mapping[T, int]) -> int:
    """Largest number of rows whose `even_shares` exceed no limit in `possible`."""
    # with one row more, this name would get limit + 1
    return min(limit * len(possible) + place for place, limit in enumerate(possible.values()))


def shares_within(rows: int, available: Mapping[T, int]) -> dict[T, int]:
    """Divide `rows` as evenly as `available` allows; the shortfall of a name is spread evenly over the others.

    Raises:
        ValueError: all names together have fewer than `rows`.
    """
    if rows > (total := sum(available.values())):
        raise ValueError(f"{rows} of {total} cannot be shared out")
    shares: dict[T, int] = {}
    # the scarcest first: all that follow share what it lacks
    for place, name in enumerate(sorted(available, key=lambda name: available[name])):
        left = rows - sum(shares.values())
        shares[name] = min(available[name], left // (len(available) - place))
    return {name: shares[name] for name in available}


class EvenRowsConfig(PluginConfig):
    """Configuration of an extension that makes evenly shared rows; its methods make the rows."""

    shares_work: ClassVar[bool] = False
    row_kinds: ClassVar[tuple[str, ...]] = ()

    rows: int = Field(1000, ge=1)
    """Number of rows to make, in even shares per domain and per group within a domain."""
    domains: DomainNames = DOMAINS
    """Domains to make rows about."""

    @model_validator(mode="after")
    def _is_possible(self) -> EvenRowsConfig:
        if self.rows > (most := most_even({domain: self.possible_rows(domain) for domain in self.domains})):
            raise ValueError(
                f"rows: {self.rows} were asked for, and {most} with even shares and different prompts are possible for "
                f"{', '.join(self.domains)}"
            )
        return self

    @classmethod
    def possible_rows(cls, domain: str) -> int:
        """Largest number of rows of a domain with even shares of its groups and no prompt used twice."""
        return most_even({group: cls.prompts_about(domain, group) for group in load_people()[domain].groups})

    @classmethod
    @abstractmethod
    def prompts_about(cls, domain: str, group: str) -> int:
        """Number of different prompts about a group."""

    @classmethod
    @abstractmethod
    def rows_about(cls, domain: str, group: str, count: int, rng: random.Random) -> Iterable[dict[str, Any]]:
        """`count` rows about a group: prompt, completions, groups and template."""


def even_rows(config: EvenRowsConfig, seed: int) -> Iterator[dict[str, Any]]:
    """Rows of all groups, in the order of domains and groups."""
    own = {"source": config.name, "source_id": "", "made_by": config.name, "licence": OWN_LICENCE}
    for domain, share in even_shares(config.rows, config.domains).items():
        for group, count in even_shares(share, list(load_people()[domain].groups)).items():
            # a stream for each group: other domains leave its rows alone
            rows = config.rows_about(domain, group, count, stream(seed, config.name, domain, group))
            for number, row in enumerate(rows, 1):
                yield {"id": f"{config.name}/{domain}/{group}/{number}", "domain": domain, **row, **own}


def write_even_rows(config: EvenRowsConfig, out: Path, context: StageContext) -> list[dict[str, Any]]:
    """Make the rows in random order; the main process writes them as `rows.parquet`."""
    rows = list(even_rows(config, context.seed))
    random.Random(f"{config.name}/{context.seed}/order").shuffle(rows)
    if context.is_main:
        write_rows(rows, out / "rows.parquet")
    return rows
