"""Rewards made of other rewards: the artifact has copies of its members, so that it is self-contained.

Texts that a member trained on are not held out for the combined reward: the splits of all of them are compared.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from pipeline_core.data.refs import DataRef
from pipeline_core.errors import BadInput, UnknownName
from pipeline_core.plugin.context import Inputs
from pipeline_core.plugin.registry import load_registry
from pipeline_core.plugin.specs import CombiningConfig
from pipeline_core.plugin.types import RewardFn, SpecSource
from pipeline_core.rewards.layout import FOLDER, maker_of, manifest_of, part_folders
from pipeline_core.rewards.load import load_reward
from pipeline_core.rewards.scored_text import NOTHING, ScoredText, hold_out
from pipeline_core.rewards.sources import given_text, refs_of
from pipeline_core.store.artifacts import MANIFEST

log = logging.getLogger(__name__)
KEPT = ("plugin", "revision", "label", "seed", "config", "inputs", "data", "digest", "metrics")
"""Manifest fields of a member's copy: those that identify the reward. Times are left out to keep bytes reproducible."""
SplitRecord = Mapping[str, Any]
"""Record of a split: fingerprints of the rows, share held out, and seed."""


def choose(known: Sequence[str], labels: Sequence[str]) -> list[str]:
    """Labels of the rewards to combine, in alphabetical order: the given `labels`, or all that are known.

    Raises:
        BadInput: no reward is known; UnknownName: no reward has a given label.
    """
    if not known:
        raise BadInput("this reward combines those before it, and there are none: list some before it in `reward:`")
    for label in labels:
        if label not in known:
            raise UnknownName(
                "reward", label, sorted(known), note="A combining reward takes those that stand before it."
            )
    return sorted(set(labels)) if labels else sorted(known)


class OneRewardConfig(CombiningConfig):
    """Configuration of a reward made of a single other reward."""

    shares_work: ClassVar[bool] = False
    row_kinds: ClassVar[tuple[str, ...]] = ("preference", "scored")

    of: str | None = None
    """Label of the reward; required if several rewards are listed before this one."""

    def takes(self, before: Sequence[str]) -> list[str]:
        """Label of the reward, as a list."""
        labels = choose(before, [self.of] if self.of else [])
        if len(labels) > 1:
            raise BadInput(f"several rewards stand before it ({', '.join(labels)}): say which one with `of`")
        return labels


def keep_parts(inputs: Inputs, labels: Sequence[str], out: Path) -> None:
    """Copy the artifacts of the members into `out`."""
    for label in labels:
        copy = out / FOLDER / label
        shutil.copytree(inputs.part_folders[label], copy)
        manifest = manifest_of(copy)  # a manifest as it was made holds times
        kept = {name: manifest[name] for name in KEPT if name in manifest}
        (copy / MANIFEST).write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def hold_apart(
    inputs: Inputs, labels: Sequence[str], data: Sequence[DataRef], share: float, seed: int
) -> tuple[ScoredText, ScoredText, ScoredText, ScoredText]:
    """Tuple of training texts; held-out texts; the held-out texts if no member learned from them, else `NOTHING`; and
    the texts that decide the sign in that last case.
    """
    text = given_text(inputs, data)
    learned, apart = hold_out(text, share, seed)
    held = held_from_parts(inputs, labels, apart, own_split(inputs, data, share, seed))
    return learned, apart, held, learned if len(held) else text


def held_from_parts(inputs: Inputs, labels: Sequence[str], held: ScoredText, own: SplitRecord) -> ScoredText:
    """`held` if every member holds out the same texts; else `NOTHING`, and the log gives the reason."""
    if others := [label for label in labels if _differs(inputs.part_folders[label], own, inputs.reward_specs)]:
        log.warning(
            "nothing counts as held out: %s may have learned from it; give all the same `data`, `held_out` and seed",
            ", ".join(others),
        )
        return NOTHING
    return held


def open_parts(folder: Path, device: str, registry: SpecSource | None = None) -> dict[str, RewardFn]:
    """Members of a reward artifact, by label; for each a larger score is better, and answers are checked."""
    known = registry or load_registry()
    return {copy.name: load_reward(copy, device, known) for copy in part_folders(folder)}


def own_split(inputs: Inputs, data: Sequence[DataRef], held_out: float, seed: int) -> SplitRecord:
    """Split of the running stage."""
    rows: dict[str, Any] = {_key(ref): inputs.catalog.fingerprint(ref) for ref in refs_of(inputs, data)}
    if not rows:
        made = inputs.folders.get("preferences")
        rows = {"preferences": manifest_of(made)["digest"] if made else None}
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


def _differs(folder: Path, own: SplitRecord, registry: SpecSource) -> bool:
    """True if the split of a reward, or that of a member of it, differs from `own`.

    Rewards with `learns = False` are not trained and have no split. A trained reward without `held_out` always differs,
    because its training texts are unknown.
    """
    learns = maker_of(folder, registry).config.learns
    return (learns and split_of(manifest_of(folder)) != own) or any(
        _differs(part, own, registry) for part in part_folders(folder)
    )


def _key(ref: DataRef) -> str:
    return ref.model_dump_json(exclude_none=True)
