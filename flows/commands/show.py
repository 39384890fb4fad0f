"""`evenhand show`: shows a run or an artifact."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from flows.output import AsJson, print_json, table

if TYPE_CHECKING:
    from flows.records import RunRecord, StageRecord
    from pipeline_core.store.artifacts import Manifest, Store

WHICH = "The beginning of a run's id or of an artifact's key, or `last` for the newest completed run."
RunOrKeyArgument = Annotated[str, typer.Argument(metavar="RUN|KEY", help=WHICH)]


def show(which: RunOrKeyArgument, as_json: AsJson = False) -> None:
    """Show a run (its stages, its report) or an artifact (its manifest)."""
    from flows.records import find_run
    from pipeline_core.store.artifacts import Store
    from pipeline_core.store.places import Places

    if record := find_run(Places.from_environment().runs, which):
        print_json(record.model_dump(mode="json")) if as_json else _show_run(record)
        return
    store = Store.from_environment()
    manifest = store.resolve(which)
    print_json(asdict(manifest)) if as_json else _show_artifact(manifest, store)


def _show_run(record: RunRecord) -> None:
    from flows.records import abandoned

    status = "killed" if abandoned(record) else record.status
    rows = [[f"{s.stage}:{s.label}", s.plugin, str(s.seed), s.key[:12], _time(s)] for s in record.stages]
    table(
        f"{record.name} {record.run_id} {status}, {record.seconds:.1f} s",
        ["stage", "plugin", "seed", "key", "time"],
        rows,
    )
    for name, message in record.failures.items():
        print(f"FAILED {name}: {message}")
    for model in record.registered:
        print(model.words)
    if record.report:
        print(f"report: {record.report}")
    if record.tracking:
        print(f"tracking: {record.tracking}")


def _time(stage: StageRecord) -> str:
    """Time the run spent on a stage; `reused` if the artifact existed."""
    return "reused" if stage.reused else f"{stage.seconds:.1f} s"


def _show_artifact(manifest: Manifest, store: Store) -> None:
    print(store.folder(manifest.kind, manifest.key))
    facts = asdict(manifest)
    rows = [
        [name, str(facts[name])] for name in ("kind", "key", "digest", "stage", "plugin", "label", "seed", "config")
    ]
    rows += [[f"input {role}", digest] for role, digest in manifest.inputs.items()]
    rows += [[f"metric {name}", f"{value:.6g}"] for name, value in manifest.metrics.items()]
    rows += [[f"file {name}", f"{entry['size']} bytes"] for name, entry in manifest.files.items()]
    table(f"{manifest.stage} {manifest.plugin}", ["what", "value"], rows)
