"""Measures the quality of a set of preference rows and writes the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipeline_core.data.duplicates.distinct import KEPT, resembled
from pipeline_core.data.duplicates.sketches import sketch
from pipeline_core.data.groups import NONE
from pipeline_core.data.texts import RowTexts, digests_of, occurrence_of
from pipeline_core.plugin.types import Metrics
from pipeline_core.quality.balance import coverage_of, labels_of, lengths_of
from pipeline_core.quality.columns import RowColumns, columns_of
from pipeline_core.quality.contamination import contaminated
from pipeline_core.quality.diversity import FEWEST, DrawnTexts, diversity
from pipeline_core.quality.embeddings import Embedder, embedding_of
from pipeline_core.quality.items import EvaluationItems
from pipeline_core.quality.model import Overlap, Quality, ScopeQuality, SubsampleRange
from pipeline_core.quality.settings import QualitySettings

if TYPE_CHECKING:
    from datasets import Dataset

SIMILARITY = 0.8
PREFIX = "quality/"
SHARES = ("duplicates", "near_duplicates", "contaminated")
NOT_COMPARED = "The rows were compared with no evaluation set, so nothing is known of contamination."


@dataclass(frozen=True)
class RepeatShares:
    """Shares of duplicate, near-duplicate and contaminated rows, and the matches in each evaluation set."""

    duplicates: float
    near_duplicates: float
    contaminated: float | None = None
    contamination: tuple[Overlap, ...] = ()


def repeats_in(tables: Mapping[str, Dataset], items: Sequence[EvaluationItems], similarity: float) -> RepeatShares:
    """Shares of repeated and contaminated rows. Deduplication runs in content order, so row order does not matter."""
    texts = RowTexts(tables)
    found_N, overlaps = contaminated(tables, items, similarity)
    digests_N = digests_of(texts, len(texts))
    order = np.argsort(digests_N, kind="stable")  # of rows that resemble each other, the first in this order is kept
    alike_N = resembled(sketch(texts, len(texts), similarity), texts.__getitem__, order)
    shares = [float(mask_N.mean()) for mask_N in (occurrence_of(digests_N) > 0, alike_N != KEPT, found_N)]
    return RepeatShares(shares[0], shares[1], shares[2] if items else None, overlaps)


def measure_quality(
    name: str,
    tables: Mapping[str, Dataset],
    settings: QualitySettings,
    human: Dataset | None,
    repeats: RepeatShares,
    *,
    similarity: float = SIMILARITY,
    seed: int = 0,
    device: str = "cpu",
) -> Quality:
    """Quality of the rows of all tables together, compared with `human` if given.

    Raises:
        BadInput: the rows are not preference rows, there are none, or a label is not a finite number.
    """
    texts = RowTexts(tables)  # first: it refuses rows of another kind
    columns = columns_of(tables)
    own = _texts(texts, columns, seed)
    other = _human(human, seed) if human is not None else None
    embed = embedding_of(settings, device)
    domains = {domain: _scope(columns, own, other, domain, embed, settings) for domain in sorted(own.by_domain)}
    return Quality(
        name=name,
        embedding=settings.embedding,
        human=settings.human.name if settings.human else None,
        sample=settings.sample,
        subsamples=settings.subsamples,
        similarity=similarity,
        overall=_scope(columns, own, other, None, embed, settings),
        domains=domains,
        coverage=coverage_of(columns),
        notes=_notes(domains, other, repeats),
        **vars(repeats),  # its fields have the names of Quality's
    )


def _human(rows: Dataset, seed: int) -> DrawnTexts:
    tables = {"the human set": rows}
    # A different seed, so that rows in both sets are not drawn into both subsamples.
    return _texts(RowTexts(tables), columns_of(tables), seed + 1)


def _texts(texts: RowTexts, columns: RowColumns, seed: int) -> DrawnTexts:
    by_domain = {domain: np.flatnonzero(columns.domain_N == number) for number, domain in enumerate(columns.domains)}
    return DrawnTexts(texts, by_domain, seed)


def _scope(
    columns: RowColumns,
    own: DrawnTexts,
    other: DrawnTexts | None,
    domain: str | None,
    embed: Embedder,
    settings: QualitySettings,
) -> ScopeQuality:
    rows = own.rows(domain)
    return ScopeQuality(
        rows=len(rows),
        lengths=lengths_of(columns.chosen_N[rows], columns.rejected_N[rows]),
        labels=labels_of(columns.label_N[rows]),
        diversity=diversity(own, other, domain, embed, settings),
    )


def _notes(domains: Mapping[str, ScopeQuality], human: DrawnTexts | None, repeats: RepeatShares) -> tuple[str, ...]:
    notes = [] if repeats.contaminated is not None else [NOT_COMPARED]
    if set(domains) == {NONE}:
        notes.append("No row has a domain, so nothing is told apart by domains.")
    elif NONE in domains:
        notes.append(f"{domains[NONE].rows} rows have no domain; they stand under {NONE}.")
    if few := [domain for domain, scope in domains.items() if scope.rows < FEWEST]:
        notes.append(f"One row says nothing about diversity: {', '.join(few)}.")
    if human and (absent := [d for d, scope in domains.items() if scope.rows >= FEWEST > len(human.rows(d))]):
        notes.append(f"The human set has fewer than {FEWEST} rows of: {', '.join(absent)}.")
    return tuple(notes)


def metrics_of(quality: Quality) -> Metrics:
    """Report as flat metrics. Metrics of parts have no domains; undefined metrics are omitted."""
    metrics: dict[str, float | None] = {name: getattr(quality, name) for name in SHARES}
    for prefix, scope in {"": quality.overall, **{f"domain/{d}/": of for d, of in quality.domains.items()}}.items():
        metrics |= {prefix + name: value for name, value in _of_scope(scope).items()}
    counts = quality.coverage
    metrics |= {f"coverage/{name}": getattr(counts, name) for name in ("groups", "templates", "combinations")}
    of_parts = {
        name.replace(PREFIX, f"{PREFIX}part/{label}/", 1): value
        for label, part in quality.parts.items()
        for name, value in metrics_of(part).items()
        if not name.startswith(f"{PREFIX}domain/")
    }
    return {PREFIX + name: float(value) for name, value in metrics.items() if value is not None} | of_parts


def _of_scope(scope: ScopeQuality) -> dict[str, float | None]:
    diverse = scope.diversity
    return {
        "rows": scope.rows,
        "length_auc": scope.lengths.auc,
        "chosen_longer": scope.lengths.chosen_longer,
        "labelled": scope.labels.labelled / scope.rows if scope.labels else None,
        "label_mean": scope.labels.mean if scope.labels else None,
        **_of_spread("vendi", diverse.vendi if diverse else None),
        **_of_spread("vendi_relative", diverse.relative if diverse else None),
    }


def _of_spread(name: str, spread: SubsampleRange | None) -> dict[str, float | None]:
    return {name: spread.mean, f"{name}/low": spread.low, f"{name}/high": spread.high} if spread else {}


def write_quality(quality: Quality, out: Path) -> None:
    """Write `quality.json` and its readable form, `quality.md`."""
    from pipeline_core.quality.tables import to_markdown

    (out / "quality.json").write_text(quality.model_dump_json(indent=1) + "\n", encoding="utf-8")
    (out / "quality.md").write_text(to_markdown(quality), encoding="utf-8")
