"""`evenhand check`: validates a configuration and prints its plan, without running it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.output import AsJson, print_json, say, table

if TYPE_CHECKING:
    from pipeline_core.pipeline.config import PipelineConfig
    from pipeline_core.pipeline.plan import PlannedStage
    from pipeline_core.store.artifacts import Manifest

SourceArgument = Annotated[str, typer.Argument(metavar="PRESET|FILE", help="A shipped preset or a YAML file.")]
OverridesArgument = Annotated[
    list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Overrides, e.g. policy.0.beta=.2 seeds=0,1")
]


def check(source: SourceArgument, overrides: OverridesArgument = None, as_json: AsJson = False) -> None:
    """Validate a configuration and print its plan: stages, keys, what is in the store, batch arithmetic."""
    from flows.beforehand import check_sources
    from pipeline_core.checks.data import hub_needs
    from pipeline_core.checks.whole import load_config
    from pipeline_core.data.catalog import Catalog

    config = load_config(source, overrides or ())
    missing = check_sources(config, names_only=True)
    rows = planned_rows(config)
    needs = hub_needs(config, Catalog.from_environment())
    if as_json:
        print_json({"config": config.model_dump(mode="json"), "stages": rows, "missing": missing, "needs_hub": needs})
        return
    columns = ["stage", "plugin", "seed", "key", "in store", "arithmetic"]
    shown = [
        [r["id"], r["plugin"], str(r["seed"]), (r["key"] or "after its inputs")[:16], r["state"], r["steps"]]
        for r in rows
    ]
    table(f"{config.name}: {len(rows)} stages. {config.description}", columns, shown)
    for row in rows:
        if "damaged" in row:
            say(row["damaged"])
    for need in needs:
        say(f"needs the hub: {need}")
    for line in missing:
        say(f"not on this machine: {line}")


def planned_rows(config: PipelineConfig) -> list[dict[str, Any]]:
    """Facts about every planned stage; its key is known if the store holds all of its inputs."""
    from pipeline_core.checks.foresee import foresee

    stages = list(foresee(config))
    made = {seen.planned.id: seen.artifact for seen in stages}
    return [
        {
            "id": seen.planned.id,
            "stage": seen.planned.stage,
            "plugin": seen.planned.config.name,
            "label": seen.planned.label,
            "seed": seen.planned.record_seed,
            **({"suite": seen.planned.suite} if seen.planned.suite else {}),
            "key": seen.key,
            "in_store": seen.artifact is not None,
            "state": "yes" if seen.artifact else "damaged" if seen.damaged else "no",
            **({"damaged": seen.damaged} if seen.damaged else {}),
            "steps": _arithmetic(seen.planned, made),
        }
        for seen in stages
    ]


def _arithmetic(planned: PlannedStage, made: Mapping[str, Manifest | None]) -> str:
    from pipeline_core.checks.cuts import rows_of, training_counts, words_of
    from pipeline_core.data.catalog import Catalog

    extended = made.get(planned.needs.get("preferences", ""))
    rows = rows_of(extended)
    if planned.data and planned.stage == "policy":
        rows = Catalog.from_environment().known_rows(planned.data)
    arithmetic = planned.config.arithmetic_of(rows) if rows else planned.config.arithmetic()
    return arithmetic + words_of(training_counts(planned, made))
