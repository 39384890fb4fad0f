"""Combine sets of preference rows by target counts, without repeats and without rows that evaluations are made of.

Source: BiasGRPO (arXiv 2606.04807), whose 20,999 rows are 10,000 + 10,000 + 999 of three parts. Differs from the paper
in: equal and near-equal rows and rows like evaluation items are removed before rows are counted.

Rows stand part after part, in the order of their parts: whoever trains draws an order of its own, and so a row's place
depends on its own part and those before it, and the table is written as the parts are read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

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
    """Combine the parts before it by target counts, without repeats and without what resembles evaluation items."""

    row_kinds: ClassVar[tuple[str, ...]] = ()

    name: Literal["mix"] = "mix"
    take: dict[str, Annotated[int, Field(ge=0)]] = Field({})
    """Rows of each part by its label (`data`: the pipeline's own); all that are left of a part that is not named.
    Rows of a part with 0 are not looked at."""
    allow_fewer: bool = False
    """Whether a part may give fewer rows than asked for; `part/<label>/short` counts them. Else that is an error."""
    stratify: tuple[str, ...] = ("domain",)
    """Columns whose combinations keep their shares where only some rows of a part are taken."""
    similarity: float = Field(0.8, ge=LEAST, le=1)
    """Jaccard similarity of 5-byte shingles from which a row resembles another row or an evaluation item."""
    against: Annotated[tuple[DataRef, ...], ComparedOnly()] = ()
    """Evaluation sets, of any kind of rows; rows that hold one of their items are removed."""
    quality: QualitySettings | None = QualitySettings()
    """The quality report, and the gate that can fail the stage. Null: no report."""

    @model_validator(mode="after")
    def _gate_has_sets(self) -> MixConfig:
        if self.quality and self.quality.gate.max_contaminated is not None and not self.against:
            raise ValueError(
                "quality.gate.max_contaminated needs evaluation sets to compare with: name some in `against`"
            )
        return self

    def identity(self) -> dict[str, Any]:
        """The configuration without the path of an encoder's folder, whose files are digested instead."""
        identity = super().identity()
        return identity | ({"quality": self.quality.identity()} if self.quality else {})

    def check_parts(self, rows: Mapping[str, int | None]) -> None:
        """Refuse counts for parts that are not there, of no row at all, or of more rows than a part has."""
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
        """The hub id of the quality report's encoder."""
        return self.quality.needs_hub() if self.quality else []


def run(config: MixConfig, inputs: Inputs, out: Path, context: StageContext) -> Metrics:
    """Write `rows.parquet`, `mix.json`, `contamination.json` and the quality report."""
    from pipeline_core.augmentation.provenance import own_provenance
    from pipeline_core.quality.items import evaluation_items
    from plugins.extend.mix._removal import find_removals
    from plugins.extend.mix._taking import check_take, take_rows
    from plugins.extend.mix._writing import write_mix

    if not any(len(rows) for rows in inputs.parts.values()):
        raise BadInput("mix: there are no rows to combine")
    check_take(config.take, inputs.parts)
    parts = {label: rows for label, rows in inputs.parts.items() if config.take.get(label) != 0}
    if not parts:
        raise BadInput("mix: no row is left to write; `take` is 0 for every part")
    items = evaluation_items(inputs.catalog, config.against, config.similarity)
    removal = find_removals(parts, items, config.similarity)
    chosen, short = take_rows(parts, removal, config.take, config.stratify, context.seed, config.allow_fewer)
    if not sum(map(len, chosen.values())):
        raise BadInput("mix: no row is left to write; see `take` and `against`")
    metrics = _counts(parts, removal, chosen, short)
    if context.is_main:
        own = own_provenance(inputs)
        write_mix(parts, chosen, {OWN: own} if own else {}, out / "rows.parquet")
        _write_json(metrics, out / "mix.json")
        found = {"similarity": config.similarity, "sets": [overlap.model_dump() for overlap in removal.overlaps]}
        _write_json(found, out / "contamination.json")
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
    """Measure the rows taken of all parts together, and of every part that gave some; and check them."""
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
        write_quality(quality, out)
    check_gate(quality, settings.gate)
    return metrics_of(quality)


def sources(config: MixConfig) -> Mapping[str, str]:
    """What identifies the encoder of the quality report, where it has one."""
    return config.quality.sources() if config.quality else {}


@hookimpl
def register_data_extenders() -> list[DataExtender]:
    """Register `mix`."""
    example = {"quality": {"sample": 16, "subsamples": 2}}
    core = ("augmentation", "models", "quality")
    return [DataExtender(MixConfig, run, revision=2, example=example, sources=sources, combines=True, core=core)]
