"""Data extender `comments`: comments as prompts, stratified by toxicity; civil replies preferred to endorsing ones.

Differs from BiasGRPO (arXiv 2606.04807) in: comments come from any scored rows, not only from Civil Comments; a prompt
asks for a reply to the comment, and replies are templates.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import pyarrow as pa
from pydantic import Field, field_validator

from pipeline_core.augmentation.even_rows import shares_within
from pipeline_core.augmentation.people import words_digests
from pipeline_core.augmentation.rows import row_metrics, write_rows
from pipeline_core.augmentation.terms import groups_named
from pipeline_core.data.refs import DataRef, TakesRows
from pipeline_core.errors import BadInput
from pipeline_core.plugin.context import Inputs, StageContext
from pipeline_core.plugin.hooks import hookimpl
from pipeline_core.plugin.specs import DataExtender, PluginConfig
from pipeline_core.plugin.types import Metrics
from pipeline_core.sandbox.sampling import rounds, stream
from plugins.extend.comments._bins import BinnedRows, binned
from plugins.extend.comments._replies import fill, load_replies

if TYPE_CHECKING:
    from datasets import Dataset


class CommentsConfig(PluginConfig):
    """Make pairs of replies to comments, with equal numbers in every bin of toxicity."""

    shares_work: ClassVar[bool] = False
    row_kinds: ClassVar[tuple[str, ...]] = ()

    name: Literal["comments"] = "comments"
    data: Annotated[DataRef, TakesRows("scored")] = DataRef(entry="realtoxicity_comments", split="train")
    """Comments with their toxicity. The default leaves out the split `test`, which evaluations use. `civil_comments`,
    on the hub, is the set of the paper."""
    rows: int = Field(1000, ge=1)
    """Number of rows, equal for all bins; the shortfall of a bin is made up by the others."""
    bins: tuple[float, ...] = Field((0.0, 0.2, 0.4, 0.6, 0.8, 1.0), min_length=2)
    """Ascending edges of the toxicity bins. A bin includes its lower edge; the last bin includes both edges."""
    max_characters: int = Field(400, ge=1)
    """Longest comment in characters; longer comments are left out and counted."""

    @field_validator("bins")
    @classmethod
    def _ascend(cls, bins: tuple[float, ...]) -> tuple[float, ...]:
        if any(low >= high for low, high in itertools.pairwise(bins)):
            raise ValueError("bins: edges must ascend")
        return bins


def run(config: CommentsConfig, inputs: Inputs, out: Path, context: StageContext) -> Metrics:
    """Write the rows as `rows.parquet`, with the toxicity of each comment in an extra column."""
    entry = inputs.catalog.entry(config.data.entry)
    if entry.score_better != "lower":
        raise BadInput(
            f"{config.data.entry}: its larger scores are better, so they are no toxicity (`score_better: lower`)"
        )
    comments = inputs.data(config.data)
    bins = binned(comments, config.bins, config.max_characters, config.data.entry)
    shares = _shares(config, bins)
    chosen = {name: _draw(bins.rows[name], count, context.seed, name) for name, count in shares.items()}
    rows = list(_rows(comments, sorted(itertools.chain(*chosen.values())), entry.licence, context.seed))
    if context.is_main:
        write_rows(rows, out / "rows.parquet", pa.schema({"toxicity": pa.float64()}))
    even = config.rows // len(bins.rows)  # the smallest even share, so that a bin without its extra row is not short
    return {
        **row_metrics(rows),
        **bins.left_out,
        "rows_in": float(len(comments)),
        **{f"bin/{name}/rows": float(count) for name, count in shares.items()},
        **{f"bin/{name}/available": float(len(rows)) for name, rows in bins.rows.items()},
        **{f"bin/{name}/shortfall": float(max(even - count, 0)) for name, count in shares.items()},
    }


def _shares(config: CommentsConfig, bins: BinnedRows) -> dict[str, int]:
    available = {name: len(rows) for name, rows in bins.rows.items()}
    try:
        return shares_within(config.rows, available)
    except ValueError:
        left_out = ", ".join(f"{name} {count:g}" for name, count in bins.left_out.items())
        raise BadInput(
            f"{config.data.entry}: {config.rows} comments were asked for, and {sum(available.values())} can be taken "
            f"(left out: {left_out}). Ask for fewer rows, or raise max_characters"
        ) from None


def _draw(rows: Sequence[int], count: int, seed: int, name: str) -> list[int]:
    # a stream for each bin: other edges leave this bin's draw alone
    return random.Random(f"{seed}/comments/{name}").sample(rows, count)


def _rows(comments: Dataset, chosen: list[int], licence: str, seed: int) -> Iterator[dict[str, Any]]:
    """Row for every chosen comment, in data order; the replies of a kind are used in turn."""
    replies, rng = load_replies(), stream(seed, "comments")
    turns: dict[tuple[str, ...], Iterator[str]] = {}
    for comment in comments.select(chosen):
        text = comment["completion"].strip()
        domain, groups = groups_named(text)
        kind = replies.kind(comment["score"], groups)
        lists = [replies.requests, replies.texts["favourable"][kind], replies.texts["unfavourable"][kind]]
        # `rounds` draws nothing before its first item, so those that `setdefault` drops leave `rng` alone
        request, good, bad = (next(turns.setdefault(texts, rounds(texts, rng))) for texts in lists)
        yield {
            "id": f"comments/{comment['id']}",
            **fill(text, domain, groups, request, good, bad),
            "domain": domain or "other",
            "group": groups,
            "source": comment["source"],
            "template_id": f"comments/{replies.requests.index(request) + 1}/{'/'.join(kind)}",
            "source_id": comment["id"],
            "made_by": "comments",
            "licence": licence,
            "toxicity": comment["score"],
        }


@hookimpl
def register_data_extenders() -> list[DataExtender]:
    """Register `comments`."""
    return [DataExtender(CommentsConfig, run, example={"rows": 100}, sources=lambda _: words_digests("comments.yaml"))]
