"""`evenhand history`: a figure with its interval over the scheduled runs of a preset."""

from __future__ import annotations

from typing import Annotated

import typer

from flows.output import AsJson, print_json, say, table

PresetArgument = Annotated[
    str, typer.Argument(metavar="PRESET", help="Name of a preset, a configuration or a schedule.")
]
MeasureArgument = Annotated[
    str, typer.Argument(metavar="MEASURE", help="As the report writes it: sandbox/bias, sandbox/bias/worst_group.")
]
ModelOption = Annotated[
    list[str] | None,
    typer.Option("--model", help="Label of a policy, or base; may be repeated. All policies if not given."),
]
LastOption = Annotated[int | None, typer.Option("--last", min=1, help="Only the newest runs, this many.")]
AllOption = Annotated[bool, typer.Option("--all", help="Also runs that no schedule has started.")]


def history(
    preset: PresetArgument,
    measure: MeasureArgument,
    model: ModelOption = None,
    last: LastOption = None,
    every: AllOption = False,
    as_json: AsJson = False,
) -> None:
    """Show a figure with its 95 % interval over the scheduled runs of a preset, and where it got worse.

    A run is marked if the interval of its difference to the run before (of the same schedule) excludes zero: over the
    same items where the run has compared them, else from the intervals of both figures. Runs that were removed count.
    """
    from flows.nights.figures import all_figures
    from flows.nights.history import cells_of, sparkline
    from flows.nights.history import history as of
    from pipeline_core.report.render.wording import ARROWS
    from pipeline_core.store.places import Places

    found = of(all_figures(Places.from_environment()), preset, measure, model or (), every=every)
    if last:
        found.models = {label: points[-last:] for label, points in found.models.items()}
    if as_json:
        print_json(found.model_dump())
        return
    unit = f" in {found.unit}" if found.unit else ""
    for label, points in found.models.items():
        title = f"{preset}, {label}: {found.title}{unit} {ARROWS.get(found.better, '')}".rstrip()
        columns = ["date", "run", "value", "low", "high", "commit", "against the run before"]
        table(title, columns, [cells_of(point, found.unit) for point in points])
        say(f"{label}: {sparkline([point.value for point in points])}")
