"""`evenhand sweep`: a grid of runs that share stages, here, on work pools or on a Ray cluster, with one report."""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.commands.check import SourceArgument
from flows.commands.run import INTERRUPTED, signals_interrupt
from flows.output import AsJson, print_json, say, table

if TYPE_CHECKING:
    from flows.sweep.plan import SweepPlan
    from flows.sweep.records import SweepRecord
    from flows.sweep.settings import SweepSettings

GridArgument = Annotated[
    list[str] | None,
    typer.Argument(metavar="KEY=VALUE[,VALUE|A..B]...", help="Overrides; those with several values make the grid."),
]


def sweep(
    source: SourceArgument,
    overrides: GridArgument = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the grid and what is to be made.")] = False,
    concurrency: Annotated[int, typer.Option(min=1, max=256, help="Points at a time in this process.")] = 1,
    deployment: Annotated[
        str | None, typer.Option(metavar="FLOW/NAME", help="Deployment of the pipeline that runs the points.")
    ] = None,
    pool: Annotated[
        str | None, typer.Option(help="Work pool whose deployment of the pipeline runs the points.")
    ] = None,
    ray: Annotated[str | None, typer.Option(metavar="ADDRESS|local", help="Ray cluster that makes the stages.")] = None,
    resource: Annotated[
        list[str] | None, typer.Option(metavar="STAGE=CPUS[,GPUS]", help="What a stage asks of Ray; may be repeated.")
    ] = None,
    bias: Annotated[str, typer.Option(metavar="MEASURE", help="First measure of the trade-off.")] = "",
    capability: Annotated[str, typer.Option(metavar="MEASURE", help="Second measure of the trade-off.")] = "",
    limit: Annotated[int, typer.Option(min=1, help="Most points of the grid.")] = 200,
    as_json: AsJson = False,
) -> None:
    """Run a grid of settings and report on all of them: policy.dpo.beta=.05,.1,.2 seeds=0..4.

    A comma or a range A..B gives a key several values, one for each point of the grid.
    Brackets keep a list together: seeds=[0,1] is one value. Points that differ in
    seeds alone are averaged. The same command again runs what is missing.
    """
    from flows.sweep.plan import plan_sweep
    from flows.sweep.settings import SweepSettings, parse_resources

    _check_one({"--deployment": deployment, "--pool": pool, "--ray": ray})
    settings = SweepSettings(
        limit=limit, concurrency=concurrency, deployment=deployment, ray=ray,
        resources=parse_resources(resource or ()), bias=bias, capability=capability,
    )  # fmt: skip
    plan = plan_sweep(source, overrides or (), limit)
    if dry_run:
        _print_plan(plan, as_json)
        return
    try:
        with signals_interrupt():
            record, error = _run(plan, settings, pool)
    except KeyboardInterrupt:
        say("interrupted; finished points and stages are kept, the same command goes on from there")
        raise typer.Exit(INTERRUPTED) from None
    if as_json:
        print_json(record.public())
    else:
        _print_summary(record)
    if error:
        raise error


def _check_one(given: dict[str, str | None]) -> None:
    from pipeline_core.errors import BadInput

    named = [option for option, value in given.items() if value is not None]
    if len(named) > 1:
        raise BadInput(f"{' and '.join(named)} exclude each other: points run in one place")


def _run(plan: SweepPlan, settings: SweepSettings, pool: str | None) -> tuple[SweepRecord, Exception | None]:
    from flows.environment import prepare
    from pipeline_core.network.proxies import check_network

    prepare()  # before libraries are imported, which read their variables then
    check_network()
    from flows import display
    from flows.commands.run import import_libraries
    from flows.server import prefect_api, require_server
    from pipeline_core.store.places import Places

    if pool or settings.deployment:
        require_server()
    _say_plan(plan)
    with (
        prefect_api(Places.from_environment().home, import_libraries),
        display.for_terminal() as shown,
        display.warnings_on(shown),
    ):
        from flows.sweep.flow import SweepFailed
        from flows.sweep.flow import sweep as sweep_flow
        from flows.sweep.pools import deployment_of

        if pool or settings.deployment:
            settings = settings.model_copy(update={"deployment": deployment_of(settings.deployment, pool)})
        token = display.current.set(shown)
        try:
            command = shlex.join(["evenhand", *sys.argv[1:]])
            return sweep_flow(plan.source, list(plan.overrides), settings, command), None
        except SweepFailed as failed:
            return failed.record, failed
        finally:
            display.current.reset(token)


def _say_plan(plan: SweepPlan) -> None:
    counts = plan.counts
    grid = " × ".join(f"{len(axis.values)} of {axis.path}" for axis in plan.grid.axes)
    say(f"sweep {plan.id} of {plan.name}: {len(plan.points)} points, {grid}")
    new = counts["distinct"] - counts["stored"]
    say(
        f"{counts['planned']} stage runs over all points, {counts['distinct']} distinct: "
        f"{counts['stored']} in the store, {new} to make"
    )


def _print_plan(plan: SweepPlan, as_json: bool) -> None:
    rows: list[dict[str, Any]] = [
        {
            "point": point.number,
            **point.values,
            "stages": len(plan.of_point[point.number]),
            "in_store": sum(plan.stages[recipe].stored for recipe in plan.of_point[point.number]),
            "new": plan.new_at(point.number),
        }
        for point in plan.points
    ]
    if as_json:
        print_json({"sweep_id": plan.id, "stage_runs": plan.counts, "points": rows})
        return
    _say_plan(plan)
    heads = ["point", *(axis.path for axis in plan.grid.axes), "stages", "in store", "new", "shared"]
    table(
        f"sweep of {plan.name}",
        heads,
        [[*map(str, row.values()), str(row["stages"] - row["in_store"] - row["new"])] for row in rows],
    )


def _print_summary(record: SweepRecord) -> None:
    from pathlib import Path

    from flows.output import console
    from pipeline_core.report.sweep.model import SweepReport
    from pipeline_core.report.sweep.write import JSON, table_of

    if record.report:
        file = Path(record.report).with_name(JSON)
        report = SweepReport.model_validate_json(file.read_text(encoding="utf-8"))
        if report.candidates:
            console().print(table_of(report).terminal(report.name))
        say(f"report: {record.report}")
    if record.tracking:
        say(f"tracking: {record.tracking}")
    ended = [point.status for point in record.points.values()]
    reused = sum(point.reused for point in record.points.values())
    say(
        f"sweep {record.sweep_id}: {ended.count('completed')} of {len(ended)} points completed"
        f"{f', {reused} of them before' if reused else ''}, in {record.seconds:.1f} s"
    )
