"""Data extender `mix`: combines sets of preference rows by target counts, without repeated and contaminated rows.

Source: BiasGRPO (arXiv 2606.04807), whose 20,999 rows are 10,000 + 10,000 + 999 of three parts. Differs from the paper
in: duplicates, near-duplicates and rows that match evaluation items are removed before rows are counted.

Rows are written part after part and are not shuffled, because training shuffles them. So the place of a row depends
only on its own part and earlier parts, and the table is written while the parts are read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from pipeline_core.augmentation.rows import provenance_of
from pipeline_core.data.duplicates.shingles import LEAST
from pipeline_core.data.refs import ComparedOnly, DataRef
from pipeline_core.errors import BadInput
from pipeline_core.plugin.context import Inputs, StageContext
from pipeline_core.plugin.hooks import hookimpl
from pipeline_core.plugin.specs import DataExtender, MergingConfig
from pipeline_core.plugin.types import Metrics
from pipeline_core.quality.settings import QualitySettings

if TYPE_CHECKING:
    from datasets import Dataset

    from plugins.extend.mix._removal import RemovedRows
    from plugins.extend.mix._taking import RowsByPart

OWN = "data"


class MixConfig(MergingConfig):
    """Combine the parts listed before it by target counts, without repeated rows and matches of evaluation items."""

    shares_work: ClassVar[bool] = False
    row_kinds: ClassVar[tuple[str, ...]] = ()  # it reads `inputs.parts`, so the pipeline's own rows may be absent

    name: Literal["mix"] = "mix"
    take: dict[str, Annotated[int, Field(ge=0)]] = Field({})
    """Number of rows by part label (`data`: the pipeline's own rows). Default for a part: all rows that are not
    removed. The rows of a part with 0 are not read."""
    allow_fewer: bool = False
    """Accept parts with fewer rows than requested, and count the shortfall in `part/<label>/short`. Else: an error."""
    stratify: tuple[str, ...] = ("domain",)
    """Columns whose combinations (strata) keep their proportions if only a sample of a part is taken."""
    similarity: float = Field(0.8, ge=LEAST, le=1)
    """Jaccard similarity of 5-byte shingles from which a row counts as similar to a row or an evaluation item."""
    against: Annotated[tuple[DataRef, ...], ComparedOnly()] = ()
    """Evaluation sets of any row kind; rows that match one of their items are removed."""
    quality: QualitySettings | None = QualitySettings()
    """Settings of the quality report and of its gate, which can fail the stage. Null: no report."""

    @model_validator(mode="after")
    def _gate_has_sets(self) -> MixConfig:
        if self.quality and self.quality.gate.max_contaminated is not None and not self.against:
            raise ValueError(
                "quality.gate.max_contaminated needs evaluation sets to compare with: name some in `against`"
            )
        return self

    def identity(self) -> dict[str, Any]:
        """Configuration without the path of an encoder folder, whose files are digested instead."""
        identity = super().identity()
        return identity | ({"quality": self.quality.identity()} if self.quality else {})

    def check_parts(self, rows: Mapping[str, int | None]) -> None:
        """Refuse counts for unknown parts, counts that are all zero, and counts larger than a part."""
        from plugins.extend.mix._taking import check_take

        check_take(self.take, rows)
        if all(self.take.get(label) == 0 for label in rows):
            raise BadInput("no row is left to write; `take` is 0 for every part")
        for label, wanted in self.take.items():
            known = rows[label]
            if known is not None and wanted > known and not self.allow_fewer:
                raise BadInput(
                    f"take.{label}: {wanted} rows are asked for and the part has {known}. Take fewer, give the part "
                    "more rows, or set allow_fewer"
                )

    def needs_hub(self) -> list[str]:
        """Hub id of the encoder of the quality report."""
        return self.quality.needs_hub() if self.quality else []


def run(config: MixConfig, inputs: Inputs, out: Path, context: StageContext) -> Metrics:
    """Write `rows.parquet`, `mix.json`, `contamination.json` and the quality report."""
    from pipeline_core.quality.items import evaluation_items
    from plugins.extend.mix._removal import find_removals
    from plugins.extend.mix._taking import check_take, take_rows
    from plugins.extend.mix._writing import write_mix

    if not any(len(rows) for rows in inputs.parts.values()):
        raise BadInput("mix: there are no rows to combine")
    check_take(config.take, inputs.parts)
    # a part with 0 removes no rows of later parts either
    parts = {label: rows for label, rows in inputs.parts.items() if config.take.get(label) != 0}
    if not parts:
        raise BadInput("mix: no row is left to write; `take` is 0 for every part")
    items = evaluation_items(inputs.catalog, config.against, config.similarity)
    # before rows are counted, so that a part is short only of rows that differ
    removal = find_removals(parts, items, config.similarity)
    chosen, short = take_rows(parts, removal, config.take, config.stratify, context.seed, config.allow_fewer)
    if not sum(map(len, chosen.values())):
        raise BadInput("mix: no row is left to write; see `take` and `against`")
    metrics = _counts(parts, removal, chosen, short)
    if context.is_main:
        own = {OWN: provenance_of(inputs.catalog, inputs.data_ref)} if inputs.data_ref else {}
        write_mix(parts, chosen, own, out / "rows.parquet")
        _write_json(metrics, out / "mix.json")
        contamination = {
            "similarity": config.similarity,
            "sets": [overlap.model_dump() for overlap in removal.overlaps],
        }
        _write_json(contamination, out / "contamination.json")
    return metrics | _quality(config, inputs, parts, chosen, removal, out, context)


def _counts(
    parts: Mapping[str, Dataset], removal: RemovedRows, chosen: RowsByPart, short: Mapping[str, int]
) -> Metrics:
    counts: dict[str, float] = {"rows": sum(map(len, chosen.values())), "rows_in": sum(map(len, parts.values()))}
    for label, rows in parts.items():
        removed = removal.counts(label)
        of_part = {"rows_in": len(rows), "rows": len(chosen[label]), **removed, "short": short[label]}
        counts |= {f"part/{label}/{name}": count for name, count in of_part.items()}
        for reason, count in removed.items():
            counts[f"removed/{reason}"] = counts.get(f"removed/{reason}", 0) + count
    offered = removal.offered().model_dump(include={"duplicates", "near_duplicates", "contaminated"}, exclude_none=True)
    counts |= {f"offered/{name}": share for name, share in offered.items()}
    return {name: float(count) for name, count in counts.items()}


def _write_json(value: object, path: Path) -> None:
    path.write_text(json.dumps(value, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def _quality(
    config: MixConfig,
    inputs: Inputs,
    parts: Mapping[str, Dataset],
    chosen: RowsByPart,
    removal: RemovedRows,
    out: Path,
    context: StageContext,
) -> Metrics:
    """Measure the selected rows of all parts together and of every non-empty part, and check the gate."""
    from pipeline_core.quality.limits import check_gate
    from pipeline_core.quality.report import measure_quality, metrics_of, write_quality

    settings = config.quality
    if settings is None:
        return {}
    human = inputs.data(settings.human) if settings.human else None
    taken = {label: rows.select(chosen[label]) for label, rows in parts.items() if len(chosen[label])}
    measured = partial(measure_quality, similarity=config.similarity, seed=context.seed, device=context.device)
    whole = measured(config.name, taken, settings, human, removal.repeats(chosen))
    by_part = {
        label: measured(label, {label: rows}, settings, human, removal.repeats({label: chosen[label]}))
        for label, rows in taken.items()
    }
    quality = whole.model_copy(update={"offered": removal.offered(), "parts": by_part})
    if context.is_main:
        write_quality(quality, out)  # before the gate: the report stays in the folder of a failed attempt
    check_gate(quality, settings.gate)
    return metrics_of(quality)


def sources(config: MixConfig) -> Mapping[str, str]:
    """Digest or commit of the encoder of the quality report; empty without an encoder."""
    return config.quality.sources() if config.quality else {}


@hookimpl
def register_data_extenders() -> list[DataExtender]:
    """Register `mix`."""
    example = {"quality": {"sample": 16, "subsamples": 2}}
    core = ("augmentation", "models", "quality")
    return [DataExtender(MixConfig, run, revision=2, example=example, sources=sources, combines=True, core=core)]
