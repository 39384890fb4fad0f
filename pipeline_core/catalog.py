"""The data catalog: names for data sets, where their rows come from, and what a row must hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

if TYPE_CHECKING:
    from datasets import Dataset


class DataRef(BaseModel):
    """A reference to catalog rows: the entry, and optionally a split and a fixed sample of it.

    `stereoset_pairs` alone is short for `{entry: stereoset_pairs}`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    entry: str
    """Name of a catalog entry."""
    split: str | None = None
    """Part of the entry; its default when not given."""
    rows: int | None = Field(None, ge=1)
    """Size of the sample; with `stratify`, shares stay those of the data (largest remainder)."""
    stratify: tuple[str, ...] = ()
    """Columns whose combinations are the strata of the sample."""
    per_stratum: int | None = Field(None, ge=1)
    """Rows of every stratum, instead of `rows`."""
    seed: int = 0
    """Seed of the sample; for generated entries also of the generator."""

    @model_validator(mode="before")
    @classmethod
    def _accept_a_name(cls, value: Any) -> Any:
        return {"entry": value} if isinstance(value, str) else value


class Catalog:
    """Catalog entries by name (`data_catalog/catalog.yaml`)."""

    def load(self, ref: DataRef) -> Dataset:
        """Rows of `ref` as a `datasets.Dataset` in the columns of the entry's row contract."""
        raise NotImplementedError

    def fingerprint(self, ref: DataRef) -> str:
        """What identifies the rows without loading them: file digests, a hub revision, a generator's version."""
        raise NotImplementedError
