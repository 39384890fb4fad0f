"""`evenhand export`: an artifact as a Hugging Face folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.output import AsJson, print_json, say

KeyArgument = Annotated[
    str, typer.Argument(metavar="KEY", help="The beginning of the key of a model, reward, data set or evaluation.")
]
FolderArgument = Annotated[Path, typer.Argument(metavar="DIR", help="A folder that does not exist yet.")]


def export(key: KeyArgument, folder: FolderArgument, as_json: AsJson = False) -> None:
    """Write a model, reward, data set or evaluation as a folder with a card, which loads without Evenhand."""
    from pipeline_core.data.catalog import Catalog
    from pipeline_core.export.folder import export as take_out
    from pipeline_core.files.atomic import user_path
    from pipeline_core.plugin.registry import load_registry
    from pipeline_core.store.artifacts import Store

    store = Store.from_environment()
    manifest = store.resolve(key)
    written = take_out(store, manifest, user_path(folder), load_registry(), Catalog.from_environment())
    files = sorted(path.relative_to(written).as_posix() for path in written.rglob("*") if path.is_file())
    if as_json:
        print_json({"folder": str(written), "kind": manifest.kind, "key": manifest.key, "files": files})
        return
    print(written)
    say(f"{manifest.kind} {manifest.label} ({manifest.plugin}): {len(files)} files, see README.md there")
