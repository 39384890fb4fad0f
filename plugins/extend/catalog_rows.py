"""Data extender `catalog_rows`: unchanged rows of another catalog entry, as a part for `mix` next to `data`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import pyarrow as pa

from pipeline_core.augmentation.rows import provenance_of, with_provenance
from pipeline_core.data.refs import DataRef, TakesRows
from pipeline_core.data.tables import ROW_GROUP, write_tables
from pipeline_core.plugin.context import Inputs, StageContext
from pipeline_core.plugin.hooks import hookimpl
from pipeline_core.plugin.specs import DataExtender, PluginConfig
from pipeline_core.plugin.types import Metrics


class CatalogRowsConfig(PluginConfig):
    """Take all rows, or a sample, of a catalog entry."""

    shares_work: ClassVar[bool] = False
    row_kinds: ClassVar[tuple[str, ...]] = ()  # rows come from `data` below, not from the pipeline's own

    name: Literal["catalog_rows"] = "catalog_rows"
    data: Annotated[DataRef, TakesRows("preference")]
    """Rows to take."""

    def rows_made(self, count: Callable[[DataRef], int | None]) -> int | None:
        """Number of rows of the reference; None if unknown."""
        return count(self.data)


def run(config: CatalogRowsConfig, inputs: Inputs, out: Path, context: StageContext) -> Metrics:
    """Write the rows, with the licence of their entry, as `rows.parquet`."""
    rows, provenance = inputs.data(config.data), provenance_of(inputs.catalog, config.data)

    def tables() -> Iterator[pa.Table]:
        for piece in rows.with_format("arrow").iter(ROW_GROUP):
            yield with_provenance(piece, provenance)

    if context.is_main:
        write_tables(tables(), out / "rows.parquet")
    counts = Counter(rows["domain"])
    return {"rows": float(len(rows)), **{f"domain/{name}/rows": float(counts[name]) for name in sorted(counts)}}


@hookimpl
def register_data_extenders() -> list[DataExtender]:
    """Register `catalog_rows`."""
    return [DataExtender(CatalogRowsConfig, run, example={"data": {"entry": "sandbox_pairs", "rows": 20}})]
