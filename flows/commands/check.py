"""`evenhand check`: what a run would do, without doing it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.output import AsJson, print_json, say, table

if TYPE_CHECKING:
    from pipeline_core.config import PipelineConfig

Source = Annotated[str, typer.Argument(metavar="PRESET|FILE", help="A shipped preset or a YAML file.")]
Overrides = Annotated[
    list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Overrides, e.g. policy.0.beta=.2 seeds=0,1")
]


def check(source: Source, overrides: Overrides = None, as_json: AsJson = False) -> None:
    """Validate a configuration and print its plan: stages, keys, what is in the store, batch arithmetic."""
    from flows.jobs import check_sources
    from pipeline_core.config import load_config

    config = load_config(source, overrides or ())
    missing = check_sources(config, names_only=True)
    rows = planned_rows(config)
    if as_json:
        print_json({"config": config.model_dump(mode="json"), "stages": rows, "missing": missing})
        return
    columns = ["stage", "plugin", "seed", "key", "in store", "arithmetic"]
    shown = [
        [
            row["id"],
            row["plugin"],
            str(row["seed"]),
            (row["key"] or "after its inputs")[:16],
            row["state"],
            row["steps"],
        ]
        for row in rows
    ]
    table(f"{config.name}: {len(rows)} stages. {config.description}", columns, shown)
    for line in missing:
        say(f"not on this machine: {line}")


def planned_rows(config: PipelineConfig) -> list[dict[str, Any]]:
    """Every planned stage; keys follow down the chain as far as the store holds what they depend on."""
    from flows.jobs import foresee

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
            "state": "yes" if seen.artifact else "no",
            "steps": seen.planned.config.arithmetic(),
        }
        for seen in foresee(config)
    ]
