"""Fills in origin and licence of rows that do not state them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from pipeline_core.augmentation.rows import PROVENANCE

if TYPE_CHECKING:
    from pipeline_core.plugin.context import Inputs

UNKNOWN = "unknown"  # an empty licence could be read as free of restrictions
Provenance = Mapping[str, str]
"""Values of the columns of `PROVENANCE` for rows that do not state them."""
NOT_KNOWN: Provenance = {"source_id": "", "made_by": UNKNOWN, "licence": UNKNOWN}


def own_provenance(inputs: Inputs) -> Provenance | None:
    """Provenance of the pipeline's rows: no source row, no maker, their entry's licence; None without `data_ref`."""
    if inputs.data_ref is None:
        return None
    return {"source_id": "", "made_by": "", "licence": inputs.catalog.entry(inputs.data_ref.entry).licence or UNKNOWN}


def with_provenance(table: pa.Table, provenance: Provenance) -> pa.Table:
    """Table with all columns of `PROVENANCE`; missing values are filled from `provenance`."""
    for field in PROVENANCE:
        default = pa.scalar(provenance[field.name], field.type)
        if field.name not in table.column_names:
            table = table.append_column(field, pa.repeat(default, table.num_rows))
        else:
            place = table.column_names.index(field.name)
            # cast first: a column that is null in every row has the type null, which nothing fills
            table = table.set_column(place, field, pc.fill_null(pc.cast(table[field.name], field.type), default))
    return table
