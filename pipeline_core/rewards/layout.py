"""What an artifact of a reward says of itself: who made it, and where it keeps those that it is made of."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pipeline_core.plugin.specs import RewardModel
from pipeline_core.plugin.types import SpecSource
from pipeline_core.store.artifacts import MANIFEST

FOLDER = "parts"


def manifest_of(folder: Path) -> dict[str, Any]:
    """The manifest; a reward within a reward keeps a part of its own (`pipeline_core.rewards.parts.KEPT`)."""
    found: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    return found


def maker_of(folder: Path, registry: SpecSource) -> RewardModel:
    """The plugin that made it. Raises `UnknownName`, which says where."""
    return RewardModel.named(registry, manifest_of(folder)["plugin"], where=str(folder))


def part_folders(folder: Path) -> list[Path]:
    """The artifacts within a reward's, by label; none for one that combines nothing."""
    return [manifest.parent for manifest in sorted((folder / FOLDER).glob(f"*/{MANIFEST}"))]
