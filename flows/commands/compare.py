"""`evenhand compare`: two models of one run side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from flows.output import AsJson, console, print_json, say

if TYPE_CHECKING:
    from flows.records import RunRecord

RunArgument = Annotated[
    str, typer.Argument(metavar="RUN", help="The beginning of a run's id, or `last` for the newest completed one.")
]
A = Annotated[str, typer.Argument(metavar="A", help="Label of a policy, or `base`.")]
B = Annotated[str, typer.Argument(metavar="B", help="Label of the model that A is compared with.")]


def compare(run: RunArgument, a: A, b: B, as_json: AsJson = False) -> None:
    """Compare two models of a run on every headline measure: A, B and A - B, twice.

    "Items": difference over paired items, with all seeds of each model pooled.
    Interval and p (Holm's correction over the table) generalise to new items,
    and to new training seeds of a model that has several.

    "Seeds": difference seed by seed, if both models have two seeds or more.
    Its interval (Student's t) generalises to new training seeds on these items.
    """
    from flows.evaluations import evaluations_of
    from flows.records import find_run
    from pipeline_core.errors import BadInput
    from pipeline_core.store.artifacts import Store
    from pipeline_core.store.places import Places

    places = Places.from_environment()
    if (record := find_run(places.runs, run)) is None:
        raise BadInput(f"no run in {places.runs} has an id that starts with {run!r}")
    _check(record, (a, b))
    evaluations = evaluations_of(record, (a, b), Store.from_environment())
    from pipeline_core.report.figures.pairs import pair_of
    from pipeline_core.report.render.terminal import render_pair

    pair = pair_of(evaluations, a, b)
    if as_json:
        print_json({"run_id": record.run_id, "name": record.name, "status": record.status} | pair.model_dump())
        return
    if record.status != "completed":
        say(f"run {record.run_id} is {record.status}: this is what it has evaluated")
    render_pair(console(), pair, f"{record.name} {record.run_id[:12]}")


def _check(record: RunRecord, labels: tuple[str, str]) -> None:
    """Raise `BadInput` for equal labels, or a model that the run has not evaluated."""
    from pipeline_core.errors import BadInput, check_known

    stages = [stage for stage in record.stages if stage.stage == "evaluate"]
    if not stages:
        raise BadInput(f"run {record.run_id} ({record.name}) has evaluated nothing")
    known = {stage.label for stage in stages}
    check_known("model", labels, known, f"run {record.run_id}")
    if labels[0] == labels[1]:
        raise BadInput(f"{labels[0]!r} cannot be compared with itself: give two labels of {', '.join(sorted(known))}")
