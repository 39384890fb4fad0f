"""Catalog entries by kind: the settings of a data set in `data_catalog/catalog.yaml`."""

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
    """Splits of the part."""

    @model_validator(mode="after")
    def _default_is_a_split(self) -> SandboxEntry:
        check_default(self.default_split, self.splits)
        return self


class JsonlEntry(Files):
    """JSON lines files below the local root, plain or `.gz`."""

    kind: Literal["jsonl"]


class JsonEntry(Files):
    """JSON files below the local root, plain or `.gz`, each with an array of objects."""

    kind: Literal["json"]
    member: str | None = None
    """Name of the array, if the file holds an object with the array among its members."""
    levels: tuple[str, ...] = ()
    """Columns for the keys of nested objects, outermost first. The innermost objects hold arrays of rows. Elements that
    are not objects become the column `value`, with their 1-based place in the array as `number`."""


class ParquetEntry(Files):
    """Parquet files below the local root."""

    kind: Literal["parquet"]


class CsvEntry(Files):
    """CSV files with a header, below the local root, plain or `.gz`."""

    kind: Literal["csv"]


class TextEntry(Files):
    """Text files of any size below the local root, plain or `.gz`, read line by line and split into documents."""

    kind: Literal["text"]
    starts: str = ""
    """Regular expression for the first line of a document (without its line end). Text before the first such line is a
    document too. Default: every line is a document."""

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
