"""Catalog entries by kind: what `data_catalog/catalog.yaml` may say about a data set."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Literal, get_args

from pydantic import BaseModel, Field, TypeAdapter, field_validator, model_validator

from pipeline_core.data.entry_base import EntryBase, check_default
from pipeline_core.data.file_entries import Files
from pipeline_core.network.hub_commits import check_commit


class SandboxEntry(EntryBase):
    """Rows made by the sandbox's generator."""

    kind: Literal["sandbox"]
    part: str
    """Part of the sandbox, see `pipeline_core.sandbox`."""
    splits: tuple[str, ...] = ()
    """Splits the part has."""

    @model_validator(mode="after")
    def _default_is_a_split(self) -> SandboxEntry:
        check_default(self.default_split, self.splits)
        return self


class JsonlEntry(Files):
    """JSON lines below the local root, `.gz` or not."""

    kind: Literal["jsonl"]


class JsonEntry(Files):
    """One JSON array of objects per file below the local root, `.gz` or not."""

    kind: Literal["json"]
    member: str | None = None
    """Name of the array, where the file holds an object with the array among its members."""
    levels: tuple[str, ...] = ()
    """Columns for the keys of objects within objects, the outermost first; the innermost hold arrays, whose elements
    are the rows. Elements that are no objects become the column `value`, with their place in the array as `number`."""


class ParquetEntry(Files):
    """Parquet files below the local root."""

    kind: Literal["parquet"]


class CsvEntry(Files):
    """CSV files with a header below the local root, `.gz` or not."""

    kind: Literal["csv"]


class TextEntry(Files):
    """Plain text below the local root, `.gz` or not, as documents; read line by line, so of any size."""

    kind: Literal["text"]
    starts: str = ""
    """Pattern of a line (without its end) that begins a document; what stands before the first is one too. Every line
    is a document where none is given."""

    @field_validator("starts")
    @classmethod
    def _is_a_pattern(cls, value: str) -> str:
        try:
            re.compile(value)
        except re.error as error:
            raise ValueError(f"is no regular expression: {error}") from None
        return value


class HubEntry(Files):
    """Files of a data set repository on the Hugging Face hub at one commit. No code of the repository is run."""

    kind: Literal["hub"]
    repo: str
    """Repository id."""
    revision: str | None
    """Full commit hash. Null: not pinned; the newest commit at first use is taken, recorded and kept."""
    format: Literal["jsonl", "json", "parquet", "csv"]
    """Format of the files."""

    @field_validator("revision")
    @classmethod
    def _is_a_commit(cls, value: str | None) -> str | None:
        check_commit(value)
        return value


CatalogEntry = SandboxEntry | JsonlEntry | JsonEntry | ParquetEntry | CsvEntry | TextEntry | HubEntry
ENTRY: TypeAdapter[CatalogEntry] = TypeAdapter(Annotated[CatalogEntry, Field(discriminator="kind")])
KINDS: Mapping[str, type[BaseModel]] = {
    get_args(entry.model_fields["kind"].annotation)[0]: entry for entry in get_args(CatalogEntry)
}
