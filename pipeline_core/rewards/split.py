"""Compares the held-out splits of rewards: texts that a member trained on are not held out for the combined reward."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline_core.data.refs import DataRef
from pipeline_core.rewards.layout import maker_of, manifest_of, part_folders

if TYPE_CHECKING:
    from pipeline_core.plugin.context import Inputs
    from pipeline_core.plugin.types import SpecSource

SplitRecord = Mapping[str, Any]
"""Record of a split: fingerprints of the rows, share held out, and seed."""


def own_split(inputs: Inputs, data: Sequence[DataRef], held_out: float, seed: int) -> SplitRecord:
    """Split of the running stage."""
    refs = [*data] if data or "preferences" in inputs.folders or inputs.data_ref is None else [inputs.data_ref]
    rows: dict[str, str | None] = {_key(ref): inputs.catalog.fingerprint(ref) for ref in refs} or {
        "preferences": _digest(inputs)
    }
    return {"rows": rows, "held_out": held_out, "seed": seed}


def split_of(manifest: Mapping[str, Any]) -> SplitRecord:
    """Split recorded in a reward's manifest; unknown rows or an unknown share are None."""
    config, known = manifest.get("config", {}), manifest.get("data", {})
    refs = config.get("data") or ()
    refs = [refs] if isinstance(refs, Mapping) else refs
    rows: dict[str, Any] = {key: known.get(key) for key in map(_key, map(DataRef.model_validate, refs))}
    if not rows:
        made = manifest.get("inputs", {}).get("preferences")
        rows = {"preferences": made} if made else known  # made by a stage, or read from the run's own `data`
    return {"rows": rows, "held_out": config.get("held_out"), "seed": manifest.get("seed")}


def differing(folders: Mapping[str, Path], own: SplitRecord, registry: SpecSource) -> list[str]:
    """Labels of the rewards whose split, or a member's split, differs from `own`.

    Rewards with `learns = False` are not trained and have no split. A trained reward without `held_out` always differs,
    because its training texts are unknown.
    """
    return [label for label, folder in folders.items() if _differs(folder, own, registry)]


def _differs(folder: Path, own: SplitRecord, registry: SpecSource) -> bool:
    learns = maker_of(folder, registry).config.learns
    return (learns and split_of(manifest_of(folder)) != own) or any(
        _differs(part, own, registry) for part in part_folders(folder)
    )


def _key(ref: DataRef) -> str:
    return ref.model_dump_json(exclude_none=True)


def _digest(inputs: Inputs) -> str | None:
    if "preferences" not in inputs.folders:
        return None
    digest: str = manifest_of(inputs.folders["preferences"])["digest"]
    return digest
