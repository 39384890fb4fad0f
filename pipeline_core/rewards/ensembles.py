"""Rewards within a reward: a combining one keeps copies of those it is made of, so that its artifact stands alone."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from pipeline_core.errors import BadInput, UnknownName
from pipeline_core.plugin.registry import load_registry
from pipeline_core.plugin.specs import CombiningConfig
from pipeline_core.rewards.layout import FOLDER, manifest_of, part_folders
from pipeline_core.rewards.load import load_reward
from pipeline_core.rewards.scored_text import NOTHING, hold_out
from pipeline_core.rewards.sources import given_text
from pipeline_core.rewards.split import differing, own_split
from pipeline_core.store.artifacts import MANIFEST

if TYPE_CHECKING:
    from pipeline_core.data.refs import DataRef
    from pipeline_core.plugin.context import Inputs
    from pipeline_core.plugin.types import RewardFn, SpecSource
    from pipeline_core.rewards.scored_text import ScoredText
    from pipeline_core.rewards.split import SplitRecord

log = logging.getLogger(__name__)
KEPT = ("plugin", "revision", "label", "seed", "config", "inputs", "data", "digest", "metrics")
"""What a copy's manifest keeps: all that says what the reward is, and no times, which would make other bytes."""


def choose(known: Sequence[str], labels: Sequence[str]) -> list[str]:
    """The labels to combine, in alphabetical order: those asked for, or all that are known.

    Raises:
        BadInput: for none at all; UnknownName: for a label that none has.
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
    """The configuration of a reward that is made of one other."""

    row_kinds: ClassVar[tuple[str, ...]] = ("preference", "scored")

    of: str | None = None
    """Label of the reward; needed when several stand before it."""

    def takes(self, before: Sequence[str]) -> list[str]:
        """The one reward."""
        labels = choose(before, [self.of] if self.of else [])
        if len(labels) > 1:
            raise BadInput(f"several rewards stand before it ({', '.join(labels)}): say which one with `of`")
        return labels


def keep_parts(inputs: Inputs, labels: Sequence[str], out: Path) -> None:
    """Copy the artifacts into `out`."""
    for label in labels:
        copy = out / FOLDER / label
        shutil.copytree(inputs.part_folders[label], copy)
        manifest = manifest_of(copy)
        kept = {name: manifest[name] for name in KEPT if name in manifest}
        (copy / MANIFEST).write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def hold_apart(
    inputs: Inputs, labels: Sequence[str], data: Sequence[DataRef], share: float, seed: int
) -> tuple[ScoredText, ScoredText, ScoredText, ScoredText]:
    """Texts to learn from; those held out of them; of these what no part has learned from, which is all or nothing; and
    the texts that may decide the sign where that is nothing.
    """
    text = given_text(inputs, data)
    learned, apart = hold_out(text, share, seed)
    held = held_from_parts(inputs, labels, apart, own_split(inputs, data, share, seed))
    return learned, apart, held, learned if len(held) else text


def held_from_parts(inputs: Inputs, labels: Sequence[str], held: ScoredText, own: SplitRecord) -> ScoredText:
    """The held-out texts, if every part holds out the same ones; else nothing, and the log says why."""
    folders = {label: inputs.part_folders[label] for label in labels}
    if others := differing(folders, own, inputs.reward_specs):
        log.warning(
            "nothing counts as held out: %s may have learned from it; give all the same `data`, `held_out` and seed",
            ", ".join(others),
        )
        return NOTHING
    return held


def open_parts(folder: Path, device: str, registry: SpecSource | None = None) -> dict[str, RewardFn]:
    """The rewards that an artifact is made of, by label; larger is better in each, and answers are checked."""
    known = registry or load_registry()
    return {copy.name: load_reward(copy, device, known) for copy in part_folders(folder)}
