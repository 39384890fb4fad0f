"""Validates a catalog entry: reads every row, lists the faults, and counts rows that name control tokens."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from pipeline_core.data.catalog import Catalog
from pipeline_core.data.entries import SandboxEntry
from pipeline_core.data.file_entries import Files
from pipeline_core.data.file_search import files_of
from pipeline_core.data.reading import refuse_double_ids
from pipeline_core.data.sources import ReadingTally, read_entry, refuse_absent_kept
from pipeline_core.data.tables import rows_as_table
from pipeline_core.errors import BadInput
from pipeline_core.models.tokens.control import KNOWN
from pipeline_core.models.tokens.frames import named_controls
from pipeline_core.sandbox import parts as sandbox

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

APART = ("id", "source_id", "template_id")
"""Columns that are not searched, because they hold identifiers and not texts."""


def validate_entry(catalog: Catalog, name: str, model: Path | None = None) -> dict[str, Any]:
    """Read every row and return the faults. An entry or a split without rows is a fault.

    `named` in the result has row counts by control token name: well-known names, and those of the tokenizer in the
    folder `model`.

    Raises:
        BadInput: the files are not available.
    """
    entry = catalog.entry(name)
    marks = ControlNameCounts(model)
    if isinstance(entry, SandboxEntry):
        counts = {}
        for split in entry.splits or (None,):
            table = rows_as_table(sandbox.generate(entry.part, split, 0), entry.rows, name)
            counts[split or "all"] = table.num_rows
            marks.look(table)
        made = {"entry": name, "rows": sum(counts.values()), "splits": counts, "skipped": {}, "faults": [], "ok": True}
        return made | {"named": marks.rows}
    splits = entry.named_splits() or (None,)
    for split in splits:
        files_of(name, entry, split)  # missing files are not faulty data, so this error is raised
    tally = ReadingTally()
    try:
        for split in splits:
            _read(name, entry, split, tally, marks)
        refuse_absent_kept(name, entry, tally)
    except BadInput as error:
        tally.faults.append(str(error))
    return {
        "entry": name,
        "rows": tally.rows,
        "splits": dict(sorted(tally.splits.items())) | ({"(no split)": tally.unnamed} if tally.unnamed else {}),
        "skipped": dict(sorted(tally.skipped.items())),
        "named": marks.rows,
        "faults": tally.faults,
        "faulty": tally.faulty,
        "ok": not tally.faults,
    }


def _read(name: str, entry: Files, split: str | None, tally: ReadingTally, marks: ControlNameCounts) -> None:
    before, tally.schema = tally.rows, None  # splits may differ in their further columns
    ids = []
    for table in read_entry(name, entry, split, tally, strict=False):
        marks.look(table)
        ids.append(table["id"])
    if split is not None:
        tally.splits[split] += tally.rows - before
    if tally.faults:
        return
    if tally.rows == before:
        raise BadInput(f"{name}: no rows{f' in split {split!r}' if split else ''}{tally.told_left_out()}")
    if entry.split_name and entry.default_split and not tally.splits[entry.default_split]:
        raise BadInput(f"{name}: no rows in split {entry.default_split!r}, the default{tally.told_left_out()}")
    refuse_double_ids(name, entry, split, pa.table({"id": pa.chunked_array([c for id_ in ids for c in id_.chunks])}))


class ControlNameCounts:
    """Row counts by control token named in a text (`<|im_end|>`): well-known names, and those of a model's tokenizer.

    Raises:
        BadInput: the folder has no tokenizer.
    """

    def __init__(self, model: Path | None) -> None:
        self._tokenizer = _tokenizer(model) if model else None
        self._found: Counter[str] = Counter()

    def look(self, table: pa.Table) -> None:
        """Count the rows of a table."""
        names = [field.name for field in table.schema if field.name not in APART and _holds_text(field.type)]
        for row in table.select(names).to_pylist():
            texts = [text for value in row.values() for text in (value if isinstance(value, list) else [value]) if text]
            own = named_controls(self._tokenizer, texts) if self._tokenizer else set()
            # a set: a row counts once for each name
            self._found.update(own | {name for text in texts for name in KNOWN.findall(text)})

    @property
    def rows(self) -> dict[str, int]:
        """Row counts by control token name, largest first."""
        return dict(self._found.most_common())


def _holds_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or (pa.types.is_list(kind) and pa.types.is_string(kind.value_type)))


def _tokenizer(model: Path) -> PreTrainedTokenizerBase:
    from pipeline_core.models.foreign import LOADING_ERRORS
    from pipeline_core.models.loading import load_tokenizer

    try:
        return load_tokenizer(model)
    except LOADING_ERRORS as error:
        raise BadInput(f"--model {model}: no tokenizer can be read there: {str(error)[:200]}") from None
