"""References to catalog rows in a configuration, and marks for the use of a setting's rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic.fields import FieldInfo

from pipeline_core.errors import BadInput

if TYPE_CHECKING:
    from pipeline_core.data.contract import RowKind


@dataclass(frozen=True)
class TakesRows:
    """Kinds of rows that a setting takes: `Annotated[DataRef | None, TakesRows("preference", "scored")]`.

    Without this mark, a setting takes the kind of rows of its default.
    """

    kinds: tuple[str, ...]

    def __init__(self, *kinds: RowKind) -> None:
        object.__setattr__(self, "kinds", kinds)  # the class is frozen, and takes several arguments for one field


class DataRef(BaseModel):
    """A reference to catalog rows: the entry, and optionally a split and a fixed sample of it.

    `stereoset_pairs` alone is short for `{entry: stereoset_pairs}`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)

    entry: str
    """Name of a catalog entry."""
    split: str | None = None
    """Split of the entry (default: the entry's own default)."""
    rows: int | None = Field(None, ge=1)
    """Number of rows in the sample; with `stratify`, in the shares of the data (largest remainder)."""
    stratify: tuple[str, ...] = ()
    """Columns whose combinations are the strata of the sample."""
    per_stratum: int | None = Field(None, ge=1)
    """Number of rows of every stratum, instead of `rows`."""
    seed: int = Field(0, ge=0, lt=2**32)
    """Seed of the sample; for generated entries also of the generator."""

    @property
    def name(self) -> str:
        """Name in reports: the entry, and the split if it is given."""
        return f"{self.entry}/{self.split}" if self.split else self.entry

    @model_validator(mode="before")
    @classmethod
    def _accept_a_name(cls, value: Any) -> Any:
        return {"entry": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _is_one_sample(self) -> DataRef:
        if self.rows is not None and self.per_stratum is not None:
            raise ValueError("give `rows` or `per_stratum`, not both")
        return self


def _as_several(value: Any) -> Any:
    if value is None:
        return ()
    return value if isinstance(value, (list, tuple)) else (value,)


DataRefs = Annotated[
    tuple[DataRef, ...],
    BeforeValidator(_as_several, json_schema_input_type=DataRef | tuple[DataRef, ...] | None),
]
"""References to rows of several entries; a single reference needs no list."""


@dataclass(frozen=True)
class HeldOutPart:
    """Marks a setting whose default is the held-out part of the run's data."""


@dataclass(frozen=True)
class ComparedOnly:
    """Marks a setting whose rows are compared with others and never trained on."""


@dataclass(frozen=True)
class SandboxDefault:
    """Marks a setting whose default fits only the sandbox; with other data it is required, see `choices`."""

    choices: str


HeldOutRef = Annotated[DataRef | None, HeldOutPart()]


def given(ref: DataRef | None) -> DataRef:
    """Reference of a setting marked with `HeldOutPart`, which is filled in when a configuration is read.

    Raises:
        BadInput: the reference is missing because the plugin is called outside a run.
    """
    if ref is None:
        raise BadInput("`data` is not given, and outside a run there is no other to take a held-out part of")
    return ref


def places_of(config: BaseModel) -> Iterator[tuple[str, DataRef, FieldInfo]]:
    """Data references in a configuration, each with its path and the field that declares it."""
    for name, field in type(config).model_fields.items():
        for path, value in _values(name, getattr(config, name)):
            if isinstance(value, DataRef):
                yield path, value, field
            elif isinstance(value, BaseModel):
                yield from ((f"{path}.{inner}", ref, declared) for inner, ref, declared in places_of(value))


def _values(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, (list, tuple)):
        items: Sequence[tuple[Any, Any]] = list(enumerate(value))
    elif isinstance(value, Mapping):
        items = list(value.items())
    else:
        yield path, value
        return
    for key, item in items:
        yield from _values(f"{path}.{key}", item)
