"""Catalog entries with rows in files: settings for the files, the selection of rows, and the mapping of columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import pyarrow as pa
from pydantic import AfterValidator, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from pipeline_core.data.entry_base import EntryBase, EntryModel, check_default, check_known
from pipeline_core.data.formats.format import DataFormat
from pipeline_core.data.formats.known import format_named, installed_formats
from pipeline_core.data.patterns import check_pattern, fits
from pipeline_core.data.row_checks import CODES
from pipeline_core.data.selection import Selection
from pipeline_core.errors import quoted
from pipeline_core.packages.announced import note_of


class Join(EntryModel):
    """Columns of a second file, joined by key columns of both files."""

    path: Annotated[str, AfterValidator(check_pattern)]
    """CSV file, relative to the same root."""
    on: tuple[str, ...] = Field(min_length=1)
    """Key columns; a key that occurs twice in the second file is an error."""


class Files(Selection, EntryBase):
    """Settings of entries with rows in files, local or on the hub."""

    columns: dict[str, str | list[str]] = Field({})
    """Column of the row contract: column of the file, or several, of which the first that exists is taken."""
    constants: dict[str, Any] = Field({})
    """Column of the row contract: its value in all rows."""
    keep: tuple[str, ...] = ()
    """Further columns to keep."""
    join: Join | None = None
    """A second file with more columns."""
    shape: str = "plain"
    """Name of the data format, which turns the file's rows into rows of the contract."""
    skip: tuple[str, ...] = ()
    """Faults known in this data set (`empty`, `distribution` and others); rows with them are left out and counted."""
    path: str | tuple[str, ...] | dict[str, str | tuple[str, ...]]
    """File or pattern, a list of these, or a mapping from splits to either."""
    files: tuple[str, ...] = ()
    """All files that the patterns of `path` match, if known; a missing file is then an error that names it."""
    splits: tuple[str, ...] = ()
    """All values of `split_column`, if known; a value without rows is then an error that names it."""

    @model_validator(mode="after")
    def _names_are_known(self) -> Files:
        columns = {*self.row_columns(), *self.data_format.needs}
        check_known("columns", "column", self.columns, columns)
        check_known("constants", "column", self.constants, columns)
        check_known("skip", "fault", self.skip, CODES)
        if self.split_by and isinstance(self.path, dict):
            raise ValueError("give splits by `path` or `split_by`, not both")
        if self.split_by:
            check_default(self.default_split, self.split_by.shares)
        elif self.splits or not self.split_column:  # else only reading tells the column's values
            check_default(self.default_split, self.named_splits() or self.splits)
        return self

    @field_validator("shape", mode="before")
    @classmethod
    def _format_is_known(cls, value: Any) -> Any:
        if isinstance(value, str) and format_named(value):
            return value
        formats = installed_formats()
        context = {"expected": ", ".join(map(repr, formats.by_name)), "note": note_of(formats.broken)}
        # Worded by `entry_faults` like pydantic's own.
        raise PydanticCustomError("literal_error", "no data format: {expected}. {note}", context)

    @field_validator("path")
    @classmethod
    def _paths_name_files(cls, value: Any) -> Any:
        """Refuse patterns for which pathlib raises errors of its own."""
        nested = list(value.values()) if isinstance(value, Mapping) else [value]
        if not nested or not all(nested):
            raise ValueError("names no file: a file or a pattern is needed, for every split where there are some")
        for pattern in (path for paths in nested for path in _several(paths)):
            check_pattern(pattern)
        return value

    @field_validator("files")
    @classmethod
    def _files_are_files(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for file in value:
            check_pattern(file)
        return value

    @field_validator("constants")
    @classmethod
    def _constants_can_be_columns(cls, value: dict[str, Any]) -> dict[str, Any]:
        for column, constant in value.items():
            try:
                pa.array([constant])
            except (pa.ArrowException, OverflowError, TypeError, ValueError):
                raise ValueError(f"{quoted(column)} cannot be {quoted(constant)} in every row") from None
        return value

    @model_validator(mode="after")
    def _what_is_listed_is_looked_for(self) -> Files:
        if self.splits and not self.split_column:
            raise ValueError("splits: these are the values of a `split_column`, and none is given")
        if strays := [file for file in self.files if not any(fits(file, pattern) for pattern in self.patterns(None))]:
            raise ValueError(f"files: {quoted(strays[0])} fits no pattern of `path`")
        return self

    def options(self) -> dict[str, Any]:
        """Settings for reading the files, besides their names; each kind of entry has some of them."""
        return {name: getattr(self, name) for name in ("member", "levels", "starts") if name in type(self).model_fields}

    def definition(self) -> dict[str, Any]:
        """Settings that determine the rows; `files` and `splits` do not: they only check that the data are complete."""
        return {name: value for name, value in super().definition().items() if name not in ("files", "splits")}

    @property
    def data_format(self) -> DataFormat:
        """Data format, which turns the files' rows into rows of the contract."""
        format_ = format_named(self.shape)
        assert format_, f"{self.shape} was known when the entry was read"
        return format_

    def row_columns(self) -> tuple[str, ...]:
        """Columns of loaded rows: those of the row contract and the kept ones."""
        return (*super().row_columns(), *self.keep)

    def patterns(self, split: str | None) -> tuple[str, ...]:
        """Patterns of the files of `split`, or of all splits if it is None."""
        if isinstance(self.path, dict):
            chosen = self.path.values() if split is None else [self.path[split]]
            return tuple(pattern for value in chosen for pattern in _several(value))
        return _several(self.path)

    def files_for(self, pattern: str) -> tuple[str, ...]:
        """Files in `files` that match a pattern."""
        return tuple(file for file in self.files if fits(file, pattern))

    def named_splits(self) -> list[str] | None:
        """Splits that `path` lists; None if a column holds the splits or there are none."""
        return list(self.path) if isinstance(self.path, dict) else None


def _several(value: str | tuple[str, ...]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)
