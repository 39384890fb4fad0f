"""Catalog entries: what `data_catalog/catalog.yaml` may say about a data set."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, field_validator

from pipeline_core.records import RowKind

DOCUMENTATION = frozenset({"title", "licence", "citation", "card"})
COMMIT = re.compile(r"[0-9a-f]{40}")


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class _Entry(_Model):
    kind: str
    """Where the rows come from."""
    rows: RowKind
    """Which row contract the rows fulfil."""
    title: str = ""
    """One line for `evenhand data ls`."""
    licence: str
    """Licence of the data, in a word."""
    citation: str
    """Where the data come from, as one would cite it."""
    card: str | None = None
    """File below `data_catalog/cards` with the story of the data; the entry's name when not given."""
    default_split: str | None = None
    """The split a reference without one means."""

    def definition(self) -> dict[str, Any]:
        """What decides the rows: the entry without its documentation."""
        return self.model_dump(mode="json", exclude=set(DOCUMENTATION))


class SandboxEntry(_Entry):
    """Rows made by the sandbox's generator."""

    kind: Literal["sandbox"]
    part: str
    """Part of the sandbox, see `pipeline_core.sandbox`."""
    splits: tuple[str, ...] = ()
    """Splits the part has."""


class Join(_Model):
    """Columns of a second file, found by key columns both files have."""

    path: str
    """CSV file, relative to the same root."""
    on: tuple[str, ...] = Field(min_length=1)
    """Key columns; a key that occurs twice in the second file is an error."""


class Files(_Entry):
    """Rows in files, wherever these are."""

    columns: dict[str, str | list[str]] = {}
    """Column of the row contract: column of the file, or several of which the first that exists is taken."""
    constants: dict[str, Any] = {}
    """Column of the row contract: the value all rows have."""
    keep: tuple[str, ...] = ()
    """Further columns to keep."""
    split_column: str | None = None
    """Column whose values are the splits."""
    join: Join | None = None
    """A second file with more columns."""
    shape: Literal["plain", "transcript", "bbq"] = "plain"
    """How the file's rows become ours: as they are, by cutting transcripts, or by the rules of BBQ."""
    skip: tuple[str, ...] = ()
    """Faults known in this data set (`empty`, `equal_pair`, `prompts_differ`): such rows are counted and left out."""
    path: str | tuple[str, ...] | dict[str, str | tuple[str, ...]]
    """File or pattern, several of them, or one of these for every split."""

    def patterns(self, split: str | None) -> tuple[str, ...]:
        """Patterns of the files of `split`, of all splits when it is None."""
        if isinstance(self.path, dict):
            chosen = self.path.values() if split is None else [self.path[split]]
            return tuple(pattern for value in chosen for pattern in _several(value))
        return _several(self.path)

    def named_splits(self) -> list[str] | None:
        """Splits by file; None where a column tells them or there are none."""
        return list(self.path) if isinstance(self.path, dict) else None


def _several(value: str | tuple[str, ...]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)


class JsonlEntry(Files):
    """JSON lines below the local root, `.gz` or not."""

    kind: Literal["jsonl"]


class ParquetEntry(Files):
    """Parquet files below the local root."""

    kind: Literal["parquet"]


class CsvEntry(Files):
    """CSV files with a header below the local root, `.gz` or not."""

    kind: Literal["csv"]


class HubEntry(Files):
    """Files of a data set repository on the Hugging Face hub at one commit. No code of the repository is run."""

    kind: Literal["hub"]
    repo: str
    """Repository id."""
    revision: str | None
    """Full commit hash. Null: not pinned; the newest commit at first use is taken, recorded and kept."""
    format: Literal["jsonl", "parquet", "csv"]
    """Format of the files."""

    @field_validator("revision")
    @classmethod
    def _is_a_commit(cls, value: str | None) -> str | None:
        if value is not None and not COMMIT.fullmatch(value):
            raise ValueError(f"{value!r} is no full commit hash (40 hex digits); branches move")
        return value


FileEntry = JsonlEntry | ParquetEntry | CsvEntry
Entry = SandboxEntry | FileEntry | HubEntry
ENTRY: TypeAdapter[Entry] = TypeAdapter(
    Annotated[SandboxEntry | JsonlEntry | ParquetEntry | CsvEntry | HubEntry, Field(discriminator="kind")]
)
