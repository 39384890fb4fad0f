"""What an artifact of a reward says of itself: who made it, and where it keeps those that it is made of."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline_core.plugin.specs import RewardModel
from pipeline_core.plugin.types import SpecSource
from pipeline_core.store.artifacts import MANIFEST

FOLDER = "parts"
FACTS = "reward.json"
"""What a reward has to know to be opened again."""


def write_facts(facts: Mapping[str, Any], out: Path) -> None:
    """Keep what the reward is opened by."""
    (out / FACTS).write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


def facts_of(folder: Path) -> dict[str, Any]:
    """What it is opened by."""
    found: dict[str, Any] = json.loads((folder / FACTS).read_text(encoding="utf-8"))
    return found


def manifest_of(folder: Path) -> dict[str, Any]:
    """The manifest; a reward within a reward keeps a part of its own (`pipeline_core.rewards.ensembles.KEPT`)."""
    found: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    return found


def maker_of(folder: Path, registry: SpecSource) -> RewardModel:
    """The plugin that made it. Raises `UnknownName`, which says where."""
    return RewardModel.named(registry, manifest_of(folder)["plugin"], where=str(folder))


def part_folders(folder: Path) -> list[Path]:
    """The artifacts within a reward's, by label; none for one that combines nothing."""
    return [manifest.parent for manifest in sorted((folder / FOLDER).glob(f"*/{MANIFEST}"))]
