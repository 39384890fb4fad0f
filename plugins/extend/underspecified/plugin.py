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
    """Make questions that cannot be answered from the text, with the answer that says so preferred."""

    name: Literal["underspecified"] = "underspecified"
    rows: int = Field(999, ge=1)
    """Rows to make, with even shares by domain and, within a domain, by targeted group."""
    domains: DomainNames = ("gender", "nationality", "race", "religion")
    """DomainNames to ask about."""

    @classmethod
    def prompts_about(cls, domain: str, group: str) -> int:
        """Questions about a targeted group."""
        return possible(load_people()[domain], group)

    @classmethod
    def rows_about(cls, domain: str, group: str, count: int, rng: random.Random) -> Iterator[dict[str, Any]]:
        """Questions about a targeted group; a row's groups are this one and the other."""
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
    """Questions that cannot be answered."""
    return [
        DataExtender(
            UnderspecifiedConfig, run, example={"rows": 80}, sources=lambda _: words_digests("underspecified.yaml")
        )
    ]
