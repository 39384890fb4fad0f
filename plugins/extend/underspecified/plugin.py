"""Under-specified questions: nothing in the text decides between two people, and "cannot be determined" is right.

The unfavourable completion names the person whom the prejudice would name: the one of the targeted group where the
question is negative ("Who is always late?"), the other where it is positive. Either is named first equally often.

Differs from UnQover (arXiv 2010.02428) in: contexts, people and attributes are our own; other domains can be asked
about; a pair of people and an attribute are asked about in the four ways with different contexts and not the same one.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from pipeline_core.augmentation.people import DomainNames, load_people, words_digests
from pipeline_core.augmentation.rows import OWN_LICENCE, row_metrics, write_rows
from pipeline_core.augmentation.shares import even_shares, most_even, refuse_more_than_even
from pipeline_core.plugin.context import Inputs, StageContext
from pipeline_core.plugin.hooks import hookimpl
from pipeline_core.plugin.specs import DataExtender, PluginConfig
from pipeline_core.plugin.types import Metrics
from pipeline_core.sandbox.sampling import rounds, stream
from plugins.extend.underspecified._questions import load_texts, possible, questions


class UnderspecifiedConfig(PluginConfig):
    """Make questions that cannot be answered from the text, with the answer that says so preferred."""

    row_kinds: ClassVar[tuple[str, ...]] = ()

    name: Literal["underspecified"] = "underspecified"
    rows: int = Field(999, ge=1)
    """Rows to make, with even shares by domain and, within a domain, by targeted group."""
    domains: DomainNames = ("gender", "nationality", "race", "religion")
    """Domains to ask about."""

    @model_validator(mode="after")
    def _is_possible(self) -> UnderspecifiedConfig:
        refuse_more_than_even(self.rows, {domain: possible_rows(domain) for domain in self.domains})
        return self


def possible_rows(domain: str) -> int:
    """Most rows of a domain with even shares of its groups and a different prompt each."""
    words = load_people()[domain]
    return most_even({group: possible(words, group) for group in words.groups})


def run(config: UnderspecifiedConfig, inputs: Inputs, out: Path, context: StageContext) -> Metrics:  # noqa: ARG001
    """Write the rows as `rows.parquet`; a row's groups are the targeted one and the other."""
    rows = list(rows_of(config, context.seed))
    random.Random(f"underspecified/{context.seed}/order").shuffle(rows)
    if context.is_main:
        write_rows(rows, out / "rows.parquet")
    return row_metrics(rows)


def rows_of(config: UnderspecifiedConfig, seed: int) -> Iterator[dict[str, Any]]:
    """The rows of every domain and targeted group, in their order."""
    for domain, share in even_shares(config.rows, config.domains).items():
        words = load_people()[domain]
        for group, count in even_shares(share, list(words.groups)).items():
            yield from _group_rows(domain, group, count, stream(seed, "underspecified", domain, group))


def _group_rows(domain: str, group: str, count: int, rng: random.Random) -> Iterator[dict[str, Any]]:
    texts = load_texts()
    favourable, unfavourable = rounds(texts.favourable, rng), rounds(texts.unfavourable, rng)
    asked = questions(load_people()[domain], group, count, rng) if count else ()
    for number, (item, question) in enumerate(asked, 1):
        yield {
            "id": f"underspecified/{domain}/{group}/{number}",
            "prompt": question.prompt,
            "chosen": next(favourable),
            "rejected": next(unfavourable).format(b=question.biased, t=question.said),
            "domain": domain,
            "group": [item.target, item.other],
            "source": "underspecified",
            "template_id": question.template,
            "source_id": "",
            "made_by": "underspecified",
            "licence": OWN_LICENCE,
        }


def sources(config: UnderspecifiedConfig) -> dict[str, str]:  # noqa: ARG001
    """The words and texts, which are no part of the configuration."""
    return words_digests("underspecified.yaml")


@hookimpl
def register_data_extenders() -> list[DataExtender]:
    """Questions that cannot be answered."""
    return [DataExtender(UnderspecifiedConfig, run, example={"rows": 80}, sources=sources)]
