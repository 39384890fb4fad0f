"""Catalog entries: what `data_catalog/catalog.yaml` may say about a data set."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, field_validator, model_validator

from pipeline_core.data.contract import SCHEMAS, RowKind
from pipeline_core.data.formats.shapes import NEEDS
from pipeline_core.data.patterns import fits
from pipeline_core.data.row_checks import CODES, People
from pipeline_core.data.selection import Selection
from pipeline_core.errors import quoted, suggestion
from pipeline_core.network.hub_commits import check_commit

Shape = (
    Literal["plain", "transcript", "bbq", "bbq_pairs", "bold", "opinions", "hatecheck", "madlibs", "hhh", "truthfulqa"]
    | Literal["scored_continuations", "scored_halves", "scored_prompts", "scored_wholes"]
    | Literal["stereoset", "crows_pairs", "winobias"]
)
MOST_PARTS = 100
"""Folders of a path, and the file."""
DOCUMENTATION = frozenset({"title", "licence", "citation", "card"})


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)


class Unit(_Model):
    """What of the rows is alike and is drawn together by intervals and tests."""

    columns: tuple[str, ...] = Field(min_length=1)
    """Columns that name the unit together. A row whose last of them is empty names none."""
    noun: str = Field(min_length=1)
    """What a unit is called in reports: `term`, `page`."""


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

    score_better: Literal["higher", "lower"] = "higher"
    """Of scored rows: whether a larger or a smaller score is the better one (toxicity: `lower`)."""
    score_range: tuple[float, float] = (0.0, 1.0)
    """Of scored rows: the least and the largest score there can be."""
    unit: Unit | None = None
    """What rows share that are alike; intervals and tests of evaluations draw it whole. When not given it is the
    phrase, template, question or prompt that rows name."""
    people: Literal["sandbox"] | dict[str, tuple[str, ...]] = {}
    """Known domains and the groups of each (none: any); rows with others are at fault. `sandbox`: the sandbox's own."""

    @model_validator(mode="after")
    def _scores_have_a_range(self) -> _Entry:
        if self.rows != "scored" and {"score_better", "score_range"} & self.model_fields_set:
            raise ValueError(f"score_better, score_range: {self.rows} rows have no scores")
        if not self.score_range[0] < self.score_range[1]:
            raise ValueError("score_range: the least score must be below the largest")
        return self

    @model_validator(mode="after")
    def _unit_has_columns(self) -> _Entry:
        if self.unit:
            _check_known("unit", "column", self.unit.columns, self.row_columns())
        return self

    def known_people(self) -> People:
        """Domains and groups that rows may name; empty where anything goes."""
        return sandbox_people() if self.people == "sandbox" else self.people

    def row_columns(self) -> tuple[str, ...]:
        """Columns that loaded rows have."""
        return tuple(SCHEMAS[self.rows].names)

    def options(self) -> dict[str, Any]:
        """What reading the format takes, besides the file."""
        return {}

    def definition(self) -> dict[str, Any]:
        """What decides the rows and what their scores mean: the entry without its documentation.

        Settings of scores stand in it only where they are set, so that other entries keep their identity. `unit`
        changes no row: it is part of the keys of evaluations alone.
        """
        unset = {name for name in ("score_better", "score_range") if name not in self.model_fields_set}
        return self.model_dump(mode="json", exclude={*DOCUMENTATION, "unit"} | unset)


class SandboxEntry(_Entry):
    """Rows made by the sandbox's generator."""

    kind: Literal["sandbox"]
    part: str
    """Part of the sandbox, see `pipeline_core.sandbox`."""
    splits: tuple[str, ...] = ()
    """Splits the part has."""

    @model_validator(mode="after")
    def _default_is_a_split(self) -> SandboxEntry:
        _check_default(self.default_split, self.splits)
        return self


def sandbox_people() -> People:
    """The domains of the sandbox and their groups."""
    from pipeline_core.sandbox.world import load_world

    return {name: tuple(group.name for group in domain.people) for name, domain in load_world().domains.items()}


class Join(_Model):
    """Columns of a second file, found by key columns both files have."""

    path: str
    """CSV file, relative to the same root."""
    on: tuple[str, ...] = Field(min_length=1)
    """Key columns; a key that occurs twice in the second file is an error."""

    @field_validator("path")
    @classmethod
    def _path_names_a_file(cls, value: str) -> str:
        check_pattern(value)
        return value


