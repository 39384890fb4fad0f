"""Where a reward keeps those it is made of."""

from __future__ import annotations

from pathlib import Path

from pipeline_core.store.artifacts import MANIFEST

FOLDER = "parts"


def part_folders(folder: Path) -> list[Path]:
    """The artifacts within a reward's, by label; none for one that combines nothing."""
    return [manifest.parent for manifest in sorted((folder / FOLDER).glob(f"*/{MANIFEST}"))]
