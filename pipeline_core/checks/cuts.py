"""Counts of training rows longer than `max_length`, for `evenhand check`, if they can be counted quickly."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from pipeline_core.data.catalog import Catalog
from pipeline_core.data.tables import open_table
from pipeline_core.errors import BadInput
from pipeline_core.evaluation.item_counts import counts_in
from pipeline_core.pipeline.plan import PlannedStage
from pipeline_core.plugin.specs import PluginConfig
from pipeline_core.store.artifacts import Manifest, Store
from pipeline_core.training.online.settings import OnlineConfig
from pipeline_core.training.settings import RowTrainingConfig

if TYPE_CHECKING:
    from datasets import Dataset


MOST_ROWS = 5000
"""Maximum number of rows to tokenise for a plan."""


def training_counts(planned: PlannedStage, made: Mapping[str, Manifest | None]) -> dict[str, int]:
    """Counts of a policy's rows, see `training.row_counts`; {} without start model or rows, or above `MOST_ROWS`."""
    start, config = made.get(planned.needs.get("model", "")), planned.config
    if planned.stage != "policy" or start is None or not hasattr(config, "max_length"):
        return {}
    store = Store.from_environment()
    with suppress(BadInput, OSError, ValueError):  # reported by the stages that need them
        rows = _rows(planned, made, store)
        if rows is not None:
            from pipeline_core.models.loading import load_tokenizer  # loads transformers: only if rows are counted

            return counts_in(_counted(config, rows, load_tokenizer(store.folder("model", start.key))))
    return {}


def rows_of(extended: Manifest | None) -> int | None:
    """Number of rows by the metrics of a preferences artifact; None if it has no such metric."""
    count = extended.metrics.get("rows") if extended else None
    return None if count is None else int(count)


def _rows(planned: PlannedStage, made: Mapping[str, Manifest | None], store: Store) -> Dataset | None:
    if need := planned.needs.get("preferences"):
        extended = made.get(need)
        count = rows_of(extended)
        if extended is None or count is None or count > MOST_ROWS:
            return None
        return open_table(store.folder("preferences", extended.key) / "rows.parquet")
    catalog = Catalog.from_environment()
    count = catalog.known_rows(planned.data) if planned.data else None
    return catalog.load(planned.data) if planned.data and count and count <= MOST_ROWS else None


def _counted(config: PluginConfig, rows: Dataset, tokenizer: Any) -> dict[str, float]:
    from pipeline_core.training.row_counts import encoded_rows, prompt_counts

    if isinstance(config, OnlineConfig):
        return prompt_counts(tokenizer, list(dict.fromkeys(rows["prompt"])), config.max_prompt_tokens, config.rendered)
    if not isinstance(config, RowTrainingConfig):
        return {}
    side = getattr(config, "completion", None)  # `sft` trains on one side of a pair
    columns = [rows[name][:] for name in ("prompt", *([side] if side else ("chosen", "rejected")))]
    return encoded_rows(tokenizer, columns, config.max_length, config.append_eos, config.rendered)[1]


def words_of(counts: Mapping[str, int]) -> str:
    """Counts in words, `; 48 prompts and 2 completions cut; control tokens read as text in 1 row`; else empty."""
    cut = {"prompts": counts.get("cut_prompts"), "completions": counts.get("cut_completions")}
    words = [f"{count} {name}" for name, count in cut.items() if count]
    parts = [f"{' and '.join(words)} cut"] if words else []
    if named := counts.get("control_tokens_as_text"):
        parts.append(f"control tokens read as text in {named} row{'s' * (named > 1)}")
    return "".join(f"; {part}" for part in parts)
