"""Data extender `underspecified`: questions that the text does not decide; "cannot be determined" is preferred.

The unfavourable completion names the person whom the prejudice would name: the person of the target group for a
negative question ("Who is always late?"), the other for a positive one. Each is named first equally often.

Differs from UnQover (arXiv 2010.02428) in: contexts, people and attributes are our own; further domains are available;
the four variants of a pair of people and an attribute have different contexts, not the same context.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from pipeline_core.augmentation.even_rows import EvenRowsConfig, write_even_rows
from pipeline_core.augmentation.people import DomainNames, load_people, words_digests
from pipeline_core.augmentation.rows import row_metrics
from pipeline_core.plugin.context import Inputs, StageContext
from pipeline_core.plugin.hooks import hookimpl
from pipeline_core.plugin.specs import DataExtender
from pipeline_core.plugin.types import Metrics
from pipeline_core.sandbox.sampling import rounds
from plugins.extend.underspecified._questions import load_texts, possible, questions


class UnderspecifiedConfig(EvenRowsConfig):
    """Make questions that the text does not answer; the preferred completion says so."""

    name: Literal["underspecified"] = "underspecified"
    rows: int = Field(999, ge=1)
    """Number of rows, in equal shares by domain and, within a domain, by target group."""
    domains: DomainNames = ("gender", "nationality", "race", "religion")
    """Domains to ask about."""

    @classmethod
    def prompts_about(cls, domain: str, group: str) -> int:
        """Number of distinct questions about a target group."""
        return possible(load_people()[domain], group)

    @classmethod
    def rows_about(cls, domain: str, group: str, count: int, rng: random.Random) -> Iterator[dict[str, Any]]:
        """Rows of questions about a target group; `group` of a row has the target and the other group."""
        texts = load_texts()
        favourable, unfavourable = rounds(texts.favourable, rng), rounds(texts.unfavourable, rng)
        for item, question in questions(load_people()[domain], group, count, rng) if count else ():
            yield {
                "prompt": question.prompt,
                "chosen": next(favourable),
                "rejected": next(unfavourable).format(b=question.biased, t=question.said),
                "group": [item.target, item.other],
                "template_id": question.template,
            }


def run(config: UnderspecifiedConfig, inputs: Inputs, out: Path, context: StageContext) -> Metrics:  # noqa: ARG001
    """Write the rows as `rows.parquet`."""
    return row_metrics(write_even_rows(config, out, context))


@hookimpl
def register_data_extenders() -> list[DataExtender]:
    """Register `underspecified`."""
    return [
        DataExtender(
            UnderspecifiedConfig, run, example={"rows": 80}, sources=lambda _: words_digests("underspecified.yaml")
        )
    ]
