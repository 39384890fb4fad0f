"""Exports an artifact of the store as a Hugging Face folder with a card, for use without Evenhand."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline_core.data.catalog import Catalog
from pipeline_core.errors import BadInput
from pipeline_core.evaluation.measures import MEASURES_FILE, ROWS_FILE
from pipeline_core.export.card import write_card
from pipeline_core.export.lineage import Lineage
from pipeline_core.files.atomic import share
from pipeline_core.models.model_files import is_masked
from pipeline_core.plugin.registry import Registry
from pipeline_core.plugin.specs import RewardModel
from pipeline_core.store.artifacts import MANIFEST, Manifest, Store

HISTORY = "history.jsonl"


@dataclass(frozen=True)
class ExportSource:
    """The artifact to export: its folder, its manifest, and the registry of all plugins."""

    folder: Path
    manifest: Manifest
    registry: Registry


def export(store: Store, manifest: Manifest, target: Path, registry: Registry, catalog: Catalog) -> Path:
    """Write the artifact of `manifest` into the new folder `target`, completely or not at all.

    Raises:
        BadInput: when `target` is not empty or cannot be created, or the artifact cannot be exported.
        ArtifactChanged: when its files have changed since they were made.
    """
    if manifest.kind not in WRITERS:
        raise BadInput(
            f"{manifest.kind} {manifest.key[:12]} cannot be exported; what can: {', '.join(sorted(WRITERS))}"
        )
    _check_free(target)
    source = ExportSource(store.open(manifest.ref), manifest, registry)
    # Beside the target, for a rename within one file system; a name may have 255 bytes.
    partial = target.parent / f".{target.name[:80]}.{uuid.uuid4().hex[:8]}"
    try:
        partial.mkdir(parents=True)
        usage = WRITERS[manifest.kind](source, partial)
        # After the writer: the card tells the hub's task by the files that it wrote.
        write_card(Lineage.of(manifest, store, catalog), source.folder, usage, partial / "README.md")
        share(partial, like=partial / "README.md")  # safetensors writes with mode 0600
        if target.exists():
            target.rmdir()  # it is empty; not every system renames onto a folder
        partial.rename(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)  # after the rename there is none
    return target


def _check_free(target: Path) -> None:
    """Refuse a folder that is not empty or cannot be created."""
    try:
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise BadInput(f"{target} exists already; name a folder that does not")
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(f"no folder {str(target)[:200]} can be made: {error.strerror}") from error


def _model(source: ExportSource, out: Path) -> str:
    """Copy a language model, causal or masked; its artifact is a Hugging Face folder already."""
    left = shutil.ignore_patterns(MANIFEST, HISTORY)
    shutil.copytree(source.folder, out, ignore=left, dirs_exist_ok=True)
    auto = "AutoModelForMaskedLM" if is_masked(source.folder) else "AutoModelForCausalLM"
    return (
        f"from transformers import {auto}, AutoTokenizer\n\n"
        f'model = {auto}.from_pretrained("FOLDER")\n'
        'tokenizer = AutoTokenizer.from_pretrained("FOLDER")'
    )


def _preferences(source: ExportSource, out: Path) -> str:
    (out / "data").mkdir()
    # `datasets` reads the split from a name of this form.
    shutil.copyfile(source.folder / "rows.parquet", out / "data" / "train-00000-of-00001.parquet")
    return 'from datasets import load_dataset\n\nrows = load_dataset("FOLDER", split="train")'


def _evaluation(source: ExportSource, out: Path) -> str:
    """Write the scores of every item as a table; copy the measures and all other files of the plugin unchanged."""
    (out / "data").mkdir()
    shutil.copytree(source.folder, out, ignore=shutil.ignore_patterns(MANIFEST, ROWS_FILE), dirs_exist_ok=True)
    lines = []
    if (source.folder / ROWS_FILE).exists():
        shutil.copyfile(source.folder / ROWS_FILE, out / "data" / "test-00000-of-00001.parquet")
        lines = ["from datasets import load_dataset", "", 'rows = load_dataset("FOLDER", split="test")']
    if (source.folder / MEASURES_FILE).exists():
        lines = ["import json", "from pathlib import Path", "", *lines]
        lines += [f'measures = json.loads(Path("FOLDER/{MEASURES_FILE}").read_text(encoding="utf-8"))']
    return "\n".join(lines or ["# Its figures stand in this card alone."])


def _reward(source: ExportSource, out: Path) -> str:
    spec = source.registry.get("reward", source.manifest.plugin)
    writer = spec.export if isinstance(spec, RewardModel) else None
    if writer is None:
        able = [one.name for one in source.registry.specs("reward") if isinstance(one, RewardModel) and one.export]
        raise BadInput(
            f"rewards of {source.manifest.plugin!r} cannot be exported: nothing but Evenhand could load them. "
            f"Those of {', '.join(able)} can"
        )
    sign = source.manifest.metrics.get("sign", 0.0)
    if sign not in (1.0, -1.0):  # 0.0 if the labelled pairs did not decide it
        raise BadInput(
            f"the sign of reward {source.manifest.key[:12]} is undecided, so nobody could use its scores; "
            "train it on more labelled pairs"
        )
    return writer(source.folder, out, int(sign))


WRITERS: Mapping[str, Callable[[ExportSource, Path], str]] = {
    "model": _model,
    "preferences": _preferences,
    "reward": _reward,
    "evaluation": _evaluation,
}
"""Writer by kind of artifact: fills a folder and returns the Python code that loads it."""
