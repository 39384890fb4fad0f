"""Lineage of an artifact: its ancestors, the data behind it, and its evaluations."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pipeline_core.data.catalog import Catalog
from pipeline_core.data.refs import DataRef
from pipeline_core.export.figures import CardEvaluation
from pipeline_core.plugin.context import PART, REWARD
from pipeline_core.store.artifacts import Manifest, Store

EVALUATION = "evaluation"
MADE_FROM = {
    "model": ("model", "preferences", "reward"),
    "reward": ("preferences",),
    "preferences": ("preferences",),
    EVALUATION: ("model", "reward", "reference"),
}
"""Roles of the inputs that an artifact is made from, by its kind; roles `part:...` and `reward:...` always count."""


@dataclass(frozen=True)
class UsedData:
    """A catalog entry that rows were taken from."""

    ref: DataRef
    licence: str
    citation: str

    @property
    def words(self) -> str:
        """The entry with its split and sample."""
        settings = self.ref.model_dump(exclude_defaults=True, exclude={"entry"})
        details = ", ".join(f"{name} {_plain(value)}" for name, value in settings.items())
        return f"{self.ref.entry} ({details})" if details else self.ref.entry


@dataclass(frozen=True)
class Lineage:
    """An artifact, its ancestors (nearest first), the missing ancestors, the data behind them, and its evaluations.

    For an evaluation, `data` leaves out the data behind the measured model, and `evaluations` is the evaluation itself.
    """

    manifest: Manifest
    ancestors: tuple[Manifest, ...]
    missing: tuple[str, ...]
    data: tuple[UsedData, ...]
    evaluations: tuple[CardEvaluation, ...]

    @classmethod
    def of(cls, manifest: Manifest, store: Store, catalog: Catalog) -> Lineage:
        """Follow the inputs of `manifest` through the store by their digests."""
        everything = list(store.ls())
        # Newest last: of equal files the newest artifact counts.
        by_digest = {other.digest: other for other in reversed(everything)}
        ancestors, missing = _ancestors(manifest, by_digest)
        # The data behind a measured model stand on the model's own card.
        from_whom = (manifest,) if manifest.kind == EVALUATION else (manifest, *ancestors)
        refs = dict.fromkeys(ref for other in from_whom for ref in other.data)
        return cls(
            manifest=manifest,
            ancestors=ancestors,
            missing=missing,
            data=tuple(_used(ref, catalog) for ref in refs),
            evaluations=tuple(
                CardEvaluation.read(other, store.open(other.ref)) for other in _evaluations(manifest, everything)
            ),
        )

    @property
    def base(self) -> Manifest | None:
        """The base model behind a model."""
        return next((ancestor for ancestor in (self.manifest, *self.ancestors) if ancestor.stage == "base"), None)


def _ancestors(manifest: Manifest, by_digest: Mapping[str, Manifest]) -> tuple[tuple[Manifest, ...], tuple[str, ...]]:
    ancestors: dict[str, Manifest] = {}
    missing: dict[str, None] = {}
    waiting = [manifest]
    while waiting:
        current = waiting.pop(0)
        for role, digest in current.inputs.items():
            if role not in MADE_FROM.get(current.kind, ()) and not role.startswith((PART, REWARD)):
                continue
            if digest not in by_digest:
                missing[f"{role} of {current.stage} {current.label}"] = None
            elif digest not in ancestors:
                ancestors[digest] = by_digest[digest]
                waiting.append(by_digest[digest])  # breadth first, so nearest first
    return tuple(ancestors.values()), tuple(missing)


def _used(ref: str, catalog: Catalog) -> UsedData:
    reference = DataRef.model_validate_json(ref)
    entry = catalog.entries.get(reference.entry)
    return UsedData(reference, entry.licence if entry else "unknown", entry.citation if entry else "")


def _evaluations(manifest: Manifest, everything: Iterable[Manifest]) -> Iterator[Manifest]:
    """The newest evaluation of exactly these files, for every suite and its settings."""
    if manifest.kind == EVALUATION:
        yield manifest
        return
    role = "reward" if manifest.kind == "reward" else "model"
    seen: set[str] = set()
    for candidate in everything:
        # `everything` comes newest first, so a repeated setting is older.
        settings = json.dumps([candidate.plugin, candidate.config], sort_keys=True)
        if candidate.kind != EVALUATION or candidate.inputs.get(role) != manifest.digest or settings in seen:
            continue
        # The reward scored a model's texts: the figures are the model's.
        if role == "reward" and "model" in candidate.inputs:
            continue
        seen.add(settings)
        yield candidate


def _plain(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
