"""File layout of a reward artifact: manifest, facts for loading, and folders of its members."""

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
"""File of the facts that `load` needs, such as maximum length and output column."""


def write_facts(facts: Mapping[str, Any], out: Path) -> None:
    """Write the facts that `load` needs."""
    (out / FACTS).write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


def facts_of(folder: Path) -> dict[str, Any]:
    """Facts that `load` needs."""
    facts: dict[str, Any] = json.loads((folder / FACTS).read_text(encoding="utf-8"))
    return facts


def manifest_of(folder: Path) -> dict[str, Any]:
    """Manifest of the artifact; in a member's copy only the fields `pipeline_core.rewards.ensembles.KEPT`."""
    manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    return manifest


def maker_of(folder: Path, registry: SpecSource) -> RewardModel:
    """Plugin that made the artifact. Raises `UnknownName`; the message names the folder."""
    return RewardModel.named(registry, manifest_of(folder)["plugin"], where=str(folder))


def part_folders(folder: Path) -> list[Path]:
    """Folders of the members of a reward artifact, sorted by label; empty for a reward without members."""
    return [manifest.parent for manifest in sorted((folder / FOLDER).glob(f"*/{MANIFEST}"))]
