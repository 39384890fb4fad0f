"""Writes the selected rows of all parts as one table, in the order of the parts, with the union of their columns."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline_core.augmentation.rows import NOT_KNOWN, SCHEMA, Provenance, in_schema, with_provenance
from pipeline_core.data.tables import ROW_GROUP, write_tables
from pipeline_core.data.texts import digests_of, occurrence_of
from pipeline_core.errors import BadInput
from plugins.extend.mix._taking import RowsByPart

if TYPE_CHECKING:
    from datasets import Dataset


def write_mix(
    parts: Mapping[str, Dataset], chosen: RowsByPart, provenance: Mapping[str, Provenance], path: Path
) -> None:
    """Write the chosen rows as Parquet.

    `provenance`: values by part for rows without provenance; default: unknown. Other columns that a part lacks are
    null. An id that an earlier part has is written as `<label>/<id>`.

    Raises:
        BadInput: columns of the same name have incompatible types, a value does not fit the row contract, or an id
            occurs twice in a part.
    """
    schema = _schema(parts)
    taken = {label: rows.select(chosen[label]) for label, rows in parts.items()}
    taken_before = ids_taken_before(taken)

    def tables() -> Iterator[pa.Table]:
        yield schema.empty_table()  # the first table decides the file's schema, also where no row is chosen
        for label, rows in taken.items():
            for number, piece in enumerate(rows.with_format("arrow").iter(ROW_GROUP)):
                prefixed = taken_before[label][number * ROW_GROUP :][: piece.num_rows]
                whole = _in_columns(piece, schema, label, provenance.get(label, NOT_KNOWN), number * ROW_GROUP)
                ids = pc.if_else(pa.array(prefixed), pc.binary_join_element_wise(label, whole["id"], "/"), whole["id"])
                yield whole.set_column(0, schema.field("id"), ids)  # `id` is the first column of the row contract

    write_tables(tables(), path)


def _schema(parts: Mapping[str, Dataset]) -> pa.Schema:
    """Schema with the columns of an extension's rows, then all further columns of the parts."""
    schema = SCHEMA
    for label, rows in parts.items():
        further = [field for field in rows.features.arrow_schema if field.name not in SCHEMA.names]
        try:
            # permissive: numbers widen, and a column that is null in one part takes another part's type
            schema = pa.unify_schemas([schema, pa.schema(further).remove_metadata()], promote_options="permissive")
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            raise BadInput(f"part {label!r} has a column of another type than the parts before it: {error}") from None
    return schema


def _in_columns(piece: pa.Table, schema: pa.Schema, label: str, provenance: Provenance, start: int) -> pa.Table:
    from pipeline_core.data.casting import conform

    def numbered() -> pa.Array:
        return pa.array([_made_id(label, start + row) for row in range(piece.num_rows)])

    table, faults = conform(piece, "preference", label, numbered, piece.column_names)
    if faults:
        raise BadInput(f"part {label!r}: column {faults[0].column!r} {faults[0].reason}")
    return in_schema(with_provenance(table, provenance), schema)


def _made_id(label: str, row: int) -> str:
    return f"{label}/{row + 1}"


def ids_taken_before(taken: Mapping[str, Dataset]) -> dict[str, NDArray[np.bool_]]:
    """Masks by part, True for rows whose id an earlier part has; ids are compared by 8-byte digests.

    Raises:
        BadInput: an id occurs twice in a part, or the prefixed id `<label>/<id>` is taken as well.
    """
    known = np.zeros(0, np.uint64)
    before: dict[str, NDArray[np.bool_]] = {}
    for label, rows in taken.items():
        # ids are read again where they are needed; 8 bytes of each stay in memory
        digests = digests_of(((id_,) for id_ in _ids(label, rows)), len(rows))
        before[label] = np.isin(digests, known)
        final = digests.copy()
        names = (f"{label}/{id_}" for id_, clash in zip(_ids(label, rows), before[label], strict=True) if clash)
        final[before[label]] = digests_of(((name,) for name in names), int(before[label].sum()))
        # a prefixed id is compared as well: `two/x` may be an id of its own
        if (wrong := (occurrence_of(final) > 0) | np.isin(final, known)).any():
            id_ = next(itertools.compress(_ids(label, rows), wrong))
            raise BadInput(f"part {label!r}: id {id_!r} cannot be told from another row's; ids tell rows apart")
        known = np.concatenate([known, final])
    return before


def _ids(label: str, rows: Dataset) -> Iterator[str]:
    if "id" not in rows.column_names:
        yield from (_made_id(label, row) for row in range(len(rows)))
        return
    table = rows.select_columns(["id"]).with_format("arrow")
    for piece in table.iter(ROW_GROUP):
        yield from (str(id_) for id_ in piece["id"].to_pylist())