class Files(Selection, _Entry):
    """Rows in files, wherever these are."""

    columns: dict[str, str | list[str]] = {}
    """Column of the row contract: column of the file, or several of which the first that exists is taken."""
    constants: dict[str, Any] = {}
    """Column of the row contract: the value all rows have."""
    keep: tuple[str, ...] = ()
    """Further columns to keep."""
    join: Join | None = None
    """A second file with more columns."""
    shape: Shape = "plain"
    """How the file's rows become ours: as they are, by cutting transcripts, as pairs of answers to a survey, as the
    continuations, the halves, the beginnings, or the whole of texts whose halves have scores, or by the rules of
    the data set named."""
    skip: tuple[str, ...] = ()
    """Faults known in this data set (`empty`, `distribution` and others): such rows are counted and left out."""
    path: str | tuple[str, ...] | dict[str, str | tuple[str, ...]]
    """File or pattern, several of them, or one of these for every split."""
    files: tuple[str, ...] = ()
    """Every file that the patterns of `path` stand for, where that is known: one that is missing is named."""
    splits: tuple[str, ...] = ()
    """Every value of `split_column`, where that is known: one that no row has is named."""

    @model_validator(mode="after")
    def _names_are_known(self) -> Files:
        columns = {*self.row_columns(), *NEEDS[self.shape]}
        _check_known("columns", "column", self.columns, columns)
        _check_known("constants", "column", self.constants, columns)
        _check_known("skip", "fault", self.skip, CODES)
        if self.split_by and isinstance(self.path, dict):
            raise ValueError("give splits by `path` or `split_by`, not both")
        if self.split_by:
            _check_default(self.default_split, self.split_by.shares)
        elif self.splits or not self.split_column:
            _check_default(self.default_split, self.named_splits() or self.splits)
        return self

    @field_validator("path")
    @classmethod
    def _paths_name_files(cls, value: Any) -> Any:
        """Refuse what no folder can be searched for: pathlib raises errors of its own for it."""
        nested = list(value.values()) if isinstance(value, Mapping) else [value]
        if not nested or not all(nested):
            raise ValueError("names no file: a file or a pattern is needed, for every split where there are some")
        for pattern in (one for several in nested for one in _several(several)):
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
        if strays := [file for file in self.files if not any(fits(file, one) for one in self.patterns(None))]:
            raise ValueError(f"files: {quoted(strays[0])} fits no pattern of `path`")
        return self

    def definition(self) -> dict[str, Any]:
        """What decides the rows; later settings only where they are set, so that other entries keep their identity.

        `files` and `splits` change no row of data that are whole.
        """
        left_out = {"files", "splits", *(key for key in ("pick", "split_by") if not getattr(self, key))}
        return {key: value for key, value in super().definition().items() if key not in left_out}

    def row_columns(self) -> tuple[str, ...]:
        """Columns that loaded rows have: those of the row contract and those that are kept."""
        return (*super().row_columns(), *self.keep)

    def patterns(self, split: str | None) -> tuple[str, ...]:
        """Patterns of the files of `split`, of all splits when it is None."""
        if isinstance(self.path, dict):
            chosen = self.path.values() if split is None else [self.path[split]]
            return tuple(pattern for value in chosen for pattern in _several(value))
        return _several(self.path)

    def files_for(self, pattern: str) -> tuple[str, ...]:
        """The listed files that fit a pattern."""
        return tuple(file for file in self.files if fits(file, pattern))

    def named_splits(self) -> list[str] | None:
        """Splits by file; None where a column tells them or there are none."""
        return list(self.path) if isinstance(self.path, dict) else None


def check_pattern(pattern: str) -> None:
    """Refuse a path or pattern that can name no file below a folder.

    Raises:
        ValueError: which pydantic reports at the field.
    """
    parts = PurePosixPath(pattern).parts
    if not pattern.strip() or "\0" in pattern or not parts:
        raise ValueError(f"{quoted(pattern)} names no file")
    if len(parts) > MOST_PARTS:
        raise ValueError(f"{quoted(pattern)} has {len(parts):,} parts, and a path has at most {MOST_PARTS}")
    if odd := next((part for part in parts if "**" in part and part != "**"), None):
        raise ValueError(f"in {quoted(pattern)} `**` must stand alone between slashes, not as {quoted(odd)}")
    if long := next((part for part in parts if len(part.encode(errors="replace")) > 255), None):
        raise ValueError(f"{quoted(long)} is longer than the name of a file can be")


def _check_default(default: str | None, splits: Iterable[str]) -> None:
    if default is not None and default not in (known := list(splits)):
        told = f"is none of {', '.join(known)}" if known else "is a split, and the entry has none"
        raise ValueError(f"default_split: {quoted(default)} {told}")


def _check_known(where: str, what: str, names: Iterable[str], known: Iterable[str]) -> None:
    if unknown := [name for name in names if name not in known]:
        raise ValueError(f"{where}: unknown {what} {quoted(unknown[0])}. {suggestion(unknown[0], known)}")


def _several(value: str | tuple[str, ...]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)


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

    def options(self) -> dict[str, Any]:
        """What reading the format takes, besides the file."""
        return {"member": self.member, "levels": self.levels}

    def definition(self) -> dict[str, Any]:
        """What decides the rows; `member` and `levels` only where they are set, so that others keep their identity."""
        unset = {key for key in ("member", "levels") if not getattr(self, key)}
        return {key: value for key, value in super().definition().items() if key not in unset}


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

    def options(self) -> dict[str, Any]:
        """What reading the format takes, besides the file."""
        return {"starts": self.starts}


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


FileEntry = JsonlEntry | JsonEntry | ParquetEntry | CsvEntry | TextEntry
Entry = SandboxEntry | FileEntry | HubEntry
ENTRY: TypeAdapter[Entry] = TypeAdapter(Annotated[Entry, Field(discriminator="kind")])
KINDS: Mapping[str, type[BaseModel]] = {
    "sandbox": SandboxEntry,
    "jsonl": JsonlEntry,
    "json": JsonEntry,
    "parquet": ParquetEntry,
    "csv": CsvEntry,
    "text": TextEntry,
    "hub": HubEntry,
}
