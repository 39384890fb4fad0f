"""Rewards within a reward: a combining one keeps copies of those it is made of, so that its artifact stands alone."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline_core.artifacts import MANIFEST
from pipeline_core.errors import BadInput, UnknownName
from pipeline_core.registry import load_registry
from pipeline_core.rewards import load_reward

if TYPE_CHECKING:
    from pipeline_core.context import Inputs
    from pipeline_core.specs import RewardFn

FOLDER = "parts"
KEPT = ("plugin", "revision", "label", "seed", "config", "data", "digest", "metrics")
"""What a copy's manifest keeps: all that says what the reward is, and no times, which would make other bytes."""


def choose_parts(inputs: Inputs, labels: Sequence[str]) -> list[str]:
    """The labels to combine, in alphabetical order: those asked for, or all.

    Raises:
        BadInput: for none at all; UnknownName: for a label that none has.
    """
    known = sorted(inputs.part_folders)
    if not known:
        raise BadInput("this reward combines those before it, and there are none: list some before it in `reward:`")
    for label in labels:
        if label not in known:
            raise UnknownName("reward", label, known, note="A combining reward takes those that stand before it.")
    return sorted(set(labels)) if labels else known


def keep_parts(inputs: Inputs, labels: Sequence[str], out: Path) -> None:
    """Copy the artifacts into `out`."""
    for label in labels:
        copy = out / FOLDER / label
        shutil.copytree(inputs.part_folders[label], copy)
        manifest = json.loads((copy / MANIFEST).read_text(encoding="utf-8"))
        kept = {name: manifest[name] for name in KEPT if name in manifest}
        (copy / MANIFEST).write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def open_parts(folder: Path, device: str) -> dict[str, RewardFn]:
    """The rewards that an artifact is made of, by label; larger is better in each, and answers are checked."""
    copies = sorted((folder / FOLDER).iterdir())
    return {copy.name: load_reward(copy, device, load_registry()) for copy in copies}
