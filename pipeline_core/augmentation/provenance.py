"""Where rows come from and under which licence, for rows that do not say so themselves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from pipeline_core.augmentation.rows import PROVENANCE

if TYPE_CHECKING:
    from pipeline_core.plugin.context import Inputs

UNKNOWN = "unknown"
Provenance = Mapping[str, str]
"""What rows hold in the columns of `PROVENANCE` where they say nothing themselves."""
NOT_KNOWN: Provenance = {"source_id": "", "made_by": UNKNOWN, "licence": UNKNOWN}


def own_provenance(inputs: Inputs) -> Provenance | None:
    """That of the pipeline's own rows: made from nothing, by nobody here, under the licence of their entry."""
    if inputs.data_ref is None:
        return None
    return {"source_id": "", "made_by": "", "licence": inputs.catalog.entry(inputs.data_ref.entry).licence or UNKNOWN}


def with_provenance(table: pa.Table, provenance: Provenance) -> pa.Table:
    """A table with all columns of `PROVENANCE`, their missing values filled."""
    for field in PROVENANCE:
        default = pa.scalar(provenance[field.name], field.type)
        if field.name not in table.column_names:
            table = table.append_column(field, pa.repeat(default, table.num_rows))
        else:
            place = table.column_names.index(field.name)
            table = table.set_column(place, field, pc.fill_null(pc.cast(table[field.name], field.type), default))
    return table
